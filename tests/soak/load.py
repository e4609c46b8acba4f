"""The load: people who publish, watch, stall, resume, poll, follow by SSE, and leave in ugly ways.

Each part is a thread with a pace of its own, so the load stays the same for as long as it takes.
What goes wrong for a client ends the run: a gap, a repeat, an order that changed, a refusal.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import requests
import websocket

from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.fallback.doors import Poller, Stream
from tests.serving.churn import Churn
from tests.serving.ugly import Scene
from tests.support.client import RestClient, registered
from tests.support.server import Server

SETTINGS: dict[str, Any] = {
    # What ends by a time comes often enough to be a part of every quarter.
    "PING_INTERVAL_S": 2,
    "PING_TIMEOUT_S": 2,
    "AUTH_TIMEOUT_S": 2,
    "MAX_EVENT_BYTES": 16_384,
    "MAX_QUEUED_BYTES": 1_048_576,
    "MAX_CONNECTIONS_PER_USER": 20_000,
    "MAX_EVENTS_PER_S": 10_000,
    "ACCESS_TOKEN_TTL_S": 7 * 86_400,
    "SQLITE_SYNCHRONOUS": "NORMAL",
    "RETENTION_MAX_EVENTS": 1_000,
    "RETENTION_MIN_AGE_S": 1,
    "RETENTION_INTERVAL_S": 10,
    "LOG_LEVEL": "warning",
}
WATCHERS = 6
GONE = (OSError, websocket.WebSocketException)  # ConnectionError and TimeoutError are OSErrors
JOIN_S = 90.0
STALL_S = 6.0  # in which more comes than may wait for one connection

Part = Callable[[], None]


class Load:
    """All of it, on one server. `counts` tells what was done; `failures` what went wrong."""

    def __init__(self, server: Server, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._server = server
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self._ada = registered(server.url)
        self._room = Room(self._ada)
        parts: list[Part] = [
            *(self._publish, self._signal, self._stall, self._poll, self._stream, self._read),
            *(self._watch for _ in range(WATCHERS)),
            self._come_and_go,
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(part,), daemon=True) for part in parts
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep the load up for as long as the block takes."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._end()
            self._ada.close()

    def _end(self) -> None:
        self._stop.set()
        end_s = time.monotonic() + JOIN_S
        for thread in self._threads:
            while thread.is_alive():
                assert time.monotonic() < end_s, "a part of the load never ended"
                self._room.publish(1)  # for those who wait for the next event
                thread.join(0.1)

    def _run(self, part: Part) -> None:
        try:
            part()
        except Exception as error:  # noqa: BLE001 - told at the end of the run
            if not self._stop.is_set():
                self.failures.append(f"{part.__name__}: {type(error).__name__}: {error}"[:500])

    def _turns(self, pause_s: float) -> Iterator[int]:
        for number in count():
            if self._stop.wait(pause_s):
                return
            yield number

    def _token(self) -> str:
        return str(self._ada.access_token)

    def _client(self) -> RestClient:
        return RestClient(self._server.url, token=self._token())

    # Writers.

    def _publish(self) -> None:
        with RawSocket(self._server.url, self._token()) as connection:
            for number in self._turns(0.02):
                size = self._rng.choice((20, 4_000, 14_000))
                event = {"stream": self._room.stream, "type": "soak.made", "data": "x" * size}
                connection.ok("publish", {**event, "key": f"{number}"})
                connection.packets.clear()
                self.counts["publishes"] += 1

    def _signal(self) -> None:
        with RawSocket(self._server.url, self._token()) as connection:
            event = {"stream": self._room.stream, "type": "soak.moved", "data": [1, 2]}
            for _ in self._turns(0.02):
                connection.ok("publish", {**event, "ephemeral": True})
                connection.packets.clear()
                self.counts["signals"] += 1

    # Readers. Each keeps its position, and fails at the first event that is not the next one.

    def _watch(self) -> None:
        reader = Reader(self._room.stream)
        for number in self._turns(0.05):
            with RawSocket(self._server.url, self._token()) as connection:
                reader.subscribe(connection, presence=number % 2 == 0)
                for _ in range(self._rng.randrange(50, 400)):
                    reader.take_packet(connection.read())
                    connection.packets.clear()
                    reader.seen.clear()
                    if self._stop.is_set():
                        return
            self.counts["resumes"] += 1

    def _stall(self) -> None:
        """Subscribe and read no more, until the server cuts it off; then take what was missed."""
        reader = Reader(self._room.stream)
        for _ in self._turns(0.1):
            with RawSocket(self._server.url, self._token(), receive_buffer=4096) as connection:
                reader.subscribe(connection)
                self._stop.wait(STALL_S)
                with suppress(*GONE):
                    while not self._stop.is_set():
                        reader.take_packet(connection.read())
                        connection.packets.clear()
                        reader.seen.clear()
                self.counts["stalls"] += 1

    def _poll(self) -> None:
        with self._client() as who:
            poller = Poller(who, streams=self._room.stream)
            for _ in self._turns(0.05):
                poller.go_on(wait=1)
                poller.events.clear()
                self.counts["polls"] += 1

    def _stream(self) -> None:
        last_id = ""
        with self._client() as who:
            for _ in self._turns(0.2):
                with Stream(who, last_id=last_id, streams=self._room.stream) as stream:
                    for _ in range(50):
                        stream.read()
                    last_id = stream.last_id
                self.counts["streams"] += 1

    def _read(self) -> None:
        with self._client() as who:
            for _ in self._turns(0.1):
                for path in ("/sync", "/messages?limit=50", f"/events?after={self._room.top}"):
                    answer = who.get(f"/channels/{self._room.id}{path}")
                    assert answer.status_code == 200, answer.text
                    self._room.top = self._top_of(answer) or self._room.top
                self.counts["reads"] += 3

    def _top_of(self, answer: requests.Response) -> int:
        position = answer.json().get("position")
        return int(position["offset"]) if position else 0

    # Those who leave in ugly ways, at every stage.

    def _come_and_go(self) -> None:
        made = self._ada.post("/events/cursor", {"streams": {self._room.stream: None}}).json()
        scene = Scene(self._server, self._room.stream, self._token(), "", "", made["cursor"])
        with Churn(scene, random.Random(self._rng.random()), most_left=30) as crowd:
            for _ in self._turns(1.0):
                crowd.run(100)
                self.counts["ugly ends"] = crowd.number
