"""The node alone, with a log in memory that a test can make slow, and hints that it can spoil.

`FakeLog` does what the real reader does, in a list. `before` and `during` run in the midst of a
read, before and after the log was looked at: what others do while one waits for the database.
"""

import functools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import eventlet
import hypothesis
import orjson
import pytest
from hypothesis import strategies as st

from core.errors import UnavailableError
from core.events import Control, Event, Signal
from core.metrics import REPAIRS
from core.positions import Place, Position, StreamState, judge_resume
from core.services.history import LogPage, Wish
from realtime.bus import Hint, SignalHint
from realtime.bus_memory import MemoryBus, MemoryExchange
from realtime.hub import Frame, Hub
from realtime.node import Node, NodeLimits, Outcome
from realtime.track import TailBudget, Track
from tests.delivery.world import read_all

STREAM = "channel:a"
OTHER = "channel:b"


class FakeLog:
    """The log of a few streams, in memory."""

    def __init__(self, *streams: str) -> None:
        self.events: dict[str, list[Event]] = {stream: [] for stream in streams}
        self.epochs = dict.fromkeys(streams, "e1")
        self.trimmed = dict.fromkeys(streams, 0)
        self.bases = dict.fromkeys(streams, 0)  # offset of the first event, less one
        self.before: list[Callable[[], object]] = []
        self.during: list[Callable[[], object]] = []
        self.reads = 0
        self.down = False

    def append(self, stream: str = STREAM, size: int = 0) -> Event:
        """Commit an event, of which no node hears by itself."""
        offset = self.state(stream).top + 1
        data = f'"{"x" * size}"'
        event = Event(stream, offset, self.epochs[stream], "test.made", data, None, None, 0)
        self.events[stream].append(event)
        return event

    def restore(self, stream: str, top: int, epoch: str) -> None:
        """Go back to a backup and begin a new epoch."""
        del self.events[stream][top - self.bases[stream] :]
        self.epochs[stream] = epoch

    def state(self, stream: str) -> StreamState:
        """Say where a stream stands."""
        top = self.bases[stream] + len(self.events[stream])
        return StreamState(1, stream, self.epochs[stream], top, self.trimmed[stream])

    def read(self, wishes: Mapping[str, Wish], limit: int, max_bytes: int) -> dict[str, LogPage]:
        """Do as LogReader does."""
        self._look()
        pages = {}
        for stream, wish in wishes.items():
            if stream in self.events:
                pages[stream] = self._page(stream, wish, limit, max_bytes)
                max_bytes -= sum(len(event.json) for event in pages[stream].events)
        self._let_others_run()
        return pages

    def _page(self, stream: str, wish: Wish, limit: int, max_bytes: int) -> LogPage:
        state = self.state(stream)
        first = Position(max(state.trimmed, state.top - wish.history), state.epoch)
        after = wish.after or first
        reset = judge_resume(after, state)
        if reset is not None:
            return LogPage(state, [], state.position, False, reset)
        found: list[Event] = []
        for event in self.events[stream][after.offset - self.bases[stream] :][:limit]:
            max_bytes -= len(event.json)
            if max_bytes < 0 and found:
                break
            found.append(event)
        last = found[-1].position if found else after
        return LogPage(state, found, last, last.offset < state.top, None)

    def tops(self, streams: Iterable[str]) -> dict[str, StreamState]:
        """Do as LogReader does."""
        self._look()
        found = {stream: self.state(stream) for stream in streams if stream in self.events}
        self._let_others_run()
        return found

    def moved(self, places: Mapping[str, Place]) -> dict[str, StreamState]:
        """Do as LogReader does."""
        found = self.tops(places)
        return {name: s for name, s in found.items() if (s.top, s.epoch) != places[name]}

    def _look(self) -> None:
        self.reads += 1
        waiting, self.before = self.before, []
        for work in waiting:
            work()
        if self.down:
            raise UnavailableError("The database does not answer.")

    def _let_others_run(self) -> None:
        waiting, self.during = self.during, []
        for work in waiting:
            work()


class FakeWatcher:
    """A client: its ack and what comes live, in the order in which they would leave."""

    def __init__(self, name: str = "ada") -> None:
        self.user_id = name
        self.got: list[tuple[str, Any]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.presence: set[str] = set()

    def wants_presence(self, stream: str) -> bool:
        return stream in self.presence

    def deliver(self, frame: Frame) -> None:
        self.got.append((frame.name, orjson.loads(frame.json)))

    def deliver_signal(self, frame: Frame) -> None:
        self.deliver(frame)

    def answer(self, outcomes: dict[str, Outcome]) -> None:
        self.outcomes.update(outcomes)
        for stream, outcome in outcomes.items():
            self.got.append(("ack", stream))
            self.got += [("event", orjson.loads(body)) for body in outcome.events]

    def offsets(self, stream: str = STREAM) -> list[int]:
        """The offsets of the events that came, in acks and live."""
        events = [data for name, data in self.got if name == "event"]
        return [event["offset"] for event in events if event["stream"] == stream]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.got]


