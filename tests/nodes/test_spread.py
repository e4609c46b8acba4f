"""Order, resume and races as on one node, with publishers and watchers spread over three.

A client is on another node at every connection, and a call of REST on another at every call. The
people and rooms, and most of what they do, are those of the tests of delivery.
"""

import queue
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.delivery import test_lost_access, test_parallel_writers, test_resume, test_seam
from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.nodes.world import Everywhere, Roamer, Trio
from tests.support.client import RestClient

DEADLINE_S = 120
WRITERS = 6
EXAMPLES = hypothesis.settings(max_examples=15)
TRIES = 240
TRIES_A_CONNECTION = 6
RACES = 30


@pytest.fixture(scope="session")
def roaming_ada(three_nodes: Trio, ada: RestClient) -> Iterator[Any]:
    """Ada, on another node at each call."""
    everywhere = Everywhere(three_nodes.urls, ada)
    yield everywhere
    everywhere.close()


class Ways(test_resume.Ways):
    """The ways to come back, each time to another node."""

    def __init__(self, roamer: Roamer, who: Any, room: Room, reader: Reader) -> None:
        super().__init__("", who, room, reader)
        self._roamer = roamer

    def connect(self) -> RawSocket:
        """Connect, if need be, to the next node."""
        if self.connection is None:
            self.connection = self._roamer.connect()
        return self.connection


