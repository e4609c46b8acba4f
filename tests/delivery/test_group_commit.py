"""Publishes that are committed together: each is answered as if it had come alone.

One transaction for all that wait, and still: an answer after one's own commit, offsets without a
hole, a key that takes effect once, rights judged under the lock, and nobody spoiled by another.
"""

import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.callers import Caller
from core.errors import (
    NotFoundError,
    UnavailableError,
)
from core.events import Event
from core.services import accounts, intents, members, messages, publish
from core.services.intents import Content, Intent
from core.store import accounts as store_accounts
from core.store import models
from tests.delivery.raw import RawSocket
from tests.delivery.test_parallel_writers import make_commit_fail
from tests.delivery.world import MAX_BYTES, Core, Room
from tests.support.client import unique
from tests.support.wait import wait_until

DEADLINE_S = 60
MANY = 40


class Transactions:
    """What the database was asked to do, while somebody listened."""

    def __init__(self, core: Core) -> None:
        self._engine = core.db.engine
        self.commits = 0
        self.statements = 0

    def __enter__(self) -> "Transactions":
        event.listen(self._engine, "commit", self._note_commit)
        event.listen(self._engine, "before_cursor_execute", self._note_statement)
        return self

    def __exit__(self, *_error: object) -> None:
        event.remove(self._engine, "commit", self._note_commit)
        event.remove(self._engine, "before_cursor_execute", self._note_statement)

    def _note_commit(self, _conn: Any) -> None:
        self.commits += 1

    def _note_statement(self, _conn: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        self.statements += not statement.startswith("BEGIN")


class Gathering:
    """Holds a round up after its commit, so that whoever publishes meanwhile waits in line."""

    def __init__(self, core: Core, pool: ThreadPoolExecutor) -> None:
        self._core = core
        self._pool = pool
        self._began, self._may_go = threading.Event(), threading.Event()
        self.announced: list[list[Event]] = []
        core.db.announce_to(self._announce)
        self._first = pool.submit(core.publish, core.make_stream(), "first")
        self._began.wait(DEADLINE_S)
        self.announced.clear()

    def _announce(self, events: list[Event], _controls: Any) -> None:
        self.announced.append(events)
        if events[-1].type == "test.made" and not self._began.is_set():
            self._began.set()
            assert self._may_go.wait(DEADLINE_S)

    def join(self, call: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Publish from another thread; come back when it waits in line."""
        line = self._core.db._rounds._line
        before = len(line)
        future = self._pool.submit(call, *arguments)
        wait_until(lambda: len(line) == before + 1, deadline_s=DEADLINE_S)
        return future

    def go(self) -> None:
        """Let the rounds go on."""
        self._may_go.set()
        self._first.result(DEADLINE_S)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(MANY + 2) as threads:
        yield threads


def draft(stream: str, data: Any = 1, key: str | None = None) -> publish.Draft:
    return publish.Draft(stream, "test.made", data, key)


def intend(caller: Caller, stream: str, data: Any = 1, key: str | None = None) -> Intent:
    return publish.intend(caller, draft(stream, data, key), max_bytes=MAX_BYTES)


def broken(caller: Caller, stream: str) -> Intent:
    """What no database takes: found out by the statement, not before."""
    no_text: Any = object()
    return Intent(caller, stream, "test.made", lambda _spot: Content(no_text), size=1)


class TestTogether:
    def test_all_who_wait_are_committed_in_one_transaction_and_few_statements(self, core, pool):
        streams = [core.make_stream() for _ in range(4)]
        gathering = Gathering(core, pool)
        calls = [
            gathering.join(core.publish, streams[number % 4], number, f"key {number}")
            for number in range(MANY)
        ]
        with Transactions(core) as seen:
            gathering.go()
            offsets = [call.result(DEADLINE_S).event.offset for call in calls]

        assert seen.commits == 1
        assert seen.statements <= 6
        assert [len(events) for events in gathering.announced] == [MANY]
        assert offsets == [3 + number // 4 for number in range(MANY)]
        assert [core.offsets(stream) for stream in streams] == [list(range(1, 13))] * 4

    def test_messages_and_events_go_together(self, core, pool):
        stream = core.make_stream()
        gathering = Gathering(core, pool)
        posted = gathering.join(core.post, stream, "hello")
        made = gathering.join(core.publish, stream, 1)
        again = gathering.join(core.post, stream, "world")
        gathering.go()
        found = [posted.result().event, made.result().event, again.result().event]

        assert [one.offset for one in found] == [3, 4, 5]
        with core.db.read() as conn:
            bodies = conn.execute(select(models.messages.c.offset, models.messages.c.body)).all()
        assert sorted(map(tuple, bodies)) == [(3, "hello"), (5, "world")]

    def test_an_answer_comes_after_the_commit(self, core, database_url, pool):
        """Whoever has the answer and looks at once, from another node, finds the event."""
        stream = core.make_stream()
        with Core(database_url, core.caller) as other:

            def publish_and_look(number: int) -> bool:
                offset = core.publish(stream, number).event.offset
                return offset in other.offsets(stream)

            calls = [pool.submit(publish_and_look, number) for number in range(MANY)]

            assert all(call.result(DEADLINE_S) for call in calls)

    def test_a_big_crowd_is_parted(self, core, pool):
        """A round is bounded in bytes: nobody waits for megabytes of others."""
        stream, size = core.make_stream(), 60_000
        gathering = Gathering(core, pool)
        calls = [gathering.join(core.publish, stream, "x" * size) for _ in range(20)]
        gathering.go()
        for call in calls:
            call.result(DEADLINE_S)

        assert [len(events) for events in gathering.announced] == [8, 8, 4]


class TestOneBadOne:
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_a_statement_that_fails_fails_for_who_caused_it_alone(self, core, pool, place):
        stream = core.make_stream()
        gathering = Gathering(core, pool)
        wanted = [intend(core.caller, stream, number) for number in range(2)]
        wanted.insert(place, broken(core.caller, stream))
        calls = [gathering.join(intents.log_all, core.db, [intent]) for intent in wanted]
        gathering.go()
        for call in calls:
            call.result(DEADLINE_S)

        assert [intent.event is None for intent in wanted] == [n == place for n in range(3)]
        assert isinstance(wanted[place].error, (DBAPIError, TypeError))
        assert core.offsets(stream) == [1, 2, 3, 4]

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_it_fails_alone_of_its_callers_own_list(self, core, place):
        stream = core.make_stream()
        wanted = [intend(core.caller, stream, number) for number in range(2)]
        wanted.insert(place, broken(core.caller, stream))
        intents.log_all(core.db, wanted)

        assert [intent.event is None for intent in wanted] == [n == place for n in range(3)]
        made = [intent.get_event().offset for intent in wanted if intent.event is not None]
        assert made == [3, 4]
        assert core.offsets(stream) == [1, 2, 3, 4]

    def test_what_cannot_be_made_takes_no_offset(self, core):
        stream = core.make_stream()

        def fail(_spot: Any) -> Content:
            raise LookupError

        bad = Intent(core.caller, stream, "test.made", fail, size=1)
        good = [intend(core.caller, stream, number) for number in range(2)]
        intents.log_all(core.db, [good[0], bad, good[1]])

        assert isinstance(bad.error, LookupError)
        assert [one.get_event().offset for one in good] == [3, 4]
        assert core.offsets(stream) == [1, 2, 3, 4]

    def test_a_commit_that_fails_fails_for_all_and_is_not_tried_again(self, core, pool):
        """It may have happened: who is told so tries again with the key."""
        stream = core.make_stream()
        gathering = Gathering(core, pool)
        calls = [gathering.join(core.publish, stream, number) for number in range(3)]
        commits = 0

        def fail(conn: Any) -> None:
            nonlocal commits
            commits += 1
            make_commit_fail(core, conn)

        event.listen(core.db.engine, "commit", fail)
        gathering.go()
        errors = [call.exception(DEADLINE_S) for call in calls]
        event.remove(core.db.engine, "commit", fail)

        assert commits == 1
        assert all(isinstance(error, (UnavailableError, IntegrityError)) for error in errors)
        assert gathering.announced == []
        assert core.offsets(stream) == [1, 2]

    def test_while_the_database_is_away_all_are_told_so(self, core):
        stream = core.make_stream()
        wanted = [intend(core.caller, stream, number) for number in range(3)]

        def fail(*_arguments: Any) -> None:
            raise UnavailableError("away")

        event.listen(core.db.engine, "before_cursor_execute", fail)
        intents.log_all(core.db, wanted)
        event.remove(core.db.engine, "before_cursor_execute", fail)

        assert [str(intent.error) for intent in wanted] == ["away"] * 3
        assert core.publish(stream, "after").event.offset == 3

    def test_nobody_waits_twice_for_a_database_that_goes_away_between(self, core, pool):
        """One by one they are tried, until one hears that it is away: then all are told so."""
        stream = core.make_stream()
        wanted = [intend(core.caller, stream, number) for number in range(9)]
        wanted[1:1] = [broken(core.caller, stream)]
        gathering = Gathering(core, pool)
        calls = [
            gathering.join(intents.log_all, core.db, part) for part in (wanted[:4], wanted[4:])
        ]
        commits = 0

        def fail(_conn: Any) -> None:
            nonlocal commits
            commits += 1
            if commits > 1:
                raise UnavailableError("away")

        event.listen(core.db.engine, "commit", fail)
        gathering.go()
        for call in calls:
            call.result(DEADLINE_S)
        event.remove(core.db.engine, "commit", fail)

        assert commits == 2
        assert wanted[0].get_event().offset == 3
        assert not isinstance(wanted[1].error, UnavailableError)
        assert [str(intent.error) for intent in wanted[2:]] == ["away"] * 8

    def test_an_error_that_many_share_does_not_grow(self, core):
        """It is told to each of a list, and each says where it was raised, not by whom."""
        wanted = [intend(core.caller, core.make_stream(), number) for number in range(3)]

        def fail(*_arguments: Any) -> None:
            raise UnavailableError("away")

        event.listen(core.db.engine, "before_cursor_execute", fail)
        intents.log_all(core.db, wanted)
        event.remove(core.db.engine, "before_cursor_execute", fail)
        lengths = []
        for intent in wanted:
            with pytest.raises(UnavailableError) as caught:
                intent.get_event()
            lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))

        assert lengths == [lengths[0]] * 3


class TestBusyStreams:
    """PostgreSQL only: on SQLite a writer holds everything."""

    @pytest.fixture(autouse=True)
    def _on_postgres(self, core):
        if core.db.is_sqlite:
            pytest.skip("SQLite has one writer at a time")

    @staticmethod
    @contextmanager
    def held(core: Core, stream: str) -> Iterator[None]:
        """Hold a stream as another node's transaction does."""
        with core.db.engine.connect() as conn, conn.begin():
            conn.execute(
                text("SELECT 1 FROM streams WHERE name = :name FOR UPDATE"), {"name": stream}
            )
            yield

    def test_one_that_is_held_holds_up_no_other(self, core, pool):
        busy, free = core.make_stream(), core.make_stream()
        with self.held(core, busy):
            gathering = Gathering(core, pool)
            held_up = [gathering.join(core.publish, busy, number) for number in range(3)]
            others = [gathering.join(core.publish, free, number) for number in range(3)]
            gathering.go()
            done = [call.result(DEADLINE_S).event.offset for call in others]
            after = core.publish(free, "later").event.offset
            waiting = [call.done() for call in held_up]

        assert done == [3, 4, 5]
        assert after == 6
        assert waiting == [False] * 3
        assert sorted(call.result(DEADLINE_S).event.offset for call in held_up) == [3, 4, 5]

    def test_a_callers_list_keeps_its_order(self, core, pool):
        busy, free = core.make_stream(), core.make_stream()
        wanted = [intend(core.caller, (busy, free)[n % 2], n) for n in range(10)]
        with self.held(core, busy):
            call = pool.submit(intents.log_all, core.db, wanted)
            wait_until(lambda: core.offsets(free) == list(range(1, 8)), deadline_s=DEADLINE_S)
        call.result(DEADLINE_S)

        assert [one.get_event().offset for one in wanted] == [3 + n // 2 for n in range(10)]

    def test_what_is_tried_one_by_one_keeps_its_order(self, core, pool):
        """Whoever holds the stream lets it go when the first has had its turn."""
        busy, free = core.make_stream(), core.make_stream()
        wanted = [intend(core.caller, busy, number) for number in range(3)]
        wanted.insert(1, broken(core.caller, free))
        had_a_turn, is_let_go = threading.Event(), threading.Event()

        def wait(_conn: Any) -> None:
            had_a_turn.set()
            assert is_let_go.wait(DEADLINE_S)

        with Core(core.url, core.caller) as other:
            event.listen(core.db.engine, "commit", wait)
            with self.held(other, busy):
                call = pool.submit(intents.log_all, core.db, wanted)
                wait_until(lambda: had_a_turn.is_set() or has_waiting(other))
            is_let_go.set()
            call.result(DEADLINE_S)
            event.remove(core.db.engine, "commit", wait)

        assert [one.event and one.event.offset for one in wanted] == [3, None, 4, 5]

    def test_a_message_does_not_wait_for_a_change_of_its_author(self, core, pool):
        """Whoever changes users goes on to their streams, which a round may hold: a deadlock."""
        stream = core.make_stream()
        wanted = [
            intend(core.caller, "user:me"),
            messages.intend(
                core.caller,
                stream.removeprefix("channel:"),
                messages.MessageDraft("hello"),
                max_bytes=MAX_BYTES,
            ),
        ]
        with core.db.write() as write:
            store_accounts.lock_user(write, core.caller.user_id)
            pool.submit(intents.log_all, core.db, wanted).result(DEADLINE_S)

        assert [intent.error for intent in wanted] == [None, None]

    def test_rights_are_judged_when_the_lock_is_had(self, core, pool):
        """Who waited behind their own removal does not get through."""
        bob = person(core)
        stream = core.make_stream()
        channel = stream.removeprefix("channel:")
        members.put(core.db, core.caller, channel, bob.user_id, "member")
        with core.db.write() as write:
            write.conn.execute(
                text("SELECT 1 FROM streams WHERE name = :name FOR UPDATE"), {"name": stream}
            )
            wanted = intend(bob, stream)
            call = pool.submit(intents.log_all, core.db, [wanted])
            wait_until(lambda: has_waiting(core), deadline_s=DEADLINE_S)
            write.conn.execute(
                text("DELETE FROM members WHERE user_id = :bob"), {"bob": bob.user_id}
            )
        call.result(DEADLINE_S)

        assert isinstance(wanted.error, NotFoundError)


def has_waiting(core: Core) -> bool:
    with core.db.read() as conn:
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return bool(conn.execute(text(query)).scalar())


def person(core: Core, *, is_admin: bool = False) -> Caller:
    name = unique()
    with core.db.write() as write:
        user_id = accounts.add_user(write, username=name, password_hash="none", is_admin=is_admin)
    return Caller(user_id, name, "no session", is_admin, 2**53)


class TestThroughAServer:
    """Greenlets in place of threads, and SQLite, which lets none of them run while it works."""

    def test_those_who_publish_at_once_share_transactions(self, busy_server, ada):
        rooms = [Room(ada) for _ in range(3)]
        before = counted(busy_server, "fanfare_rounds_total")
        with ThreadPoolExecutor(WRITERS) as pool:
            calls = [pool.submit(self.write, busy_server, ada, rooms) for _ in range(WRITERS)]
            offsets = [offset for call in calls for offset in call.result(DEADLINE_S)]
        rounds = counted(busy_server, "fanfare_rounds_total") - before

        assert len(offsets) == len(set(offsets)) == WRITERS * EACH
        assert 0 < rounds < WRITERS * EACH
        for room in rooms:
            top = 2 + WRITERS * EACH // 3
            assert [one["offset"] for one in room.log()] == list(range(1, top + 1))

    @pytest.mark.usefixtures("refusing_database")
    def test_what_the_database_refuses_takes_nothing_else_with_it(self, busy_server, ada):
        """Neither in one socket's list, sent without waiting, nor in that of one request."""
        room, kinds = Room(ada), ["test.made", REFUSED, "test.made"]
        events = [{"stream": room.stream, "type": kind, "data": 1} for kind in kinds]
        with RawSocket(busy_server.url, ada.access_token) as connection:
            sent = [connection.send("publish", event) for event in events]
            acks = [connection.read_ack(ack_id) for ack_id in sent]
        outcomes = ada.post("/publish", {"events": events}).json()["outcomes"]

        for answers in (acks, outcomes):
            assert [answer["ok"] for answer in answers] == [True, False, True]
            assert answers[1]["error"]["code"] == "internal"
        assert [one["type"] for one in room.log()[2:]] == ["test.made"] * 4

    @pytest.fixture
    def refusing_database(self, busy_core: Core) -> Iterator[None]:
        """A database that does not take what the program lets through."""
        refuse, allow = REFUSE[busy_core.db.engine.dialect.name]
        with busy_core.db.engine.begin() as conn:
            conn.execute(text(refuse))
        yield
        with busy_core.db.engine.begin() as conn:
            conn.execute(text(allow))

    @staticmethod
    def write(server: Any, who: Any, rooms: list[Room]) -> list[tuple[str, int]]:
        with RawSocket(server.url, who.access_token) as connection:
            sent = []
            for number in range(EACH):
                wish = {"stream": rooms[number % 3].stream, "type": "test.made", "data": number}
                sent.append((wish["stream"], connection.send("publish", wish)))
            return [
                (str(stream), connection.read_ack(ack_id)["position"]["offset"])
                for stream, ack_id in sent
            ]


WRITERS = 12
EACH = 30
REFUSED = "test.refused"
REFUSE_ON_SQLITE = (
    f"CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.type = '{REFUSED}'"
    " BEGIN SELECT RAISE(ABORT, 'refused'); END"
)
REFUSE_ON_POSTGRESQL = (
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    f" IF NEW.type = '{REFUSED}' THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$;"
    " CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()"
)
# By dialect: what makes a database refuse events of that type, and what ends that.
REFUSE = {
    "sqlite": (REFUSE_ON_SQLITE, "DROP TRIGGER refuse"),
    "postgresql": (REFUSE_ON_POSTGRESQL, "DROP FUNCTION refuse() CASCADE"),
}


def counted(server: Any, name: str) -> float:
    lines = requests.get(f"{server.url}/metrics", timeout=DEADLINE_S).text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name))