class World:
    """A node, its log and its bus."""

    def __init__(self, **limits: Any) -> None:
        self.log = FakeLog(STREAM, OTHER)
        self.hub = Hub()
        self.node = self.make_node(self.hub, MemoryBus(), limits)

    def make_node(self, hub: Hub, bus: MemoryBus, limits: dict[str, Any]) -> Node:
        reader: Any = self.log
        return Node(hub, bus, reader, NodeLimits(**limits))

    def subscribe(
        self,
        watcher: FakeWatcher | None = None,
        after: int | None = None,
        *,
        stream: str = STREAM,
        history: int = 0,
        limit: int = 500,
        epoch: str = "e1",
    ) -> FakeWatcher:
        """Subscribe a watcher."""
        watcher = watcher or FakeWatcher()
        wish = Wish(None if after is None else Position(after, epoch), history)
        self.node.subscribe(watcher, {stream: wish}, limit, watcher.answer)
        return watcher

    def publish(self, count: int = 1, stream: str = STREAM) -> list[Event]:
        """Commit events on this node: it hears of each at once."""
        events = [self.log.append(stream) for _ in range(count)]
        for event in events:
            self.node.committed([event], [])
        return events

    def hint(self, event: Event) -> None:
        """Have the bus bring a hint."""
        self.node.on_hint(Hint(event.stream, event.epoch, event.offset, event.json))

    @property
    def track(self) -> Track:
        """What the node knows of the stream."""
        return self.node._tracks[STREAM]


@pytest.fixture
def world() -> World:
    return World()


def settle(condition: Callable[[], object]) -> None:
    """Let the greenlets of this thread run until something is so."""
    with eventlet.Timeout(30):
        while not condition():
            eventlet.sleep(0.005)


def forget_idle(node: Node) -> None:
    """Let a node forget what nobody watches, once it has lingered."""

    def is_empty() -> bool:
        node._forget_idle()
        return not node._tracks

    settle(is_empty)


def upto(count: int) -> list[int]:
    return list(range(1, count + 1))


class TestHints:
    def test_what_comes_in_order_is_delivered_in_order(self, world):
        watcher = world.subscribe()

        for _ in range(5):
            world.hint(world.log.append())

        assert watcher.offsets() == upto(5)
        assert world.log.reads == 1  # of the subscription alone

    def test_a_hint_that_comes_twice_is_delivered_once(self, world):
        """The node that committed hears its own hint again from some buses."""
        watcher = world.subscribe()
        events = world.publish(3)

        for event in [*events, *events]:
            world.hint(event)

        assert watcher.offsets() == upto(3)

    def test_two_that_crossed_are_put_in_order_without_the_log(self, world):
        watcher = world.subscribe()
        first, second = world.log.append(), world.log.append()

        world.hint(second)
        world.hint(first)

        assert watcher.offsets() == [1, 2]
        assert world.log.reads == 1

    def test_a_lost_hint_is_read_from_the_log_once_a_later_one_comes(self, world):
        """Nobody needs to wait for the next comparison."""
        watcher = world.subscribe()
        world.log.append()
        second = world.log.append()

        world.hint(second)
        settle(watcher.offsets)

        assert watcher.offsets() == [1, 2]

    def test_a_gap_is_repaired_once_however_many_hints_wait_behind_it(self, world):
        watcher = world.subscribe()
        before = REPAIRS._value.get()
        world.log.append()

        for _ in range(50):
            world.hint(world.log.append())
        settle(watcher.offsets)

        assert watcher.offsets() == upto(51)
        assert REPAIRS._value.get() == before + 1

    def test_more_early_hints_than_are_kept_lose_nothing(self, world):
        """What waits for a missing one is bounded; the log holds the rest."""
        watcher = world.subscribe()
        events = [world.log.append() for _ in range(1500)]

        for event in reversed(events[1:]):
            world.hint(event)
        kept = len(world.track._early)
        settle(watcher.offsets)

        assert kept <= 256
        assert watcher.offsets() == upto(1500)
        assert world.track._early is None

    def test_a_hint_of_a_stream_that_nobody_watches_costs_nothing(self, world):
        world.publish(3)

        assert world.node._tracks == {}
        assert world.log.reads == 0

    def test_a_hint_of_another_epoch_makes_the_node_look(self, world):
        """Its offset means nothing here: it might look like one that was delivered."""
        watcher = world.subscribe()
        world.publish(5)
        world.log.restore(STREAM, 3, "e2")

        world.hint(world.log.append())
        settle(lambda: "reset" in watcher.names)

        told = watcher.got[-1][1]
        assert told == {
            "stream": STREAM,
            "reason": "epoch",
            "position": {"offset": 4, "epoch": "e2"},
        }
        assert watcher.offsets() == upto(5)

    def test_after_a_reset_the_next_event_follows_the_position_it_told(self, world):
        watcher = world.subscribe()
        world.publish(5)
        world.log.restore(STREAM, 3, "e2")
        world.node.compare()

        world.publish(2)

        assert watcher.names == ["ack"] + ["event"] * 5 + ["reset"] + ["event"] * 2
        assert watcher.offsets()[5:] == [4, 5]

    def test_a_late_hint_of_the_old_epoch_is_never_delivered(self, world):
        watcher = world.subscribe()
        old = [world.log.append() for _ in range(5)]
        world.log.restore(STREAM, 0, "e2")
        world.node.compare()

        for event in old:
            world.hint(event)
        settle(lambda: not world.track.repairing)
        world.publish(1)

        assert watcher.names == ["ack", "reset", "event"]
        assert watcher.offsets() == [1]


