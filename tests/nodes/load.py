"""A steady load on three nodes that may break: keyed publishes, and watchers on every node.

A publish without an ack is sent again with the same key, on another node; a watcher that was cut
off goes on from its position on another node. `Reader` fails at the first event out of order.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

import websocket

from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.nodes.world import Trio
from tests.support.client import RestClient
from tests.support.wait import wait_until

PUBLISHERS = 4
INTERVAL_S = 0.05  # so about 80 publishes a second together
WATCHERS = 6  # two begin on each node, one for each room
PAUSE_S = 0.05
DEADLINE_S = 90.0
GONE = (OSError, websocket.WebSocketException)  # ConnectionError and TimeoutError are OSErrors
MADE = "test.made"
LAST = "test.last"
LOST_ACK_EVERY = 15


class PatientSocket(RawSocket):
    """A connection whose client takes "try again" for a reason to try elsewhere."""

    def ok(self, name: str, argument: Any) -> Any:
        """Send an event; a refusal that is no final one counts as a lost connection."""
        ack = self.call(name, argument)
        if not ack["ok"] and ack["error"]["retryable"]:
            raise ConnectionError(ack["error"]["code"])
        assert ack["ok"], f"{name} was refused: {ack}"
        return ack


class Client:
    """Somebody who goes on, on one node after another, until the deadline."""

    def __init__(self, trio: Trio, token: str | None, first: int) -> None:
        self.cuts = 0
        self._trio = trio
        self._token = token
        self._at = first
        self._pause = threading.Event()

    def connect(self) -> PatientSocket:
        """Connect to the node whose turn it is."""
        return PatientSocket(self._trio.urls[self._at % 3], self._token, deadline_s=15)

    def move_on(self, end_s: float) -> None:
        """Take note that a node failed, and turn to the next."""
        assert time.monotonic() < end_s, "no node served it in time"
        self.cuts += 1
        self._at += 1
        self._pause.wait(PAUSE_S)


class Publisher(Client):
    """Publishes at a steady rate, each with a key, and insists on an ack."""

    def __init__(self, name: str, trio: Trio, token: str | None, rooms: list[Room]) -> None:
        super().__init__(trio, token, int(name))
        self.acked: dict[str, tuple[str, int]] = {}
        self.replays = 0
        self._name = name
        self._rooms = rooms
        self._connection: PatientSocket | None = None

    def run(self, stop: threading.Event) -> None:
        """Publish until told to stop."""
        for number in count():
            if stop.wait(INTERVAL_S):
                break
            key, room = f"{self._name}-{number}", self._rooms[number % len(self._rooms)]
            if number % LOST_ACK_EVERY == LOST_ACK_EVERY - 1:
                self._lose_ack(key, room)
            self.insist(key, room)
        self._close()

    def insist(self, key: str, room: Room, type_: str = MADE) -> None:
        """Publish until an ack comes."""
        wish = _wish(key, room, type_)
        end_s = time.monotonic() + DEADLINE_S
        while key not in self.acked:
            try:
                self._connection = self._connection or self.connect()
                ack = self._connection.ok("publish", wish)
                self._connection.packets.clear()
                self.acked[key] = (room.stream, ack["position"]["offset"])
                self.replays += ack["replayed"]
            except GONE:
                self._close()
                self.move_on(end_s)

    def _lose_ack(self, key: str, room: Room) -> None:
        # The node will most often commit it: another one is asked for the same again.
        if self._connection is not None:
            with contextlib.suppress(*GONE):
                self._connection.send("publish", _wish(key, room, MADE))
            self._close()
            self._at += 1

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _wish(key: str, room: Room, type_: str) -> dict[str, Any]:
    return {"stream": room.stream, "type": type_, "data": {"key": key}, "key": key}


class Watcher(Client):
    """Follows one room from its beginning to its last event."""

    def __init__(self, number: int, trio: Trio, token: str | None, room: Room) -> None:
        super().__init__(trio, token, number)
        self.reader = Reader(room.stream, room.position(0))

    @property
    def at(self) -> int:
        """The offset that it stands at."""
        return int((self.reader.position or {})["offset"])

    def run(self) -> None:
        """Follow to the end, over as many connections as it takes."""
        end_s = time.monotonic() + 2 * DEADLINE_S
        while not self._has_seen_all():
            try:
                with self.connect() as connection:
                    self.reader.subscribe(connection, 200)
                    while not self._has_seen_all():
                        self.reader.take_packet(connection.read())
                        connection.packets.clear()
            except GONE:
                self.move_on(end_s)

    def _has_seen_all(self) -> bool:
        return bool(self.reader.seen and self.reader.seen[-1]["type"] == LAST)


class Load:
    """The publishers and watchers of one test, and what is counted of them at the end."""

    def __init__(self, trio: Trio, owner: RestClient) -> None:
        token = owner.access_token
        self.trio = trio
        self.rooms = [Room(owner) for _ in range(2)]
        self.publishers = [
            Publisher(str(number), trio, token, self.rooms) for number in range(PUBLISHERS)
        ]
        self.watchers = [
            Watcher(number, trio, token, self.rooms[number // 3]) for number in range(WATCHERS)
        ]
        self._token = token
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Publish and watch for as long as the block runs, and see everything through."""
        with ThreadPoolExecutor(PUBLISHERS + WATCHERS) as pool:
            watching = [pool.submit(one.run) for one in self.watchers]
            publishing = [pool.submit(one.run, self._stop) for one in self.publishers]
            try:
                self.go_on(20)
                yield
            finally:
                self._stop.set()
                self._finish(publishing, watching)

    def _finish(self, publishing: "list[Future[None]]", watching: "list[Future[None]]") -> None:
        for call in publishing:
            call.result(2 * DEADLINE_S)
        for number, room in enumerate(self.rooms):
            self.publishers[0].insist(f"last-{number}", room, LAST)
        self.publishers[0]._close()
        for call in watching:
            call.result(2 * DEADLINE_S)

    def go_on(self, count: int) -> None:
        """Wait until so many more publishes were acked."""
        wanted = self.count() + count
        wait_until(lambda: self.count() >= wanted, deadline_s=DEADLINE_S, what="publishes")

    def count(self) -> int:
        """Count the publishes that were acked."""
        return sum(len(one.acked) for one in self.publishers)

    def wait_until_repaired(self) -> float:
        """Wait until all nodes are ready and each watcher has all acked by now; give the time."""
        began_s, tops = time.monotonic(), self.tops()
        for node in self.trio.nodes:
            node.wait_until_ready(deadline_s=DEADLINE_S)
        self.wait_for(tops)
        return time.monotonic() - began_s

    def wait_for(self, tops: dict[str, int]) -> None:
        """Wait until every watcher has all up to these offsets."""

        def is_there() -> bool:
            return all(one.at >= tops[one.reader.stream] for one in self.watchers)

        wait_until(is_there, deadline_s=DEADLINE_S, what="the watchers")

    def tops(self) -> dict[str, int]:
        """Give the highest offset of each room that was acked."""
        tops = dict.fromkeys((room.stream for room in self.rooms), 0)
        for one in self.publishers:
            for stream, offset in list(one.acked.values()):
                tops[stream] = max(tops[stream], offset)
        return tops

    def judge(self) -> str:
        """Fail if anything was lost, doubled or out of order; else say how much there was."""
        for room in self.rooms:
            self._judge_room(room)
        assert sum(len(one.reader.resets) for one in self.watchers) == 0
        return (
            f"{self.count()} publishes, {sum(one.replays for one in self.publishers)} of them told "
            f"twice; publishers failed {sum(one.cuts for one in self.publishers)} times, "
            f"watchers {sum(one.cuts for one in self.watchers)}"
        )

    def _judge_room(self, room: Room) -> None:
        with RestClient(self.trio.urls[0], token=self._token) as reading:
            room.owner = reading
            log = room.log()
        assert [event["offset"] for event in log] == list(range(1, len(log) + 1))
        found = [(event["key"], event["offset"]) for event in log if event["key"] is not None]
        acked = [
            (key, offset)
            for one in self.publishers
            for key, (stream, offset) in one.acked.items()
            if stream == room.stream
        ]
        assert sorted(found) == sorted(acked), "acked is not what the log holds"
        for one in self.watchers:
            if one.reader.stream == room.stream:
                assert one.reader.seen == log
