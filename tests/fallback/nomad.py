"""A reader without a home: by another door and at another node each time, cut off at any moment.

It keeps nothing but where it stands. It checks each event as it comes: the offset is the one it
stood at plus one, or the test fails. What it was told before a cut counts; the rest comes again.
"""

import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import websocket

from tests.delivery.raw import RawSocket
from tests.support.client import API

JSON = dict[str, Any]
DOORS = ("socket", "sse", "poll", "rest")
LAST = "test.last"
RESET = struct.pack("ii", 1, 0)
DEADLINE_S = 60.0
PAUSE_S = 0.05
STAY_S = 0.7
# What a cut, or a node that dies or is not there, looks like to a client.
GONE = (OSError, http.client.HTTPException, websocket.WebSocketException)


class Nomad(threading.Thread):
    """Follows some streams from the beginning to the last event of each."""

    def __init__(self, urls: Sequence[str], token: str, starts: dict[str, JSON], seed: int) -> None:
        super().__init__(daemon=True)
        self.positions = dict(starts)
        self.end_s = time.monotonic() + DEADLINE_S
        self.is_calm = False  # it is not cut off
        self.goals: dict[str, int] = {}  # where it ends, if not at the last events
        self.seen: dict[str, list[JSON]] = {stream: [] for stream in starts}
        self.resets: list[JSON] = []
        self.stays: list[tuple[str, int]] = []
        self.cuts = 0
        self.error: BaseException | None = None
        self._urls = urls
        self._token = token
        self._rng = random.Random(seed)
        self._cursor = ""
        self._pause = threading.Event()

    def run(self) -> None:
        """Move on until all is seen, or something is wrong."""
        try:
            while not self.is_done():
                assert time.monotonic() < self.end_s, f"not done in time, at {self.positions}"
                self._stay()
        except BaseException as error:  # noqa: BLE001 - shown by `finish`
            self.error = error

    def finish(self) -> None:
        """Wait for its end, and fail as it failed."""
        self.join(max(1.0, self.end_s - time.monotonic() + DEADLINE_S))
        if self.error is not None:
            raise self.error
        assert not self.is_alive()

    def is_done(self) -> bool:
        """Tell whether it has seen all that it is to see."""
        if self.goals:
            return {name: at["offset"] for name, at in self.positions.items()} == self.goals
        return all(events and events[-1]["type"] == LAST for events in self.seen.values())

    def visit(self, door: str, url: str) -> None:
        """Go by one door until all is seen."""
        while not self.is_done():
            assert time.monotonic() < self.end_s, f"not done in time, at {self.positions}"
            getattr(self, f"by_{door}")(url)

    def _stay(self) -> None:
        door, node = self._rng.choice(DOORS), self._rng.randrange(len(self._urls))
        self.stays.append((door, node))
        try:
            getattr(self, f"by_{door}")(self._urls[node])
        except GONE:
            self.cuts += 1
            self._pause.wait(PAUSE_S)

    @contextmanager
    def _cut_later(self, sock: socket.socket) -> Iterator[None]:
        """Cut a connection at some moment of a block, most often; by a reset, every other time."""
        if self._rng.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        after_s = self._rng.choice([0.02, 0.1, STAY_S]) * self._rng.random()
        timer = threading.Timer(after_s, _shut, [sock])
        if self._rng.random() < 0.7 and not self.is_calm:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()

    # What it was told.

    def take(self, event: JSON) -> None:
        """Take one event: it is the next one of its stream, or something is wrong."""
        stream = event["stream"]
        at = self.positions[stream]
        assert event["offset"] == at["offset"] + 1, (
            f"after {at['offset']} came {event['offset']}; lately by {self.stays[-3:]}"
        )
        self.seen[stream].append(event)
        self.positions[stream] = {**at, "offset": event["offset"]}

    def _take_reset(self, stream: str, reset: JSON, position: JSON) -> None:
        """Go on behind what is gone."""
        self.resets.append(reset)
        self.positions[stream] = position

    def _stand_by(self, cursor: str, positions: JSON) -> None:
        """Keep a cursor, which says that one stands where one does."""
        assert positions == self.positions
        self._cursor = cursor

    # The doors.

    def by_socket(self, url: str) -> None:
        """Subscribe to each stream from where it stands, page after page, and follow."""
        self._cursor = ""
        limit = self._rng.choice([1, 7, 500])
        with (
            closing(RawSocket(url, self._token, deadline_s=DEADLINE_S)) as connection,
            self._cut_later(connection._ws.sock),  # type: ignore[arg-type]
        ):
            for stream in self.positions:
                self._subscribe(connection, stream, limit)
            end_s = time.monotonic() + self._rng.random() * STAY_S
            while time.monotonic() < end_s and not self.is_done():
                self._take_packet(connection)

    def _subscribe(self, connection: RawSocket, stream: str, limit: int) -> None:
        more = True
        while more:
            wish = {"stream": stream, "after": self.positions[stream], "limit": limit}
            number = connection.send("subscribe", wish)
            while (name_and_data := connection.read())[0] != "ack":
                self._take_named(*name_and_data)
            got, ack = name_and_data[1]
            assert got == number
            if not ack["ok"] and ack["error"]["retryable"]:
                raise ConnectionError(ack["error"]["code"])
            assert ack["ok"], ack
            if ack["reset"]:
                self._take_reset(stream, ack["reset"], ack["position"])
            for event in ack["events"]:
                self.take(event)
            more = ack["more"]

    def _take_packet(self, connection: RawSocket) -> None:
        name, data = connection.read()
        connection.packets.clear()
        self._take_named(name, data)

    def _take_named(self, name: str, data: Any) -> None:
        if name == "event":
            self.take(data)
        elif name == "reset":
            self._take_reset(data["stream"], data, data["position"])
        elif name in ("bye", "disconnect"):
            raise ConnectionError(data)

    def by_poll(self, url: str) -> None:
        """Poll some times, and wait in some of them."""
        for _ in range(self._rng.randrange(1, 6)):
            query = self._place(url)
            if "cursor" in query:
                query["wait"] = self._rng.choice([0, 0.05, 1])
            query["limit"] = self._rng.choice([1, 7, 500])
            told = self._call(url, "GET", f"/events?{urlencode(query)}")
            for reset in told["resets"]:
                self._take_reset(reset["stream"], reset, reset["position"])
            for event in told["events"]:
                self.take(event)
            assert told["unsubscribed"] == []
            self._stand_by(told["cursor"], told["positions"])
            if told["bye"]:
                raise ConnectionError(told["bye"])

    def by_rest(self, url: str) -> None:
        """Read the log of each stream, page by page."""
        self._cursor = ""
        for stream, at in list(self.positions.items()):
            path = f"/channels/{stream.removeprefix('channel:')}/events"
            limit = self._rng.choice([3, 20, 200])
            page: JSON = {"next_cursor": None}
            query = {"after": at["offset"], "epoch": at["epoch"], "limit": limit}
            for _ in range(self._rng.randrange(1, 5)):
                page = self._call(url, "GET", f"{path}?{urlencode(query)}")
                if page["reset"]:
                    self._take_reset(stream, page["reset"], page["position"])
                for event in page["items"]:
                    self.take(event)
                if page["next_cursor"] is None:
                    break
                query = {"cursor": page["next_cursor"], "limit": limit}

    def by_sse(self, url: str) -> None:
        """Read a stream for a while."""
        place, headers = self._place(url), {}
        if "cursor" in place and self._rng.random() < 0.5:
            headers["Last-Event-ID"] = place.pop("cursor")
        with self._request(url, "GET", f"/events/stream?{urlencode(place)}", headers) as answer:
            end_s = time.monotonic() + self._rng.random() * STAY_S
            for name, cursor, data in blocks(answer):
                if name == "ready":
                    self._stand_by(cursor, data["positions"])
                elif name == "event":
                    self.take(data)
                    self._cursor = cursor
                elif name == "reset":
                    self._take_reset(data["stream"], data, data["position"])
                    self._cursor = cursor
                elif name == "bye":
                    raise ConnectionError(data)
                if time.monotonic() > end_s or self.is_done():
                    break

    def _place(self, url: str) -> JSON:
        """Say where it stands, in one of the ways that there are."""
        ways: list[Callable[[str], JSON]] = [self._by_names, self._by_made_cursor]
        if self._cursor:
            ways += [lambda _url: {"cursor": self._cursor}] * 4
        return self._rng.choice(ways)(url)

    def _by_names(self, _url: str) -> JSON:
        names = [f"{name}@{at['offset']}/{at['epoch']}" for name, at in self.positions.items()]
        return {"streams": ",".join(names)}

    def _by_made_cursor(self, url: str) -> JSON:
        made = self._call(url, "POST", "/events/cursor", {"streams": self.positions})
        self._stand_by(made["cursor"], made["positions"])
        return {"cursor": self._cursor}

    # HTTP, with nothing that would try again by itself.

    def _call(self, url: str, method: str, path: str, body: Any = None) -> JSON:
        with self._request(url, method, path, {}, body) as answer:
            found: JSON = json.loads(answer.read())
            return found

    @contextmanager
    def _request(
        self, url: str, method: str, path: str, headers: JSON, body: Any = None
    ) -> Iterator[http.client.HTTPResponse]:
        place = urlsplit(url)
        connection = http.client.HTTPConnection(
            place.hostname or "", place.port, timeout=DEADLINE_S
        )
        headers = {"Authorization": f"Bearer {self._token}", **headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        with closing(connection):
            connection.connect()
            with self._cut_later(connection.sock):
                text = None if body is None else json.dumps(body)
                connection.request(method, API + path, body=text, headers=headers)
                with connection.getresponse() as answer:
                    if answer.status == 503:
                        raise ConnectionError(answer.read())
                    assert answer.status == 200, (path, answer.status, answer.read())
                    yield answer


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def blocks(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str, Any]]:
    """Give each whole block of a stream: its name, its id, its data."""
    fields: dict[str, str] = {}
    while line := answer.readline():
        text = line.decode()
        if not text.endswith("\n"):
            break
        name, _, value = text.rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
            fields = {}
        else:
            fields = {}
    raise ConnectionError("the stream has ended")