class TestRepair:
    def test_comparing_finds_what_no_hint_told(self, world):
        """The last hint before a silence may be the lost one."""
        watcher = world.subscribe()
        for _ in range(3):
            world.log.append()

        world.node.compare()

        assert watcher.offsets() == upto(3)

    def test_comparing_what_is_well_reads_nothing_more(self, world):
        world.subscribe()
        world.publish(3)
        before = world.log.reads

        world.node.compare()

        assert world.log.reads == before + 1

    def test_a_repair_goes_on_over_pages(self):
        """Of 500 events, or of the bytes that a page may hold."""
        world = World(page_bytes=2000)
        watcher = world.subscribe()
        for _ in range(1200):
            world.log.append(size=100)

        world.node.compare()

        assert watcher.offsets() == upto(1200)

    def test_an_event_larger_than_a_page_does_not_stop_a_repair(self):
        world = World(page_bytes=100)
        watcher = world.subscribe()
        for _ in range(3):
            world.log.append(size=5000)

        world.node.compare()

        assert watcher.offsets() == upto(3)

    def test_what_is_committed_while_the_log_is_read_comes_once(self, world):
        """Hints go on during a repair; what the page holds as well is not doubled."""
        watcher = world.subscribe()
        world.log.append()
        world.log.during = [lambda: self.commit_and_hint(world)]

        world.node.compare()
        settle(lambda: len(watcher.offsets()) == 2)

        assert watcher.offsets() == [1, 2]

    @staticmethod
    def commit_and_hint(world: World) -> None:
        world.hint(world.log.append())

    def test_two_repairs_at_once_deliver_once(self, world):
        watcher = world.subscribe()
        for _ in range(5):
            world.log.append()
        world.log.during = [world.node.compare]

        world.node.compare()

        assert watcher.offsets() == upto(5)

    def test_a_log_that_is_away_is_asked_again_later(self, world):
        """Nothing is delivered past the hole meanwhile."""
        watcher = world.subscribe()
        world.log.append()
        world.log.down = True
        world.hint(world.log.append())
        settle(lambda: not world.track.repairing)
        with pytest.raises(UnavailableError):
            world.node.compare()
        meanwhile = watcher.offsets()

        world.log.down = False
        world.node.compare()

        assert meanwhile == []
        assert watcher.offsets() == [1, 2]

    def test_what_was_trimmed_before_it_was_delivered_is_a_reset(self, world):
        """Never a part in silence, also for who is connected."""
        watcher = world.subscribe()
        for _ in range(10):
            world.log.append()
        world.log.trimmed[STREAM] = 5

        world.node.compare()
        world.publish(1)

        assert watcher.names == ["ack", "reset", "event"]
        assert watcher.got[1][1]["reason"] == "trimmed"
        assert watcher.got[1][1]["position"] == {"offset": 10, "epoch": "e1"}
        assert watcher.offsets() == [11]

    def test_two_repairs_of_a_new_epoch_reset_once(self, world):
        watcher = world.subscribe()
        world.publish(3)
        world.log.restore(STREAM, 1, "e2")
        world.log.during = [world.node.compare]

        world.node.compare()

        assert watcher.names.count("reset") == 1

    def test_a_stream_that_vanished_from_the_log_is_left_alone(self, world):
        watcher = world.subscribe()
        del world.log.events[STREAM]

        world.node.compare()

        assert watcher.names == ["ack"]

    def test_the_comparison_runs_by_itself(self):
        """And goes on after the database was away."""
        world = World(compare_interval_s=0.01)
        world.node.start()
        watcher = world.subscribe()
        world.log.down = True
        seen = world.log.reads
        settle(lambda: world.log.reads > seen + 1)
        world.log.append()

        world.log.down = False
        settle(watcher.offsets)
        world.node.stop()

        assert watcher.offsets() == [1]