class TestOrder:
    def test_all_watchers_see_one_order_without_gap_or_repeat(self, three_nodes, ada):
        """Two publish on each node without waiting for acks, and six watch each room."""
        cases = test_parallel_writers.TestThroughAServer
        rooms = [Room(ada) for _ in range(3)]
        nodes = three_nodes.nodes
        there: queue.SimpleQueue[str] = queue.SimpleQueue()

        with ThreadPoolExecutor(30) as pool:
            watching = [
                pool.submit(cases.watch, nodes[number % 3], ada, room, number // 3 * 2, there)
                for room in rooms
                for number in range(6)
            ]
            writing = [
                pool.submit(cases.write, nodes[number % 3], ada, rooms, number)
                for number in range(WRITERS)
            ]
            acked = [offset for call in writing for offset in call.result(DEADLINE_S)]
            while there.qsize() < len(watching) and not any(call.done() for call in watching):
                for room in rooms:
                    room.publish(1)  # for who waits for one before it comes for good
            for room in rooms:
                last = test_parallel_writers.LAST
                assert ada.post(f"/channels/{room.id}/events", last).status_code == 201
            readers = [call.result(DEADLINE_S) for call in watching]

        logs = {room.stream: room.log() for room in rooms}
        for stream, events in logs.items():
            mine = sorted(offset for name, offset in acked if name == stream)
            assert [event["offset"] for event in events] == list(range(1, len(events) + 1))
            assert mine == list(range(3, len(mine) + 3))
        for reader in readers:
            assert reader.seen == logs[reader.stream][reader.offsets[0] - 1 :]

    def test_events_come_by_hints_and_not_by_comparing(self, three_nodes, ada):
        """Or every event would be late, and the log read for each: repairs stay away."""
        room = Room(ada)
        readers = [Reader(room.stream) for _ in range(3)]
        with ExitStack() as stack:
            connections = [
                stack.enter_context(RawSocket(u, ada.access_token)) for u in three_nodes.urls
            ]
            for reader, connection in zip(readers, connections, strict=True):
                reader.subscribe(connection)
            three_nodes.wait_until_heard(room.stream)
            before = [three_nodes.metric(n, "fanfare_repairs_total") for n in range(3)]
            for _ in range(100):
                room.publish(1)
            for reader, connection in zip(readers, connections, strict=True):
                reader.read_to(connection, room.top)
            after = [three_nodes.metric(n, "fanfare_repairs_total") for n in range(3)]

        repairs = [new - old for old, new in zip(before, after, strict=True)]
        assert all(count < 10 for count in repairs), repairs


class TestResume:
    @EXAMPLES
    @hypothesis.given(steps=st.lists(test_resume.ACTIONS, max_size=14))
    def test_a_client_that_moves_at_every_cut_sees_every_event_once(
        self, three_nodes, roaming_ada, ada, steps
    ):
        """Cut in the midst of events, of pages, between an ack and the next event; by any door."""
        room = Room(roaming_ada)
        reader = Reader(room.stream, room.position(0))
        ways = Ways(Roamer(three_nodes.urls, ada.access_token), ada, room, reader)

        for action, number in steps:
            if action == "publish":
                room.publish(number)
            elif action == "read":
                ways.read_some(number)
            elif action == "drop":
                ways.drop()
            else:
                getattr(ways, action)(number)
        ways.subscribe(100)
        ways.drop()

        assert reader.resets == []
        assert reader.seen == room.log()

    def test_who_is_ahead_of_a_node_is_not_reset(self, three_nodes, ada):
        """A client moves faster than a hint: its node knows less than it does, the log all."""
        room = Room(ada)
        reader = Reader(room.stream, room.position(0))
        roamer = Roamer(three_nodes.urls, ada.access_token)
        with ExitStack() as stack:
            for url in three_nodes.urls:  # so that each node follows the room by itself
                watcher = stack.enter_context(RawSocket(url, ada.access_token))
                watcher.ok("subscribe", {"stream": room.stream})
            for _ in range(90):
                with roamer.connect() as connection:
                    made = {"stream": room.stream, "type": "test.made", "data": 1}
                    reader.subscribe(connection)
                    connection.ok("publish", made)
                    room.top += 1
                    reader.position = room.position(room.top)

        assert reader.resets == []

    def test_ones_own_stream_goes_along_to_every_node(self, three_nodes, ada):
        """Its events are made on one node, and the position of `ready` is good on each."""
        roamer = Roamer(three_nodes.urls, ada.access_token)
        with roamer.connect() as connection:
            reader = Reader(f"user:{ada.id}", connection.ready["position"])
        for _ in range(6):
            Room(ada)  # while nobody is connected
            with roamer.connect() as connection:
                positions = {"positions": {"user:me": reader.position}}
                reader.take_ack(connection.ok("resume", positions)["streams"]["user:me"])
                Room(ada)
                reader.read_to(connection, reader.offsets[0] + len(reader.seen))

        assert reader.resets == []
        assert {event["type"] for event in reader.seen} == {"member.joined"}
        assert len(reader.seen) == 12


class TestTheSeam:
    def test_subscriptions_under_fire_from_other_nodes_miss_and_double_nothing(
        self, three_nodes, ada, bob, rng
    ):
        """Publishers on two nodes never pause; who subscribes moves on after a few tries."""
        room = Room(ada, [bob])
        room.publish(test_seam.FAR_BACK)
        urls = three_nodes.urls
        tries = [test_seam.Tries(room, random.Random(rng.random())) for _ in range(3)]

        def run(number: int) -> None:
            for turn in range(TRIES // 3 // TRIES_A_CONNECTION):
                url = urls[(number + turn) % 3]
                tries[number].run(url, bob.access_token, TRIES_A_CONNECTION)

        with (
            test_seam.publishing(urls[0], ada.access_token, room.stream),
            test_seam.publishing(urls[1], ada.access_token, room.stream),
            ThreadPoolExecutor(3) as pool,
        ):
            for call in [pool.submit(run, number) for number in range(3)]:
                call.result(DEADLINE_S)

        offsets = [event["offset"] for event in room.log()]
        assert offsets == list(range(1, len(offsets) + 1))

    def test_the_first_to_follow_a_stream_on_each_node_miss_nothing(self, three_nodes, ada, bob):
        """No node had heard of it: four come at once to three nodes, while it is published to."""
        with ThreadPoolExecutor(6) as pool:
            for _ in range(25):
                room = Room(ada, [bob])
                together = threading.Barrier(5)
                calls = [
                    pool.submit(
                        test_seam.TestTheSeam.come, three_nodes.nodes[n % 3], bob, room, together
                    )
                    for n in range(4)
                ]
                together.wait(DEADLINE_S)
                room.publish(20)
                for call in calls:
                    reader = call.result(DEADLINE_S)
                    assert reader.offsets == list(range(1, room.top + 1))


class TestRacesWithLostAccess:
    def test_a_subscribe_that_races_with_a_removal_elsewhere_never_stays(
        self, three_nodes, ada, bob
    ):
        """Refused, or unsubscribed right after: in the end nothing comes any more."""
        with ThreadPoolExecutor(1) as pool:
            for url in three_nodes.urls[1:]:
                with RawSocket(url, bob.access_token) as connection:
                    for number in range(RACES // 2):
                        test_lost_access.TestMembership.race(connection, pool, ada, bob, number)

    @pytest.mark.parametrize("packet", ["subscribe", "connect"])
    def test_what_races_with_a_logout_elsewhere_does_not_stay(self, three_nodes, ada, packet):
        """The caller is known to the node by heart, and must be forgotten there at once."""
        with ThreadPoolExecutor(1) as pool, RestClient(three_nodes.urls[0]) as who:
            who.register()
            room = Room(ada, [who])
            for number in range(10):
                assert who.login(who.user["username"]).ok
                url = three_nodes.urls[1 + number % 2]
                test_lost_access.TestSession.race(url, pool, who, room, packet)
