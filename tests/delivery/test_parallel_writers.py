"""Many write to the same streams at once: offsets have no gap and no repeat, and order is one.

Commit order is what readers see. So readers look at the log all the while, in snapshots: one that
ever saw offset 8 without offset 7 would have been told "up to 8" and would miss 7 for ever.
"""

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import eventlet
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core.errors import FanfareError, UnavailableError
from core.events import Event
from core.services.history import Wish
from core.services.publish import log_event
from core.store import log
from core.times import now_ms
from realtime.bus_memory import MemoryBus
from realtime.hub import Frame, Hub
from realtime.node import Node, NodeLimits
from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Core, Room, read_all

WRITERS = 8
EACH = 60
DEADLINE_S = 60


class Done(NamedTuple):
    """One publish, and when it began and ended."""

    stream: str
    offset: int
    began: int
    ended: int


def write(core: Core, streams: list[str], name: int, rng: random.Random) -> list[Done]:
    """Publish to one stream and the other, in different ways."""
    done = []
    for number in range(EACH):
        stream, began = rng.choice(streams), time.monotonic_ns()
        if number % 3:
            offset = core.publish(stream, [name, number], key=f"{name}-{number}").event.offset
        else:
            offset = core.post(stream, f"{name}-{number}").message["offset"]
        done.append(Done(stream, offset, began, time.monotonic_ns()))
    return done


class Snapshots:
    """Looks at the log again and again: each look must find every offset up to the top."""

    def __init__(self, core: Core, streams: list[str]) -> None:
        self._core = core
        self._streams = streams
        self.looks = 0
        self.sizes: set[int] = set()
        self.faults: list[str] = []
        self._seen = dict.fromkeys(streams, 0)

    def look(self) -> None:
        """Look once, at every stream in one snapshot."""
        self.looks += 1
        with self._core.db.snapshot() as conn:
            for stream in self._streams:
                state = log.get_state(conn, stream)
                offsets = [event.offset for event in read_all(conn, state)]
                self._judge(stream, offsets, state.top)

    def _judge(self, stream: str, offsets: list[int], top: int) -> None:
        self.sizes.add(top)
        if offsets != list(range(1, top + 1)):
            self.faults.append(f"{stream} has top {top} and holds {offsets[-20:]}")
        if top < self._seen[stream]:
            self.faults.append(f"{stream} went back from {self._seen[stream]} to {top}")
        self._seen[stream] = top

    def look_until(self, stop: threading.Event) -> None:
        """Look until told to stop, and once more."""
        while not stop.is_set():
            self.look()
        self.look()