class TestSubscribe:
    def test_without_a_position_it_starts_at_the_top(self, world):
        world.publish(3)

        watcher = world.subscribe()
        world.publish(1)

        assert watcher.outcomes[STREAM].position == Position(3, "e1")
        assert watcher.offsets() == [4]

    @pytest.mark.parametrize("is_warm", [False, True], ids=["from the log", "from memory"])
    @pytest.mark.parametrize("after", [0, 3, 9, 10])
    def test_with_a_position_it_gets_what_came_after(self, world, after, is_warm):
        if is_warm:
            world.subscribe()
        world.publish(10)
        reads = world.log.reads

        watcher = world.subscribe(after=after)

        assert watcher.offsets() == upto(10)[after:]
        assert watcher.outcomes[STREAM].position == Position(10, "e1")
        assert (world.log.reads == reads) is is_warm

    @pytest.mark.parametrize("is_warm", [False, True], ids=["from the log", "from memory"])
    def test_history_gives_the_last_ones_first(self, world, is_warm):
        if is_warm:
            world.subscribe()
        world.publish(10)

        watcher = world.subscribe(history=3)

        assert watcher.offsets() == [8, 9, 10]

    def test_what_is_committed_while_the_log_is_read_follows_the_ack(self, world):
        """Held back until the answer has left, and then neither missing nor doubled."""
        world.publish(3)
        world.log.during = [lambda: world.publish(2)]

        watcher = world.subscribe(after=1)
        world.publish(1)

        assert watcher.names == ["ack"] + ["event"] * 5
        assert watcher.offsets() == [2, 3, 4, 5, 6]
        assert watcher.outcomes[STREAM].position.offset in (3, 5)

    def test_what_is_committed_while_the_log_is_read_follows_without_a_position_too(self, world):
        world.publish(3)
        world.log.during = [lambda: world.publish(2)]

        watcher = world.subscribe()

        assert watcher.names == ["ack", "event", "event"]
        assert watcher.offsets() == [4, 5]

    def test_a_hint_lost_during_the_read_is_repaired(self, world):
        world.publish(3)

        def commit_two_and_lose_one() -> None:
            world.log.append()
            world.hint(world.log.append())

        world.log.during = [commit_two_and_lose_one]
        watcher = world.subscribe()
        settle(watcher.offsets)

        assert watcher.offsets() == [4, 5]

    def test_a_node_that_is_behind_catches_up_before_it_answers(self):
        """Else it would deliver to the newcomer what the answer held already."""
        world = World(tail_events=2)
        old = world.subscribe()
        world.publish(5)
        events = [world.log.append() for _ in range(3)]  # no hint came

        new = world.subscribe(after=0)
        for event in events:
            world.hint(event)
        world.node.compare()

        assert old.offsets() == upto(8)
        assert new.offsets() == upto(8)

    def test_what_the_page_holds_is_not_handed_over_again(self):
        """Committed after the watcher was held, and before the log was read for it."""
        world = World(tail_events=2)
        world.subscribe()
        world.publish(5)
        world.log.before = [lambda: world.publish(1)]

        new = world.subscribe(after=0)
        world.publish(1)

        assert new.offsets() == upto(7)

    def test_a_second_subscription_of_the_same_watcher_doubles_nothing(self, world):
        watcher = world.subscribe()
        world.publish(2)

        world.subscribe(watcher, after=2)
        world.publish(1)

        assert watcher.offsets() == [1, 2, 3]

    def test_other_watchers_go_on_while_one_is_held(self, world):
        old = world.subscribe()
        world.publish(300)
        seen: list[int] = []

        def look() -> None:
            world.publish(1)
            seen.extend(old.offsets())

        world.log.during = [look]
        new = world.subscribe(after=0)

        assert seen == upto(301)
        assert new.offsets() == upto(301)

    @pytest.mark.parametrize("limit", [1, 3, 10])
    def test_more_to_come_is_not_live_yet(self, world, limit):
        """The next page would else come after live events."""
        world.publish(7)

        watcher = world.subscribe(after=0, limit=limit)
        world.publish(1)
        pages = 1
        while watcher.outcomes[STREAM].more:
            at = watcher.outcomes[STREAM].position.offset
            world.subscribe(watcher, after=at, limit=limit)
            pages += 1
        world.publish(1)

        assert watcher.offsets() == upto(9)
        assert watcher.names.count("ack") == pages

    def test_pages_are_cut_by_bytes(self):
        world = World(page_bytes=3000)
        for _ in range(10):
            world.log.append(size=900)

        watcher = world.subscribe(after=0)
        first = watcher.outcomes[STREAM]

        assert first.more
        assert sum(map(len, first.events)) <= 3000
        assert first.position.offset == len(first.events)

    def test_many_streams_share_the_bytes_of_a_page(self):
        """One packet that names a thousand streams must not make an answer of a gigabyte."""
        world = World(page_bytes=3000)
        for stream in (STREAM, OTHER):
            for _ in range(5):
                world.log.append(stream, size=900)
        watcher = FakeWatcher()
        wishes = {stream: Wish(Position(0, "e1")) for stream in (STREAM, OTHER)}

        while wishes:
            world.node.subscribe(watcher, wishes, 500, watcher.answer)
            sizes = [sum(map(len, watcher.outcomes[stream].events)) for stream in wishes]
            assert sum(sizes) <= 4000
            wishes = {
                stream: Wish(watcher.outcomes[stream].position)
                for stream in wishes
                if watcher.outcomes[stream].more
            }

        assert watcher.offsets(STREAM) == watcher.offsets(OTHER) == upto(5)

    @pytest.mark.parametrize(
        ("offset", "epoch", "reason"),
        [(3, "e0", "epoch"), (99, "e1", "ahead"), (1, "e1", "trimmed")],
    )
    @pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
    def test_a_position_that_does_not_fit_is_a_reset_to_the_top(
        self, world, offset, epoch, reason, is_warm
    ):
        world.publish(10)
        world.log.trimmed[STREAM] = 5
        if is_warm:
            world.subscribe()

        watcher = world.subscribe(after=offset, epoch=epoch)
        world.publish(1)
        outcome = watcher.outcomes[STREAM]

        assert outcome.reset is not None
        assert outcome.reset.as_json() == {
            "reason": reason,
            "oldest": 6,
            "top": {"offset": 10, "epoch": "e1"},
        }
        assert outcome.position == Position(10, "e1")
        assert watcher.offsets() == [11]

    def test_a_stream_that_does_not_exist_is_not_in_the_answer_and_not_followed(self, world):
        watcher = world.subscribe(stream="channel:none")

        assert watcher.outcomes == {}
        assert world.node._tracks == {}
        assert not world.hub.is_watched("channel:none")

    def test_a_log_that_can_not_be_read_leaves_nothing_behind(self, world):
        watcher = FakeWatcher()
        world.log.down = True

        with pytest.raises(UnavailableError):
            world.subscribe(watcher)

        assert watcher.got == []
        assert not world.hub.is_watched(STREAM)
        assert world.node._tracks == {}

    def test_an_answer_that_fails_leaves_nothing_behind(self, world):
        def answer(_outcomes: dict[str, Outcome]) -> None:
            raise LookupError

        watcher = FakeWatcher()
        with pytest.raises(LookupError):
            world.node.subscribe(watcher, {STREAM: Wish()}, 1, answer)
        world.publish(1)

        assert not world.hub.is_held(STREAM, watcher)

    def test_access_lost_during_the_read_is_not_answered_and_not_followed(self, world):
        """Whoever ends the subscription meanwhile wins."""
        watcher = FakeWatcher()
        world.publish(3)
        world.log.during = [lambda: world.node.unsubscribe(watcher, STREAM)]

        world.subscribe(watcher, after=0)
        world.publish(1)

        assert watcher.got == []
        assert not world.hub.is_watched(STREAM)

    def test_two_who_come_at_once_to_a_new_stream_both_get_everything(self, world):
        """The second comes while the first one waits for the log."""
        world.publish(3)
        first, second = FakeWatcher("a"), FakeWatcher("b")

        def come_too() -> None:
            world.publish(1)
            world.subscribe(second, after=0)
            world.publish(1)

        world.log.during = [come_too]
        world.subscribe(first, after=0)
        while first.outcomes[STREAM].more:
            world.subscribe(first, after=first.outcomes[STREAM].position.offset)
        world.publish(1)

        assert first.offsets() == upto(6)
        assert second.offsets() == upto(6)

    def test_the_last_one_leaves_while_another_comes(self, world):
        """The stream is not forgotten under somebody who is being subscribed."""
        world.publish(3)
        first, second = world.subscribe(), FakeWatcher()
        world.log.during = [lambda: world.node.unsubscribe(first, STREAM)]

        world.subscribe(second, after=0)
        world.publish(1)

        assert second.offsets() == upto(4)


