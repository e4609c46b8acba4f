"""Hints are lost, doubled, late and mixed up; watchers see the right order all the same.

Three nodes of this process, on one log in memory, as tests/delivery/test_node.py has one. Events
are committed by any of them, the truth is the log, and a bus between them spoils the hints.
"""

import random
from collections.abc import Mapping
from typing import Any

import eventlet
import hypothesis
import pytest
from hypothesis import strategies as st

from core.metrics import REPAIRS
from core.positions import Place, Position, StreamState
from core.services.history import Wish
from realtime.bus_memory import MemoryExchange
from realtime.hub import Hub
from realtime.node import Node, NodeLimits
from tests.delivery.test_node import FakeLog, FakeWatcher
from tests.nodes.faulty_bus import NONE_ARRIVE, Faults, FaultyBus

STREAMS = ["channel:a", "channel:b"]
DEADLINE_S = 30
INTERVAL_S = 0.3


class Log(FakeLog):
    """The log, and how often it was compared with."""

    comparisons = 0

    def moved(self, places: Mapping[str, Place]) -> dict[str, StreamState]:
        self.comparisons += 1
        return super().moved(places)


class World:
    """Nodes that hear one another badly, and a log."""

    def __init__(self, rng: random.Random, faults: Faults, interval_s: float = 3600) -> None:
        self.rng = rng
        self.log = Log(*STREAMS)
        exchange = MemoryExchange()
        self.buses = [FaultyBus(exchange, rng, faults) for _ in range(3)]
        reader: Any = self.log
        limits = NodeLimits(compare_interval_s=interval_s, tail_events=8)
        self.nodes = [Node(Hub(), bus, reader, limits) for bus in self.buses]
        self.watchers: list[FakeWatcher] = []
        for node in self.nodes:
            node.start()

    def watch(self, number: int, stream: str, after: int = 0) -> FakeWatcher:
        """Subscribe somebody on a node, from a position."""
        watcher = FakeWatcher()
        wish = Wish(Position(after, self.log.epochs[stream]))
        self.nodes[number].subscribe(watcher, {stream: wish}, 10_000, watcher.answer)
        self.watchers.append(watcher)
        return watcher

    def publish(self, number: int, stream: str) -> None:
        """Commit an event by a node."""
        self.nodes[number].committed([self.log.append(stream)], [])

    def release(self) -> None:
        """Let some of what was held back come."""
        for bus in self.buses:
            bus.ear.release()

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.stop()


def settle(condition: Any) -> None:
    """Let the greenlets run until something is so."""
    with eventlet.Timeout(DEADLINE_S):
        while not condition():
            eventlet.sleep(0.005)


def upto(count: int) -> list[int]:
    return list(range(1, count + 1))


CHANCES = st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0])
STEPS = st.tuples(
    st.sampled_from(["publish", "publish", "publish", "release", "watch", "wait", "compare"]),
    st.integers(0, 2),
    st.sampled_from(STREAMS),
)


class TestOrder:
    @hypothesis.given(
        faults=st.builds(Faults, drop=CHANCES, double=CHANCES, delay=CHANCES),
        seed=st.integers(0, 2**32),
        steps=st.lists(STEPS, max_size=60),
    )
    def test_every_watcher_sees_every_event_once_and_in_order(self, faults, seed, steps):
        """On whichever node, whenever it came, and whatever became of the hints."""
        world = World(random.Random(seed), faults)
        firsts = [world.watch(number, stream) for number in range(3) for stream in STREAMS]
        came = dict(zip(map(id, firsts), STREAMS * 3, strict=True))

        for action, number, stream in steps:
            if action == "publish":
                world.publish(number, stream)
            elif action == "release":
                world.release()
            elif action == "watch":
                came[id(world.watch(number, stream))] = stream
            elif action == "compare":
                world.nodes[number].compare()
            else:
                eventlet.sleep(0.001)
        for node in world.nodes:
            node.compare()
        world.release()
        world.stop()

        for watcher in world.watchers:
            stream = came[id(watcher)]
            assert watcher.offsets(stream) == upto(len(world.log.events[stream]))

    def test_a_gap_is_repaired_as_soon_as_a_later_hint_comes(self, rng):
        """Long before the next comparison: here there is none."""
        world = World(rng, Faults(drop=0.5, double=0.0, delay=0.0))
        watcher = world.watch(1, STREAMS[0])
        for _ in range(200):
            world.publish(0, STREAMS[0])
        world.buses[1].ear.faults = Faults(0, 0, 0)
        world.publish(0, STREAMS[0])

        settle(lambda: len(watcher.offsets()) == 201)
        world.stop()

        assert world.buses[1].ear.dropped > 0
        assert watcher.offsets() == upto(201)

    def test_doubled_and_late_hints_cost_no_look_at_the_log(self, rng):
        """Once they all came: order is made of what is there."""
        world = World(rng, Faults(drop=0.0, double=1.0, delay=0.0))
        watcher = world.watch(1, STREAMS[0])
        reads, repairs = world.log.reads, REPAIRS._value.get()

        for _ in range(100):
            world.publish(0, STREAMS[0])
        world.stop()

        assert watcher.offsets() == upto(100)
        assert world.log.reads == reads
        assert REPAIRS._value.get() == repairs


class TestTheLastOfABurst:
    @pytest.mark.parametrize("burst", [1, 20])
    def test_is_repaired_within_the_compare_interval_though_nothing_follows(self, rng, burst):
        """All hints are dropped: only comparing with the log can find what is missing."""
        world = World(rng, NONE_ARRIVE, INTERVAL_S)
        watchers = [world.watch(number, STREAMS[0]) for number in range(3)]

        for _ in range(burst):
            world.publish(0, STREAMS[0])
        there = [watcher.offsets() for watcher in watchers]
        settle(lambda: all(len(watcher.offsets()) == burst for watcher in watchers))
        world.stop()

        assert there == [upto(burst), [], []]
        assert all(watcher.offsets() == upto(burst) for watcher in watchers)
        # The first comparison of each node mends it; the quickest may be at its second by then.
        assert world.log.comparisons <= 6

    def test_after_a_lost_connection_is_found_by_comparing_at_once(self, rng):
        """A bus that is back says of each stream that it joined it: nobody waits an interval."""
        world = World(rng, NONE_ARRIVE)
        watcher = world.watch(1, STREAMS[0])
        world.publish(0, STREAMS[0])

        world.nodes[1].on_joined(STREAMS[0])
        settle(watcher.offsets)
        world.stop()

        assert watcher.offsets() == [1]
