"""A thousand sockets in one thread: each is read when something came, and knows when it ended."""

import selectors
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.delivery.raw import Packet, RawSocket, parse

CONNECTING_AT_ONCE = 6
DEADLINE_S = 60.0


class LightSocket(RawSocket):
    """A connection that is read a packet at a time, when there is one."""

    def fileno(self) -> int:
        """Give what a selector watches."""
        sock: Any = self._ws.sock
        return int(sock.fileno())

    def step(self) -> Packet | None:
        """Read one packet, of which a part at least is there; None: it was a ping."""
        text = self._receive()
        if text == "2":
            self.send_text("3")
            return None
        return parse(text)


class Member:
    """One socket; `ended_s` is when it was told of its end, `code` what it was told."""

    def __init__(self, connection: LightSocket, group: str) -> None:
        self.connection = connection
        self.group = group
        self.ended_s: float | None = None
        self.code = ""

    def take(self) -> None:
        """Read one packet, and see whether it is the end."""
        name, data = self.connection.step() or ("", {})
        if name in ("bye", "unsubscribed") and self.ended_s is None:
            self.ended_s = time.monotonic()
            self.code = f"{name} {data['code']}"


class Crowd:
    """Many sockets of a few people, on all the nodes alike."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self.members: list[Member] = []

    def add(self, group: str, token: str | None, count: int, stream: str | None = None) -> None:
        """Connect so many sockets of one session, in turn to each node, and have each subscribe."""

        def connect(number: int) -> Member:
            connection = LightSocket(self._urls[number % len(self._urls)], token)
            if stream is not None:
                connection.ok("subscribe", {"stream": stream})
            return Member(connection, group)

        with ThreadPoolExecutor(CONNECTING_AT_ONCE) as pool:
            self.members += pool.map(connect, range(count))

    def of(self, group: str) -> list[Member]:
        """Give the sockets of a group."""
        return [member for member in self.members if member.group == group]

    def wait_for_the_end(self, groups: Iterable[str]) -> None:
        """Read everything until each socket of these groups was told of its end.

        Raises: AssertionError when not all are in time.
        """
        waiting = {id(m): m for m in self.members if m.group in set(groups)}
        end_s = time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as selector:
            for member in waiting.values():
                selector.register(member.connection, selectors.EVENT_READ, member)
            while waiting:
                assert time.monotonic() < end_s, f"{len(waiting)} sockets were told of nothing"
                for key, _ in selector.select(1):
                    key.data.take()
                    if key.data.ended_s is not None:
                        selector.unregister(key.fileobj)
                        waiting.pop(id(key.data), None)

    def times_s(self, group: str, began_s: float) -> list[float]:
        """Give how long it took until each was told, the shortest first."""
        return sorted((member.ended_s or 0) - began_s for member in self.of(group))

    def close(self) -> None:
        """Cut all connections."""
        for member in self.members:
            member.connection.close()


def p99(times: list[float]) -> float:
    """Give the time that all but one in a hundred keep."""
    return times[min(len(times) - 1, int(len(times) * 0.99))]