class TestLinger:
    def test_who_comes_back_soon_is_served_from_memory(self, world):
        """A reconnect storm after a deploy reads no log."""
        watcher = world.subscribe()
        world.publish(1)
        world.node.unsubscribe(watcher, STREAM)
        world.publish(3)
        reads = world.log.reads

        back = world.subscribe(after=1)

        assert back.offsets() == [2, 3, 4]
        assert world.log.reads == reads

    def test_a_stream_that_nobody_watches_is_forgotten_after_a_while(self):
        world = World(linger_s=0)
        watcher = world.subscribe()
        world.publish(3)
        world.node.unsubscribe(watcher, STREAM)

        forget_idle(world.node)

        assert world.node._budget.left == NodeLimits().tail_bytes
        assert world.subscribe(after=1).offsets() == [2, 3]

    def test_a_stream_that_is_watched_is_never_forgotten(self):
        world = World(linger_s=0)
        watcher = world.subscribe()
        world.node.unsubscribe(watcher, STREAM)
        world.subscribe(watcher)

        eventlet.sleep(0.01)
        world.node._forget_idle()

        assert STREAM in world.node._tracks

    def test_a_forgotten_stream_is_left_on_the_bus(self):
        joined: list[tuple[str, str]] = []

        class Bus(MemoryBus):
            def join(self, stream: str) -> None:
                joined.append(("join", stream))

            def leave(self, stream: str) -> None:
                joined.append(("leave", stream))

        world = World()
        node = world.make_node(Hub(), Bus(), {"linger_s": 0})
        watcher = FakeWatcher()
        node.subscribe(watcher, {STREAM: Wish()}, 1, watcher.answer)
        node.unsubscribe(watcher, STREAM)

        forget_idle(node)

        assert joined == [("join", STREAM), ("leave", STREAM)]

    def test_a_repair_of_a_forgotten_stream_touches_nothing(self, world):
        watcher = world.subscribe()
        world.log.append()
        world.hint(world.log.append())
        world.node.unsubscribe(watcher, STREAM)
        track = world.track

        world.node._forget(track)
        settle(lambda: not track.repairing)

        assert watcher.offsets() == []
        assert world.node._tracks == {}


