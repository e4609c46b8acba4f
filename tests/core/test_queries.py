"""No list costs more statements for more rows, and no query of a busy path scans a table."""

from typing import Any

import pytest
from sqlalchemy import event, insert, update

from api.cache import PageCache
from core.callers import Claims
from core.errors import TokenRevokedError
from core.pages import PageRequest
from core.services import (
    access,
    accounts,
    channels,
    history,
    members,
    messages,
    notifications,
    publish,
    reads,
    snapshots,
    users,
)
from core.services.history import Wish
from core.services.messages import MessageDraft, MessageFilter
from core.services.notifications import NotificationDraft
from core.store import models
from core.times import now_ms

PAGE = PageRequest(50)


def no_tail(*_asked):
    """A node that follows nothing remembers nothing."""


class Statements:
    """What a database was asked to do, while somebody listened."""

    def __init__(self, db):
        self._engine = db.engine
        self.seen = []

    def __enter__(self):
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_error):
        event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _conn, _cursor, statement, parameters, _context, _many):
        if not statement.startswith(("BEGIN", "PRAGMA")):
            self.seen.append((statement, parameters))


class World:
    """A person, a channel, and as much of everything as is asked for."""

    def __init__(self, core):
        self.core, self.db = core, core.db
        self.ada = core.person("ada", is_admin=True)
        draft = channels.ChannelDraft("x", "private", slug="the-slug")
        self.id = channels.create(self.db, self.ada, draft).channel["id"]
        self.stream = f"channel:{self.id}"
        self.size = 0

    def grow(self, count):
        """Add so many people, members, channels, messages and notifications."""
        for number in range(self.size, self.size + count):
            person = self.core.person(f"person-{number}")
            members.put(self.db, self.ada, self.id, person.user_id, "member")
            draft = MessageDraft(f"Message {number}", key=f"key {number}")
            self.message = messages.create(self.db, person, self.id, draft, max_bytes=99).message
            mine = channels.ChannelDraft(f"Channel {number}", "public", members=["ada"])
            channels.create(self.db, person, mine)
            self.note = notifications.create(
                self.db,
                self.ada,
                NotificationDraft("a", "t"),
                user_ids=[self.ada.user_id],
                usernames=[],
                max_bytes=999,
                let_others_run=lambda: None,
            )[0]
            self.last = person
        self.size += count

    def reads(self):
        """Each reading that gives a list, or is done for every request."""
        db, ada = self.db, self.ada
        everything = MessageFilter()
        mine: dict[str, Any] = {"kind": None, "mine": True, "search": None, "sort": "name"}
        listed = {**mine, "mine": False}
        inbox: dict[str, Any] = {"only_unread": False, "kind": None}
        by_name: dict[str, Any] = {"search": "person", "ids": None, "sort": "username"}
        claims = Claims(ada.user_id, "no session", now_ms() + 10_000)
        names = [f"channel:{c['id']}" for c in channels.list_channels(db, ada, PAGE, **mine).items]
        return {
            "users": lambda: users.list_users(db, ada, PAGE, **by_name),
            "channels": lambda: channels.list_channels(db, ada, PAGE, **listed),
            "own channels": lambda: channels.list_channels(db, ada, PAGE, **mine),
            "members": lambda: members.list_members(db, ada, self.id, PAGE, role=None),
            "messages": lambda: self._list_messages(everything),
            "a message": lambda: messages.get_message(db, ada, self.id, self.message["id"]),
            "notifications": lambda: notifications.list_notifications(db, ada, PAGE, **inbox),
            "unread": lambda: notifications.count_unread(db, ada),
            "sessions": lambda: accounts.list_sessions(db, ada, PAGE),
            "sync": lambda: snapshots.sync(db, PageCache(0), ada, self.id, 50),
            "events": lambda: history.read_channel(
                *(db, no_tail, ada, self.id), after=0, epoch=None, limit=60
            ),
            "resume": lambda: self._resume(names),
            "tops": lambda: history.LogReader(db).tops(names),
            "moved": lambda: history.LogReader(db).moved(dict.fromkeys(names, (9, "e"))),
            "a caller": lambda: self._authenticate(claims),
            "by slug": lambda: channels.get_channel(db, ada, "the-slug"),
        }

    def _list_messages(self, wanted):
        messages.get_version(self.db, self.ada, self.id)
        messages.list_messages(self.db, self.id, PAGE, wanted)

    def _resume(self, names):
        with self.db.read() as conn:
            access.readable_streams(conn, self.ada, names)

    def _authenticate(self, claims):
        with pytest.raises(TokenRevokedError):
            accounts.authenticate(self.db, claims)

    def writes(self):
        """Each writing of a busy path."""
        db, ada, last = self.db, self.ada, self.last
        draft = publish.Draft(self.stream, "a.b", 1, "a key")
        top = history.LogReader(db).tops([self.stream])[self.stream].top
        return {
            "a message": lambda: messages.create(
                db, last, self.id, MessageDraft("x", key="own"), max_bytes=99
            ),
            "an event": lambda: publish.publish(db, ada, draft, max_bytes=99),
            "the same again": lambda: publish.publish(db, ada, draft, max_bytes=99),
            "a read": lambda: reads.mark(db, ada, self.id, top),
            "a notification": lambda: notifications.set_read(
                db, ada, self.note["id"], read=True, expect=lambda _version: None
            ),
        }


