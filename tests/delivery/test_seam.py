"""Subscribing while others publish: no event is missed or doubled where the ack meets the stream.

A thousand tries race with two publishers that never pause. Half of them ask for more than a node
keeps in memory, so that it has to wait for the log while events are committed.
"""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room

TRIES = 1000
AT_ONCE = 4
PUBLISHERS = 2
WINDOW = 4  # publishes that wait for their acks
# The node keeps 256 events of a stream: for more than that it reads the log.
FAR_BACK = 270
DEADLINE_S = 120


def publish_until(stop: threading.Event, url: str, token: str, stream: str) -> int:
    """Publish without a pause; give how many there were."""
    count, waiting = 0, []
    with RawSocket(url, token) as connection:
        while not stop.is_set():
            wish = {"stream": stream, "type": "test.made", "data": count}
            waiting.append(connection.send("publish", wish))
            if len(waiting) >= WINDOW:
                assert connection.read_ack(waiting.pop(0))["ok"]
                count += 1
                connection.packets.clear()
        for ack_id in waiting:
            assert connection.read_ack(ack_id)["ok"]
    return count


@contextmanager
def publishing(url: str, token: str, stream: str) -> Iterator[None]:
    """Publish from two connections for as long as the block runs."""
    stop = threading.Event()
    with ThreadPoolExecutor(PUBLISHERS) as pool:
        calls = [pool.submit(publish_until, stop, url, token, stream) for _ in range(PUBLISHERS)]
        try:
            yield
        finally:
            stop.set()
    assert all(call.result() > 10 for call in calls)


class Tries:
    """Subscribes, follows for a moment, leaves, and again, in all the ways there are."""

    def __init__(self, room: Room, rng: random.Random) -> None:
        self.room = room
        self.rng = rng
        self.top = room.top

    def run(self, url: str, token: str, count: int) -> None:
        """Try so many times over one connection."""
        with RawSocket(url, token) as connection:
            for _ in range(count):
                self.try_once(connection)
                connection.packets.clear()

    def try_once(self, connection: RawSocket) -> None:
        """One try. Between the ack of an unsubscribe and the next one nothing may come."""
        reader = Reader(self.room.stream)
        way = self.rng.choice(["top", "last", "history", "far"])
        if way == "last":
            reader.position = self.room.position(self.top)
        elif way == "far":
            reader.position = self.room.position(max(0, self.top - FAR_BACK))
        reader.subscribe(connection, 1000, history=FAR_BACK if way == "history" else 0)
        assert reader.position is not None
        reader.read_to(connection, reader.position["offset"] + self.rng.randrange(1, 4))
        ack_id = connection.send("unsubscribe", {"stream": self.room.stream})
        self.follow_to(connection, reader, ack_id)
        self.top = reader.position["offset"]

    @staticmethod
    def follow_to(connection: RawSocket, reader: Reader, ack_id: int) -> None:
        """Read up to an ack; the events before it go on in order."""
        packet: tuple[str, Any] = ("", None)
        while packet[0] != "ack":
            packet = connection.read()
            reader.take_packet(packet)
        assert packet[1] == (ack_id, {"ok": True})


class TestTheSeam:
    def test_a_thousand_subscriptions_under_fire_miss_and_double_nothing(
        self, busy_server, ada, bob, rng
    ):
        """Each sees offset after offset, from its ack to its end, and nothing before the ack."""
        room = Room(ada, [bob])
        room.publish(FAR_BACK)
        tries = [Tries(room, random.Random(rng.random())) for _ in range(AT_ONCE)]
        url = busy_server.url

        with publishing(url, ada.access_token, room.stream), ThreadPoolExecutor(AT_ONCE) as pool:
            calls = [pool.submit(one.run, url, bob.access_token, TRIES // AT_ONCE) for one in tries]
            for call in calls:
                call.result(DEADLINE_S)

        offsets = [event["offset"] for event in room.log()]
        assert offsets == list(range(1, len(offsets) + 1))

    def test_the_first_to_follow_a_stream_miss_nothing(self, busy_server, ada, bob):
        """Nobody watched it on this node: several come at once, while it is published to."""
        with ThreadPoolExecutor(6) as pool:
            for _ in range(25):
                room = Room(ada, [bob])
                together = threading.Barrier(5)
                calls = [pool.submit(self.come, busy_server, bob, room, together) for _ in "abcd"]
                together.wait(DEADLINE_S)
                room.publish(20)
                for call in calls:
                    reader = call.result(DEADLINE_S)
                    assert reader.offsets == list(range(1, room.top + 1))

    @staticmethod
    def come(server: Any, who: Any, room: Room, together: threading.Barrier) -> Reader:
        reader = Reader(room.stream, room.position(0))
        with RawSocket(server.url, who.access_token) as connection:
            together.wait(DEADLINE_S)
            reader.subscribe(connection)
            reader.read_to(connection, 3 + 20)
        return reader

    @pytest.mark.parametrize("way", ["subscribe", "resume"])
    def test_ones_own_publish_right_behind_a_subscribe_follows_its_ack(self, busy_server, ada, way):
        """Sent without waiting: they are handled in order, so the event comes live, and once."""
        with RawSocket(busy_server.url, ada.access_token) as connection:
            for _ in range(50):
                room = Room(ada)
                reader = Reader(room.stream, room.position(0))
                wish: dict[str, Any] = {"stream": room.stream, "after": reader.position}
                if way == "resume":
                    wish = {"positions": {room.stream: reader.position}}
                asked = connection.send(way, wish)
                made = {"stream": room.stream, "type": "test.made", "data": 1}
                published = connection.send("publish", made)
                connection.packets.clear()
                ack = connection.read_ack(asked)
                mine = [data for data in connection.named("event") if reader.is_mine(data)]
                reader.take_ack(ack if way == "subscribe" else ack["streams"][room.stream])
                reader.read_to(connection, 3)
                if published not in dict(connection.named("ack")):
                    connection.read_ack(published)

                assert mine == []
                assert reader.offsets == [1, 2, 3]