class TestTail:
    def test_a_stream_keeps_its_last_events_only(self):
        world = World(tail_events=10)
        world.subscribe()

        world.publish(100)

        assert len(world.track._tail or ()) == 10

    def test_all_streams_together_stay_within_the_bytes(self):
        """However the events are spread, and however big they are."""
        world = World(tail_bytes=10_000)
        world.subscribe()
        world.subscribe(stream=OTHER)

        for size in [10, 500, 3000, 20_000, 1, 2500] * 10:
            for stream in (STREAM, OTHER):
                world.node.committed([world.log.append(stream, size)], [])
            tails = [track._tail for track in world.node._tracks.values()]
            held = sum(len(body) for tail in tails for body in tail or ())
            assert held <= 10_000
            assert world.node._budget.left == 10_000 - held

    def test_a_tail_that_is_too_short_is_made_up_by_the_log(self):
        world = World(tail_events=3)
        world.subscribe()
        world.publish(10)

        assert world.subscribe(after=2).offsets() == upto(10)[2:]

    def test_a_watcher_behind_the_tail_of_a_small_budget_gets_everything(self):
        world = World(tail_bytes=1)
        watcher = world.subscribe()
        world.publish(5)

        assert watcher.offsets() == upto(5)
        assert world.subscribe(after=0).offsets() == upto(5)

    def test_a_new_epoch_empties_it(self, world):
        world.subscribe()
        world.publish(5)
        world.log.restore(STREAM, 2, "e2")

        world.node.compare()

        assert world.track._tail is None
        assert world.node._budget.left == NodeLimits().tail_bytes

    @hypothesis.given(data=st.data())
    def test_what_it_gives_is_always_the_end_of_what_was_delivered(self, data):
        """Or nothing, where it does not reach back so far or there is too much of it."""
        delivered: list[bytes] = []
        track = Track(
            STREAM, lambda _track, _, body: delivered.append(body), TailBudget(data.draw(SMALL)), 5
        )
        track.start(Position(0, "e"))
        for offset in range(1, data.draw(SMALL) + 1):
            track.offer("e", offset, b"x" * data.draw(SMALL))
        after, limit, size = data.draw(SMALL), data.draw(SMALL), data.draw(SMALL)

        got = track.tail_after(Position(after, "e"), limit, size)

        if got is not None:
            assert got == delivered[after:]
            assert len(got) <= limit
            assert sum(map(len, got)) <= size
        assert track.tail_after(Position(after, "other"), 100, 100) is None

    @hypothesis.given(data=st.data())
    def test_up_to_an_offset_it_is_a_part_of_that(self, data):
        """No event too many and none too few; nothing where the node has not come so far."""
        delivered: list[bytes] = []
        track = Track(STREAM, lambda *told: delivered.append(told[-1]), TailBudget(100), 5)
        track.start(Position(0, "e"))
        for offset in range(1, data.draw(SMALL) + 1):
            track.offer("e", offset, bytes([offset]))
        after, upto, limit = data.draw(SMALL), data.draw(SMALL), data.draw(SMALL)

        got = track.tail_after(Position(after, "e"), limit, 100, upto)

        held = after >= len(delivered) - 5 and after <= upto <= len(delivered)
        assert got == (delivered[after:upto] if held and upto - after <= limit else None)


SMALL = st.integers(0, 12)


class TestHub:
    def test_a_cut_in_the_midst_of_a_fan_out_does_not_disturb_the_others(self):
        """Who can't keep up leaves while the list is walked."""
        hub, last = Hub(), FakeWatcher("last")

        class Leaver(FakeWatcher):
            def deliver(self, frame: Frame) -> None:
                hub.drop(STREAM, self)

        watchers = [Leaver(), Leaver(), last]
        for watcher in watchers:
            hub.hold(STREAM, watcher)
            hub.release(STREAM, watcher, 0)

        hub.fan_out(STREAM, 1, Frame.of("event", {"stream": STREAM, "offset": 1}))

        assert last.offsets() == [1]
        assert list(hub.watchers(STREAM)) == [last]

    def test_a_signal_does_not_come_back_to_who_made_it(self, world):
        maker, other = world.subscribe(), world.subscribe()

        world.node.emit_signal(Signal(STREAM, "typing", "{}", "ada", 0), but=maker)

        assert maker.names == ["ack"]
        assert other.names == ["ack", "signal"]

    def test_a_frame_is_the_same_object_for_all(self):
        """So a transport can render it once."""
        hub, frames = Hub(), []

        class Keeper(FakeWatcher):
            def deliver(self, frame: Frame) -> None:
                frames.append(frame)

        for _ in range(3):
            watcher = Keeper()
            hub.hold(STREAM, watcher)
            hub.release(STREAM, watcher, 0)
        frame = Frame("event", b"{}")
        hub.fan_out(STREAM, 1, frame)

        assert [one is frame for one in frames] == [True] * 3

    def test_dropping_tells_whether_there_was_anything(self):
        hub, watcher = Hub(), FakeWatcher()
        first = hub.drop(STREAM, watcher)
        hub.hold(STREAM, watcher)
        held = hub.drop(STREAM, watcher)
        hub.hold(STREAM, watcher)
        hub.release(STREAM, watcher, 0)
        live = hub.drop(STREAM, watcher)

        assert (first, held, live) == (False, True, True)
        assert not hub.is_watched(STREAM)


