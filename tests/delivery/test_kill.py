"""SIGKILL in the midst of publishes that are retried: each takes effect once, none is lost.

A client can't know whether a publish without an ack took effect. So it sends it again with the
same key, after a reconnect, until an ack comes.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import websocket

from tests.delivery.conftest import UNLIMITED
from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.support.client import JSON, registered
from tests.support.wait import wait_until

CLIENTS = 8
PUBLISHES = 500
WINDOW = 4  # sent and not yet acked: what a kill leaves in doubt
KILLS_AFTER = (150, 320)  # acks
WATCHERS = 3
DEADLINE_S = 120
GONE = (OSError, websocket.WebSocketException)  # ConnectionError is an OSError


class Publisher:
    """Sends its publishes in order, a few ahead of their acks, and again after a cut."""

    def __init__(self, name: str, room: Room, count: int) -> None:
        self.room = room
        self.keys = [f"{name}-{number}" for number in range(count)]
        self.acked: dict[str, JSON] = {}
        self.replays = 0
        self.cuts = 0

    def run(self, connect: Callable[[], RawSocket]) -> None:
        """Go on until all are acked."""
        while len(self.acked) < len(self.keys):
            try:
                with connect() as connection:
                    self.send_the_rest(connection)
            except GONE:
                self.cuts += 1

    def send_the_rest(self, connection: RawSocket) -> None:
        """Send what has no ack, in order."""
        waiting: list[tuple[str, int]] = []
        for key in [key for key in self.keys if key not in self.acked]:
            waiting.append((key, self.send(connection, key)))
            if len(waiting) == WINDOW:
                self.take_ack(connection, *waiting.pop(0))
        for key, ack_id in waiting:
            self.take_ack(connection, key, ack_id)

    def send(self, connection: RawSocket, key: str) -> int:
        if int(key.rpartition("-")[2]) % 2:
            message = {"channel": self.room.id, "body": key, "key": key}
            return connection.send("message.create", message)
        event = {"stream": self.room.stream, "type": "test.made", "data": {"key": key}, "key": key}
        return connection.send("publish", event)

    def take_ack(self, connection: RawSocket, key: str, ack_id: int) -> None:
        ack = connection.read_ack(ack_id)
        if not ack["ok"]:
            # It may be said on the way down; anything else is for the test to see.
            assert ack["error"]["retryable"], ack
            raise ConnectionError(ack["error"]["code"])
        self.acked[key] = ack["position"]
        self.replays += ack["replayed"]


def watch(reader: Reader, connect: Callable[[], RawSocket]) -> None:
    """Follow to the end, over as many connections as it takes."""
    while True:
        try:
            with connect() as connection:
                reader.subscribe(connection, 50)
                while not reader.seen or reader.seen[-1]["type"] != "test.last":
                    reader.take_packet(connection.read())
                return
        except GONE:
            continue


class TestKill:
    def test_every_acked_publish_is_there_once_and_seen_once(self, start_server, database_url):
        """500 from 8 clients, half of them messages; the process is killed twice on the way."""
        server = start_server(
            database_url, migrate=False, **{**UNLIMITED, "SQLITE_SYNCHRONOUS": "FULL"}
        )
        is_up = threading.Event()
        is_up.set()
        with registered(server.url) as who, ThreadPoolExecutor(CLIENTS + WATCHERS) as pool:
            room = Room(who)
            publishers = [
                Publisher(f"client-{number}", room, PUBLISHES // CLIENTS + (number < 4))
                for number in range(CLIENTS)
            ]
            readers = [Reader(room.stream, room.position(number)) for number in range(WATCHERS)]

            def connect() -> RawSocket:
                assert is_up.wait(DEADLINE_S)
                return RawSocket(server.url, who.access_token)

            calls = [pool.submit(watch, reader, connect) for reader in readers]
            publishing = [pool.submit(one.run, connect) for one in publishers]
            for kill_after in KILLS_AFTER:
                wait_for_acks(publishers, kill_after)
                is_up.clear()
                server.kill()
                server.start()
                is_up.set()
            for call in publishing:
                call.result(DEADLINE_S)
            publish_last(who, room)
            for call in calls:
                call.result(DEADLINE_S)
            log = room.log()

        assert [event["offset"] for event in log] == list(range(1, PUBLISHES + 4))
        assert_each_once(publishers, log)
        for number, reader in enumerate(readers):
            assert reader.resets == []
            assert reader.seen == log[number:]
        assert sum(one.cuts for one in publishers) >= CLIENTS


def wait_for_acks(publishers: list[Publisher], count: int) -> None:
    """Wait until so many publishes are acked, and the others are under way."""
    wait_until(
        lambda: sum(len(one.acked) for one in publishers) >= count,
        deadline_s=DEADLINE_S,
        what=f"{count} acks",
        every_s=0.001,
    )


def publish_last(who: Any, room: Room) -> None:
    """Publish the event that ends the watching. Another connection: the old one was cut."""
    who._session.close()
    made = who.post(f"/channels/{room.id}/events", {"type": "test.last", "data": None})
    assert made.status_code == 201, made.text


def assert_each_once(publishers: list[Publisher], log: list[JSON]) -> None:
    """Each key made one event, at the offset that was acked, in the order of its client."""
    found: dict[str, list[int]] = {}
    for event in log:
        if event["key"] is not None:
            found.setdefault(event["key"], []).append(event["offset"])
    for one in publishers:
        assert {key: found.pop(key) for key in one.keys} == {
            key: [position["offset"]] for key, position in one.acked.items()
        }
        offsets = [one.acked[key]["offset"] for key in one.keys]
        assert offsets == sorted(offsets)
    assert found == {}