@contextmanager
def looking(snapshots: Snapshots) -> Iterator[None]:
    """Look from another thread for as long as the block runs."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        looks = pool.submit(snapshots.look_until, stop)
        try:
            yield
        finally:
            stop.set()
    looks.result()


def assert_no_later_one_ended_before(done: list[Done]) -> None:
    """What had ended before another began has the smaller offset."""
    earliest_end = None
    for one in sorted(done, key=lambda done: -done.offset):
        if earliest_end is not None:
            assert earliest_end >= one.began, f"offset {one.offset} began after a later one ended"
        earliest_end = min(filter(None, (earliest_end, one.ended)))


class Listener:
    """A watcher that keeps the offsets it is given."""

    user_id = "somebody"

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def wants_presence(self, stream: str) -> bool:
        return False

    def deliver(self, frame: Frame) -> None:
        self.bodies.append(frame.json)

    def deliver_signal(self, frame: Frame) -> None:
        """Signals are none of its business."""


class TestManyWriters:
    @pytest.mark.parametrize("databases", ["one", "each its own"])
    def test_offsets_have_no_gap_and_no_repeat_and_follow_the_commits(
        self, core, database_url, databases, rng
    ):
        """Eight threads, as one node has them, or with a pool each, as eight nodes."""
        streams = [core.make_stream() for _ in range(3)]
        rngs = [random.Random(rng.random()) for _ in range(WRITERS)]
        snapshots = Snapshots(core, streams)

        with ExitStack() as stack:
            cores = [core] * WRITERS
            if databases == "each its own":
                cores = [stack.enter_context(Core(database_url, core.caller)) for _ in cores]
            stack.enter_context(looking(snapshots))
            pool = stack.enter_context(ThreadPoolExecutor(WRITERS))
            calls = [
                pool.submit(write, one, streams, name, rngs[name]) for name, one in enumerate(cores)
            ]
            done = [one for call in calls for one in call.result(DEADLINE_S)]

        assert snapshots.faults == []
        assert len(snapshots.sizes) > 5  # it did look while they wrote
        for stream in streams:
            mine = [one for one in done if one.stream == stream]
            assert sorted(one.offset for one in mine) == list(range(3, len(mine) + 3))
            assert core.offsets(stream) == list(range(1, len(mine) + 3))
            assert_no_later_one_ended_before(mine)

    def test_watchers_see_the_same_order_whatever_order_the_news_come_in(
        self, core, database_url, rng
    ):
        """The news of two commits may cross between the commit and the node; the node sorts it."""
        streams = [core.make_stream() for _ in range(3)]
        node = Node(Hub(), MemoryBus(), core.reader(), NodeLimits())
        news: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
        watchers = [Listener() for _ in range(3)]
        for watcher in watchers:
            node.subscribe(watcher, {stream: Wish() for stream in streams}, 1, lambda _: None)
        rngs = [random.Random(rng.random()) for _ in range(WRITERS)]

        with ExitStack() as stack:
            cores = [stack.enter_context(Core(database_url, core.caller)) for _ in range(WRITERS)]
            for one in cores:
                one.db.announce_to(lambda events, _controls: news.put(events))
            pool = stack.enter_context(ThreadPoolExecutor(WRITERS))
            calls = [
                pool.submit(write, one, streams, name, rngs[name]) for name, one in enumerate(cores)
            ]
            told = 0
            while told < WRITERS * EACH:
                events = news.get(timeout=DEADLINE_S)
                told += len(events)
                node.committed(events, [])
                eventlet.sleep(0)
            for call in calls:
                call.result(DEADLINE_S)
        node.compare()

        with core.db.snapshot() as conn:
            logs = {s: read_all(conn, log.get_state(conn, s))[2:] for s in streams}
        for watcher in watchers:
            assert len(watcher.bodies) == WRITERS * EACH
            for stream in streams:
                mine = [body for body in watcher.bodies if stream.encode() in body]
                assert mine == [event.json for event in logs[stream]]

    def test_a_key_that_all_use_at_once_takes_effect_once(self, core):
        """Eight retries of one publish race: one makes the event, seven are told of it."""
        stream = core.make_stream()
        together = threading.Barrier(WRITERS)

        def publish() -> Any:
            together.wait(DEADLINE_S)
            return core.publish(stream, {"order": 42}, key="order-42")

        with ThreadPoolExecutor(WRITERS) as pool:
            done = [call.result(DEADLINE_S) for call in [pool.submit(publish) for _ in range(8)]]

        assert [one.event.offset for one in done] == [3] * WRITERS
        assert sorted(one.replayed for one in done) == [False] + [True] * 7
        assert core.offsets(stream) == [1, 2, 3]


def append(core: Core, write: Any, stream: str) -> Event:
    """Append an event, in a transaction that is still to be committed."""
    return log_event(
        write, stream, "test.made", lambda _: {}, actor=core.caller.user_id, at_ms=now_ms()
    )


def append_and(core: Core, stream: str, then: Callable[[Any], object]) -> None:
    """Append an event, do something more in the same transaction, and commit."""
    with core.db.write() as write:
        append(core, write, stream)
        then(write.conn)


class TestTheTurn:
    """Two writers of one stream: what a race shows once in a while is shown here every time."""

    @staticmethod
    def start(pool: ThreadPoolExecutor, work: Callable[[], Any]) -> "Future[Any]":
        """Start it, and see that it does not come to its end."""
        begun = threading.Event()

        def run() -> Any:
            begun.set()
            return work()

        call = pool.submit(run)
        assert begun.wait(DEADLINE_S)
        with pytest.raises(TimeoutError):
            call.result(0.5)
        return call

    def test_a_writer_waits_until_the_one_before_has_committed(self, core, database_url):
        """Also where it is of another node. So no reader can see offset 4 before offset 3."""
        stream = core.make_stream()

        with Core(database_url, core.caller) as other, ThreadPoolExecutor(1) as pool:
            with core.db.write() as write:
                first = append(core, write, stream)
                second = self.start(pool, lambda: other.publish(stream, "second"))
                during = core.offsets(stream)
            after = second.result(DEADLINE_S).event

        assert (first.offset, after.offset) == (3, 4)
        assert during == [1, 2]
        assert core.offsets(stream) == [1, 2, 3, 4]

    def test_an_offset_that_was_rolled_back_is_used_by_the_next(self, core):
        """A gap would make every watcher look for an event that never was."""
        stream = core.make_stream()

        with ThreadPoolExecutor(1) as pool:
            calls: list[Future[Any]] = []

            def begin_another(_conn: Any) -> None:
                calls.append(self.start(pool, lambda: core.publish(stream, "second")))
                raise LookupError

            with pytest.raises(LookupError):
                append_and(core, stream, begin_another)
            after = calls[0].result(DEADLINE_S).event

        assert after.offset == 3
        assert core.offsets(stream) == [1, 2, 3]

    def test_writers_of_other_streams_do_not_wait(self, core):
        """On PostgreSQL. SQLite has one writer at a time by its own rule, and still comes to it."""
        stream, other = core.make_stream(), core.make_stream()

        with ThreadPoolExecutor(1) as pool:
            with core.db.write() as write:
                append(core, write, stream)
                done = pool.submit(core.publish, other, "free")
                if not core.db.is_sqlite:
                    done.result(DEADLINE_S)
            offset = done.result(DEADLINE_S).event.offset

        assert offset == 3


class TestTheAnnouncement:
    def test_what_is_announced_is_committed(self, core):
        """Whoever hears of an event and looks at once, over another connection, finds it."""
        stream = core.make_stream()
        found: list[tuple[int, list[int]]] = []

        def look(events: list[Event], _controls: list[Any]) -> None:
            found.extend((event.offset, core.offsets(stream)) for event in events)

        core.db.announce_to(look)
        core.publish(stream, "one")
        core.post(stream, "two")

        assert found == [(3, [1, 2, 3]), (4, [1, 2, 3, 4])]

    def test_what_was_rolled_back_is_never_announced(self, core):
        stream = core.make_stream()
        heard: list[Any] = []
        core.db.announce_to(lambda events, _controls: heard.extend(events))

        with pytest.raises(LookupError):
            append_and(core, stream, lambda _conn: {1: 1}[2])

        assert heard == []

    def test_what_failed_to_commit_is_never_announced(self, core):
        """Every statement was well, and then the commit was not."""
        stream = core.make_stream()
        heard: list[Any] = []
        core.db.announce_to(lambda events, _controls: heard.extend(events))

        with pytest.raises((UnavailableError, IntegrityError)):
            append_and(core, stream, lambda conn: make_commit_fail(core, conn))

        assert heard == []
        assert core.offsets(stream) == [1, 2]

    def test_a_replay_is_not_announced_again(self, core):
        """Watchers have had the event; the retry made none."""
        stream = core.make_stream()
        heard: list[Event] = []
        core.db.announce_to(lambda events, _controls: heard.extend(events))

        for _ in range(2):
            core.publish(stream, 1, key="k")
        with pytest.raises(FanfareError, match="key"):
            core.publish(stream, 2, key="k")

        assert [event.offset for event in heard] == [3]


def make_commit_fail(core: Core, conn: Any) -> None:
    """End the connection on PostgreSQL; on SQLite leave a reference that leads nowhere."""
    if core.db.is_sqlite:
        conn.execute(text("PRAGMA defer_foreign_keys = ON"))
        conn.execute(text("UPDATE members SET user_id = 'nobody'"))
        return
    pid = conn.scalar(text("SELECT pg_backend_pid()"))
    with core.db.read() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


class TestThroughAServer:
    def test_all_watchers_see_one_order_without_gap_or_repeat(self, busy_server, ada):
        """Eight sockets publish without waiting for acks; some watchers come in between."""
        rooms = [Room(ada) for _ in range(3)]
        there: queue.SimpleQueue[str] = queue.SimpleQueue()

        with ThreadPoolExecutor(2 * WRITERS) as pool:
            writing = [pool.submit(self.write, busy_server, ada, rooms, n) for n in range(WRITERS)]
            watching = [
                pool.submit(self.watch, busy_server, ada, room, later, there)
                for room in rooms
                for later in (0, 2)
            ]
            acked = [offset for call in writing for offset in call.result(DEADLINE_S)]
            while there.qsize() < len(watching) and not any(call.done() for call in watching):
                for room in rooms:
                    room.publish(1)  # for who waits for one before it comes for good
            for room in rooms:  # the last one: whoever has seen it has seen all
                assert ada.post(f"/channels/{room.id}/events", LAST).status_code == 201
            readers = [call.result(DEADLINE_S) for call in watching]

        logs = {room.stream: room.log() for room in rooms}
        for stream, events in logs.items():
            mine = sorted(offset for name, offset in acked if name == stream)
            assert [event["offset"] for event in events] == list(range(1, len(events) + 1))
            assert mine == list(range(3, len(mine) + 3))
        for reader in readers:
            first = reader.offsets[0]
            assert reader.seen == logs[reader.stream][first - 1 :]

    @staticmethod
    def write(server: Any, who: Any, rooms: list[Room], name: int) -> list[tuple[str, int]]:
        acked = []
        with RawSocket(server.url, who.access_token) as connection:
            for burst in range(EACH // 10):
                sent = []
                for number in range(10):
                    room = rooms[(name + number) % 3]
                    wish = {"stream": room.stream, "type": "test.made", "data": [burst, number]}
                    sent.append((room.stream, connection.send("publish", wish)))
                for stream, ack_id in sent:
                    ack = connection.read_ack(ack_id)
                    assert ack["ok"], ack
                    acked.append((stream, ack["position"]["offset"]))
        return acked

    @staticmethod
    def watch(
        server: Any, who: Any, room: Room, later: int, there: "queue.SimpleQueue[str]"
    ) -> Reader:
        reader = Reader(room.stream)
        with RawSocket(server.url, who.access_token) as connection:
            for _ in range(later):
                connection.ok("subscribe", {"stream": room.stream})
                connection.read_until(lambda packet: packet[0] == "event")
                connection.ok("unsubscribe", {"stream": room.stream})
            reader.subscribe(connection)
            there.put(room.id)
            while not reader.seen or reader.seen[-1]["type"] != LAST["type"]:
                reader.take_packet(connection.read())
        return reader


LAST = {"type": "test.last", "data": None}