class TestTwoNodes:
    @pytest.fixture
    def nodes(self, world) -> list[Node]:
        exchange = MemoryExchange()
        made = [world.make_node(Hub(), MemoryBus(exchange), {}) for _ in range(2)]
        for node in made:
            node._bus.start(node)
        return made

    def test_what_one_commits_the_watchers_of_both_get_once(self, world, nodes):
        watchers = [FakeWatcher(), FakeWatcher()]
        for node, watcher in zip(nodes, watchers, strict=True):
            node.subscribe(watcher, {STREAM: Wish()}, 1, watcher.answer)

        for number in range(6):
            nodes[number % 2].committed([world.log.append()], [])

        assert [watcher.offsets() for watcher in watchers] == [upto(6)] * 2

    def test_signals_and_controls_reach_the_other_node(self, nodes):
        watcher = FakeWatcher()
        heard: list[Control] = []
        nodes[1].subscribe(watcher, {STREAM: Wish()}, 1, watcher.answer)
        for node in nodes:
            node.tell_controls_to(heard.append)
        control = Control("user_disabled", "ada")

        nodes[0].emit_signal(Signal(STREAM, "typing", "{}", "ada", 0))
        nodes[0].committed([], [control])

        assert watcher.names == ["ack", "signal"]
        assert heard == [control, control]

    def test_a_signal_from_the_bus_is_fanned_out(self, world):
        watcher = world.subscribe()

        world.node.on_signal(SignalHint(STREAM, b'{"type":"typing"}'))

        assert watcher.got[-1] == ("signal", {"type": "typing"})


class TestPresenceSignals:
    SIGNAL = Signal(STREAM, "presence.joined", "{}", "ada", 0, presence=True)

    @pytest.mark.parametrize("way", ["here", "from the bus"])
    def test_they_go_to_who_asked_for_them_alone(self, world, way):
        asked, other = world.subscribe(), world.subscribe()
        asked.presence.add(STREAM)
        other.presence.add(OTHER)

        if way == "here":
            world.node.emit_signal(self.SIGNAL)
        else:
            world.node.on_signal(SignalHint(STREAM, self.SIGNAL.json, presence=True))

        assert asked.names == ["ack", "signal"]
        assert other.names == ["ack"]

    def test_the_bus_is_told_that_it_is_one(self, world):
        ear = FakeWatcher()
        exchange = MemoryExchange()
        nodes = [world.make_node(Hub(), MemoryBus(exchange), {}) for _ in range(2)]
        for node in nodes:
            node._bus.start(node)
        nodes[1].subscribe(ear, {STREAM: Wish()}, 1, ear.answer)

        nodes[0].emit_signal(self.SIGNAL)

        assert ear.names == ["ack"]

    def test_one_that_comes_while_somebody_is_subscribed_follows_the_ack(self, world):
        """Their roster may be older than it: somebody would never be seen."""
        watcher = FakeWatcher()
        watcher.presence.add(STREAM)
        world.log.during = [lambda: world.node.emit_signal(self.SIGNAL)]

        world.subscribe(watcher)

        assert watcher.names == ["ack", "signal"]

    def test_its_maker_does_not_get_it_back(self, world):
        watcher = world.subscribe()
        watcher.presence.add(STREAM)

        world.node.emit_signal(self.SIGNAL, but=watcher)

        assert watcher.names == ["ack"]

    def test_what_has_to_be_prepared_is_prepared_while_all_is_kept(self, world):
        """Between the log and the answer others may run, and nothing of theirs is lost."""
        watcher, prepared = FakeWatcher(), []

        def prepare(streams: list[str]) -> None:
            prepared.extend(streams)
            world.publish(2)

        world.publish(1)
        wishes = {STREAM: Wish(Position(0, "e1")), "channel:none": Wish()}
        world.node.subscribe(watcher, wishes, 9, watcher.answer, prepare=prepare)

        assert prepared == [STREAM]
        assert watcher.offsets() == upto(3)

    def test_nothing_is_prepared_for_what_has_more_to_come_or_was_lost(self, world):
        watcher = FakeWatcher()
        prepared: list[str] = []
        world.publish(3)
        wish = {STREAM: Wish(Position(0, "e1"))}

        world.node.subscribe(watcher, wish, 2, watcher.answer, prepare=prepared.extend)
        world.log.during = [lambda: world.node.unsubscribe(watcher, STREAM)]
        world.node.subscribe(watcher, wish, 9, watcher.answer, prepare=prepared.extend)

        assert prepared == []

    def test_access_lost_while_it_is_prepared_is_not_answered(self, world):
        watcher = FakeWatcher()

        def lose(_streams: list[str]) -> None:
            world.node.unsubscribe(watcher, STREAM)

        world.node.subscribe(watcher, {STREAM: Wish()}, 9, watcher.answer, prepare=lose)

        assert watcher.got == []
        assert not world.hub.is_watched(STREAM)


WORDS = "publish lose cross repeat come leave return page forget"
ACTIONS = WORDS.split()
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), max_size=60)


class TestAnyBus:
    """Whatever becomes of hints, and whoever comes and goes: the log's order, and all of it."""

    @hypothesis.given(steps=STEPS, seed=st.integers(0, 2**32))
    @hypothesis.settings(max_examples=200)
    def test_after_a_comparison_all_watchers_have_exactly_the_log(self, steps, seed):
        run = BusRun(random.Random(seed))

        for step in steps:
            run.take(*step)
        run.end()

        assert [client.fault() for client in run.clients] == [""] * len(run.clients)

    def test_a_long_run_of_it(self, rng):
        steps = [(rng.choice(ACTIONS), rng.randrange(10)) for _ in range(1000)]
        run = BusRun(rng)

        for step in steps:
            run.take(*step)
        run.end()

        assert [client.fault() for client in run.clients] == [""] * len(run.clients)


