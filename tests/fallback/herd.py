"""Polls that wait and streams of Server-Sent Events, many of them in one thread."""

import json
import selectors
import socket
import time
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from tests.support.client import API

DEADLINE_S = 60.0


class Animal:
    """One poll or one stream; `ended_s` is when it was told of its end, `code` what it was told."""

    def __init__(self, url: str, token: str, group: str, path: str) -> None:
        place = urlsplit(url)
        self.group = group
        self.ended_s: float | None = None
        self.code = ""
        self.is_stream = "/stream?" in path
        self.text = ""
        self.events: list[str] = []  # the types of what a poll was told before its end
        self._token = token
        self.sock = socket.create_connection((place.hostname, place.port), timeout=DEADLINE_S)
        self._ask(path)

    def _ask(self, path: str) -> None:
        head = f"GET {API}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}"
        self.sock.sendall(f"{head}\r\n\r\n".encode())

    def fileno(self) -> int:
        """Give what a selector watches."""
        return self.sock.fileno()

    def has_begun(self) -> bool:
        """Tell whether it was greeted, as far as it is a stream."""
        return not self.is_stream or "event: ready\n" in self.text

    def take(self) -> None:
        """Read what there is, and see whether it is the end."""
        part = self.sock.recv(65_536).decode()
        assert part, f"cut off without a word: {self.text[-500:]}"
        self.text += part
        code = self._code_of_stream() if self.is_stream else self._code_of_poll()
        if code and self.ended_s is None:
            self.ended_s = time.monotonic()
            self.code = code

    def _code_of_stream(self) -> str:
        assert self.text.startswith("HTTP/1.1 200 "), self.text
        for name in ("unsubscribed", "bye"):
            _before, found, rest = self.text.partition(f"event: {name}\n")
            if found and (end := rest.find("\n\n")) > 0:
                data = next(x for x in rest[:end].splitlines() if x.startswith("data: "))
                return f"{name} {json.loads(data[6:])['code']}"
        return ""

    def _code_of_poll(self) -> str:
        head, found, body = self.text.partition("\r\n\r\n")
        length = [x for x in head.lower().splitlines() if x.startswith("content-length: ")]
        if not found or len(body.encode()) < int(length[0][16:]):
            return ""
        status, told = int(head[9:12]), json.loads(body)
        if status != 200:
            return f"{status} {told['code']}"
        lost = [f"unsubscribed {one['code']}" for one in told["unsubscribed"]]
        if not lost and told["bye"] is None:
            # An event came first: it goes on, as any client does.
            self.events += [event["type"] for event in told["events"]]
            self.text = ""
            self._ask(poll_from(told["cursor"]))
            return ""
        return lost[0] if lost else f"200 {told['bye']}"


class Herd:
    """Many polls and streams of a few people, on all the nodes alike."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self.members: list[Animal] = []

    def add(self, group: str, token: str, cursor: str, count: int) -> None:
        """Have so many wait by each of the two doors, in turn at each node."""
        for number in range(count):
            url = self._urls[number % len(self._urls)]
            paths = (poll_from(cursor), f"/events/stream?cursor={quote(cursor)}")
            self.members += [Animal(url, token, group, path) for path in paths]

    def wait_until_greeted(self) -> None:
        """Read until each stream has begun."""
        for one in self.members:
            while not one.has_begun():
                one.take()

    def of(self, group: str) -> list[Animal]:
        """Give those of a group."""
        return [one for one in self.members if one.group == group]

    def wait_for_the_end(self, groups: Iterable[str]) -> None:
        """Read everything until each of these groups was told of its end.

        Raises: AssertionError when not all are in time.
        """
        waiting = [one for one in self.members if one.group in set(groups)]
        end_s = time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as selector:
            left = {id(one) for one in waiting if one.ended_s is None}
            for one in waiting:
                if id(one) in left:
                    selector.register(one, selectors.EVENT_READ, one)
            while left:
                assert time.monotonic() < end_s, _describe(waiting)
                for key, _ in selector.select(1):
                    key.data.take()
                    if key.data.ended_s is not None:
                        selector.unregister(key.fileobj)
                        left.discard(id(key.data))

    def close(self) -> None:
        """Cut all connections."""
        for one in self.members:
            one.sock.close()


def poll_from(cursor: str) -> str:
    """Give the path of a poll that waits as long as one may."""
    return f"/events?cursor={quote(cursor)}&wait=60"


def _describe(waiting: list[Animal]) -> str:
    left = [one for one in waiting if one.ended_s is None]
    first = left[0]
    kinds = sorted({(one.group, one.is_stream, one.sock.getpeername()) for one in left})
    return f"{len(left)} were told of nothing: {kinds}; the first: {first.text[-500:]!r}"