@pytest.fixture
def world(core):
    return World(core)


class TestStatements:
    def test_more_rows_cost_no_more_statements(self, world):
        """No N+1: what is asked once for three rows is asked once for twelve."""
        world.grow(3)
        few = count_all(world)
        world.grow(9)
        many = count_all(world)

        assert many == few
        assert max(many.values()) <= 9, many

    def test_a_write_is_few_statements(self, world):
        world.grow(2)
        counts = {}
        for name, write in world.writes().items():
            with Statements(world.db) as statements:
                write()
            counts[name] = len(statements.seen)

        assert max(counts.values()) <= 8, counts

    def test_many_subscriptions_are_one_look(self, world):
        """A reconnect storm resumes by the hundred."""
        world.grow(5)
        names = [f"channel:{number:036}" for number in range(100)] + [world.stream]
        with Statements(world.db) as statements:
            history.LogReader(world.db).read({name: Wish(None, 0) for name in names}, 500, 10**6)

        assert len(statements.seen) <= 2


def count_all(world):
    counts = {}
    for name, look in world.reads().items():
        with Statements(world.db) as statements:
            look()
        counts[name] = len(statements.seen)
    return counts


class TestIndexes:
    """Asked of the database itself, statement by statement, as the services send them."""

    # Small by nature, or asked for a part of a name, which no index of ours helps with.
    MAY_SCAN = frozenset({"channels"})

    def test_no_read_scans_a_table(self, world):
        scans = self._scans(world, world.reads())

        assert {name: plan for name, plan in scans.items() if name not in self.MAY_SCAN} == {}

    def test_no_write_scans_a_table(self, world):
        world.grow(1)

        assert self._scans(world, world.writes()) == {}

    def _scans(self, world, deeds):
        if not world.size:
            world.grow(1)
            deeds = world.reads()
        found = {}
        for name, deed in deeds.items():
            with Statements(world.db) as statements:
                deed()
            plans = [explain(world.db, *asked) for asked in statements.seen]
            scans = [line for plan in plans for line in plan if is_scan(line)]
            if scans:
                found[name] = scans
        return found


def explain(db, statement, parameters):
    if not statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
        return []
    if db.is_sqlite:
        with db.read() as conn:
            rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return [row[3] for row in rows]
    with db.engine.connect() as conn:
        # The tables are too small here for an index to pay: what is scanned even so, has none.
        conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        rows = conn.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        return [row[0] for row in rows]


def is_scan(line):
    """A walk over a whole table, by whatever name the database has for it."""
    line = line.strip().removeprefix("->").strip()
    if line.startswith("SCAN ") and "USING" not in line:
        return any(line.split()[1] == table.name for table in models.metadata.sorted_tables)
    return line.startswith("Seq Scan on")


class TestPlans:
    def test_a_used_key_is_found_by_its_index_also_while_the_log_is_short(self, world):
        """PostgreSQL keeps a plan that it made then: to read all events, while they become many."""
        if world.db.is_sqlite:
            pytest.skip("SQLite plans by the indexes that there are")
        world.grow(1)
        with Statements(world.db) as statements:
            publish.publish(
                world.db, world.ada, publish.Draft(world.stream, "a.b", 1, "k"), max_bytes=99
            )
        with world.db.engine.connect() as conn:
            plans = [
                row[0]
                for statement, parameters in statements.seen
                for row in conn.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            ]

        assert [line for line in plans if "Index Scan using uq_events_stream_id_actor_key" in line]
        assert [line for line in plans if is_scan(line)] == []


class TestTheTest:
    def test_a_scan_is_seen(self, db):
        """Or the two above would be green whatever happens."""
        asked = "SELECT * FROM users WHERE display_name = 'x'"

        assert [line for line in explain(db, asked, ()) if is_scan(line)]


class TestCounting:
    def test_unread_stops_at_a_thousand(self, world):
        """Nobody reads "48,231 unread", and to count them would cost a scan."""
        world.grow(1)
        rows = [
            {
                "channel_id": world.id,
                "offset": offset,
                "id": f"{offset:036}",
                "author_id": world.last.user_id,
                "body": "x",
                "version": offset,
                "created_ms": 0,
            }
            for offset in range(100, 1_300)
        ]
        with world.db.write() as write:
            write.conn.execute(insert(models.messages), rows)
            write.conn.execute(update(models.streams).values(top=2_000))
        before = snapshots.sync(world.db, PageCache(0), world.ada, world.id, 1).own["unread"]
        after = reads.mark(world.db, world.ada, world.id, 1_000)

        assert before == 1_000
        assert after.unread == 299