class Client(FakeWatcher):
    """A watcher that comes and goes, and keeps its position."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.start: int | None = None
        self.is_live = False
        self.is_waiting = False

    def come(self, limit: int = 500) -> None:
        """Take the next page; live after the last one. One packet at a time."""
        if self.is_waiting:
            return
        after = None if self.start is None else self.start + len(self.offsets())
        self.is_waiting = True
        self.world.subscribe(self, after=after, limit=limit)
        self.is_waiting = False
        outcome = self.outcomes[STREAM]
        if self.start is None:
            self.start = outcome.position.offset - len(outcome.events)
        self.is_live = not outcome.more

    def come_for_good(self) -> None:
        """Take pages until it is live."""
        while not self.is_live and not self.is_waiting:
            self.come()

    def leave(self) -> None:
        """Be gone."""
        if not self.is_waiting:
            self.world.node.unsubscribe(self, STREAM)
            self.is_live = False

    def fault(self) -> str:
        """Say what is wrong with what it got: nothing, if it is the log."""
        assert self.start is not None
        wanted = list(range(self.start + 1, self.world.log.state(STREAM).top + 1))
        got = self.offsets()
        return "" if got == wanted else f"wanted {wanted}, got {got}"


class BusRun:
    """Acts on a node as a bus, a database and clients of bad manners would."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.world = World(tail_events=8, tail_bytes=1500, page_bytes=2000)
        self.world.node._repair_soon = lambda track: None  # type: ignore[method-assign]
        self.clients = [Client(self.world)]
        self.clients[0].come()
        self.waiting: list[Event] = []

    def take(self, action: str, number: int) -> None:
        """Do one thing; while the log is read, two others may happen."""
        if self.rng.random() < 0.5:
            others = [getattr(self, f"do_{self.rng.choice(ACTIONS)}") for _ in range(3)]
            self.world.log.during = [
                functools.partial(other, self.rng.randrange(10)) for other in others
            ]
        getattr(self, f"do_{action}")(number)

    def do_publish(self, number: int) -> None:
        for _ in range(number % 4):
            self.world.hint(self.world.log.append())

    def do_lose(self, number: int) -> None:
        """Commit without a hint; some of them come late."""
        self.waiting += [self.world.log.append() for _ in range(number % 4)]

    def do_cross(self, _number: int) -> None:
        self.rng.shuffle(self.waiting)
        while self.waiting and self.rng.random() < 0.7:
            self.world.hint(self.waiting.pop())

    def do_repeat(self, number: int) -> None:
        for event in self.world.log.events[STREAM][-number:]:
            self.world.hint(event)

    def do_come(self, number: int) -> None:
        if len(self.clients) < 5:
            self.clients.append(Client(self.world))
            self.clients[-1].come(number + 1)

    def do_leave(self, number: int) -> None:
        self.clients[number % len(self.clients)].leave()

    def do_return(self, number: int) -> None:
        self.clients[number % len(self.clients)].come_for_good()

    def do_forget(self, _number: int) -> None:
        """Everybody leaves for so long that the node forgets the stream."""
        for client in self.clients:
            client.leave()
        for track in list(self.world.node._tracks.values()):
            if track.idle_since is not None:
                self.world.node._forget(track)

    def do_page(self, number: int) -> None:
        self.clients[number % len(self.clients)].come(2)

    def end(self) -> None:
        """Everybody comes back, and the node compares once."""
        for client in self.clients:
            client.come_for_good()
        self.world.log.during.clear()
        # What happened meanwhile may have sent somebody away.
        for client in self.clients:
            client.come_for_good()
        self.world.node.compare()


def test_the_fake_log_pages_as_the_real_one_does(core) -> None:
    """Else what is shown above would be shown of nothing."""
    stream = core.make_stream()
    for number in range(10):
        core.publish(stream, "x" * (number * 50))
    fake = FakeLog(stream)
    with core.db.read() as conn:
        fake.events[stream] = list(_all_events(core, conn, stream))
    fake.epochs[stream] = core.state(stream).epoch

    for wish in _wishes(fake.epochs[stream]):
        for limit, size in [(3, 10**6), (100, 700), (100, 0), (100, 10**6)]:
            mine = fake.read({stream: wish}, limit, size).get(stream)
            real = core.reader().read({stream: wish}, limit, size).get(stream)
            assert mine is not None
            assert real is not None
            if size:
                assert [e.json for e in mine.events] == [e.json for e in real.events]
            assert (mine.position, mine.more) == (real.position, real.more) or not size
            assert (mine.reset is None) == (real.reset is None)


def _wishes(epoch: str) -> Iterator[Wish]:
    for offset in (0, 5, 12, 13):
        yield Wish(Position(offset, epoch))
    yield Wish(Position(1, "other"))
    yield Wish()
    yield Wish(None, 3)


def _all_events(core: Any, conn: Any, stream: str) -> list[Event]:
    return read_all(conn, core.state(stream))
