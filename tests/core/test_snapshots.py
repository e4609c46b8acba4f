"""Snapshots from what is kept: what the database says at that moment, and nobody else's."""

from contextlib import suppress
from dataclasses import replace

from sqlalchemy import event, insert

from api.cache import PageCache
from core import json
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from core.services import channels, members, messages, publish, reads, snapshots
from core.services.messages import MessageDraft
from core.store import log
from core.store import models as m
from tests.support.plainly import snapshot

STEPS = 250
KEPT_BYTES = 1 << 20
COUNT = 5


def ask(db, kept, caller, ref, count=COUNT):
    """Take a snapshot as the door does; None where there is no such channel."""
    try:
        found = snapshots.sync(db, kept, caller, ref, count)
    except NotFoundError:
        return None
    return json.loads(found.whole(found.own_json(None)))


class Life:
    """Two channels and everything that may change in them, by anybody, at random."""

    def __init__(self, core, rng):
        self.db, self.rng = core.db, rng
        self.people = [core.person(name) for name in ("ada", "ben", "cem")]
        self.admin = core.person("root", is_admin=True)
        self.ids = [self.make(kind) for kind in ("public", "private")]
        self.said = [(self.ids[0], "none")]

    def make(self, kind):
        draft = channels.ChannelDraft("x", kind, slug=f"slug-{kind}", members=["ben"])
        return channels.create(self.db, self.people[0], draft).channel["id"]

    def step(self):
        """Somebody does something, or is refused."""
        deeds = [self.post, self.post, self.edit, self.delete, self.put, self.remove]
        deeds += [self.rename, self.read, self.publish, self.renumber]
        who, where = self.rng.choice([*self.people, self.admin]), self.rng.choice(self.ids)
        with suppress(NotFoundError, ForbiddenError, ConflictError, InvalidError):
            self.rng.choice(deeds)(who, where)

    def post(self, who, where):
        data = self.rng.choice([None, {"a": 1}])
        draft = MessageDraft(f"said {self.rng.random()}", data)
        posted = messages.create(self.db, who, where, draft, max_bytes=999)
        self.said.append((where, posted.message["id"]))

    def edit(self, who, _where):
        where, message = self.rng.choice(self.said)
        body = {"body": f"other {self.rng.random()}"}
        messages.edit(self.db, who, where, message, body, lambda _v: None, max_bytes=999)

    def delete(self, who, _where):
        where, message = self.rng.choice(self.said)
        messages.delete(self.db, who, where, message, lambda _v: None)

    def put(self, who, where):
        whom = self.rng.choice([who, *self.people]).user_id
        role = self.rng.choice([None, "guest", "member", "moderator", "owner"])
        members.put(self.db, who, where, whom, role)

    def remove(self, who, where):
        members.remove(self.db, who, where, self.rng.choice([who, *self.people]).user_id)

    def rename(self, who, where):
        change = {"name": f"name {self.rng.random()}"}
        channels.change(self.db, who, where, change, lambda _v: None)

    def read(self, who, where):
        reads.mark(self.db, who, where, self.rng.randrange(40))

    def publish(self, who, where):
        draft = publish.Draft(f"channel:{where}", "order.paid", 1)
        publish.publish(self.db, who, draft, max_bytes=999)

    def renumber(self, _who, _where):
        if self.rng.random() < 0.2:
            with self.db.write() as write:
                log.begin_new_epochs(write)


class TestWhatIsKept:
    def test_is_what_the_database_says_after_any_change(self, core, rng):
        """Whoever asks, by id or slug, after whatever happened."""
        life, kept = Life(core, rng), PageCache(KEPT_BYTES)
        for _ in range(STEPS):
            life.step()
            caller, where = rng.choice([*life.people, life.admin]), rng.randrange(2)
            ref = rng.choice([life.ids[where], ["slug-public", "slug-private"][where]])
            told = ask(core.db, kept, caller, ref)

            assert told == snapshot(core.db, caller, life.ids[where], COUNT)

    def test_is_read_once_for_everybody(self, core):
        """One statement for each who asks; what they share was read by the first."""
        life, kept = Life(core, None), PageCache(KEPT_BYTES)
        ask(core.db, kept, life.people[0], life.ids[0])
        with Counted(core.db) as count:
            told = [ask(core.db, kept, who, life.ids[0]) for who in life.people]

        assert count.statements == 3
        assert [it["membership"] and it["membership"]["role"] for it in told] == [
            *("owner", "member", None)
        ]

    def test_costs_few_statements_when_it_is_new(self, core):
        life = Life(core, None)
        with Counted(core.db) as count:
            ask(core.db, PageCache(KEPT_BYTES), life.people[0], life.ids[0])

        assert count.statements <= 5

    def test_is_not_for_who_may_no_longer_see_it(self, core):
        """Though it is kept, and did not even change for those who ask by another right."""
        life, kept = Life(core, None), PageCache(KEPT_BYTES)
        ada, ben, cem = life.people
        hidden = life.ids[1]
        before = ask(core.db, kept, ben, hidden)
        members.remove(core.db, ada, hidden, ben.user_id)
        ask(core.db, kept, ada, hidden)

        assert before is not None
        assert [ask(core.db, kept, who, hidden) for who in (ben, cem)] == [None, None]
        assert ask(core.db, kept, replace(cem, is_admin=True), hidden) is not None

    def test_of_another_length_is_another(self, core):
        life, kept = Life(core, None), PageCache(KEPT_BYTES)
        for number in range(3):
            draft = MessageDraft(f"m {number}")
            messages.create(core.db, life.people[0], life.ids[0], draft, max_bytes=99)
        lengths = [
            len(ask(core.db, kept, life.people[0], life.ids[0], n)["messages"]) for n in (1, 3, 2)
        ]

        assert lengths == [1, 3, 2]


class TestMeanwhile:
    def test_a_change_between_two_looks_is_in_all_of_it(self, core):
        """Whose snapshot has to be read anew gets all of it from one moment."""
        life = Life(core, None)
        ada, where = life.people[0], life.ids[0]

        class Late(PageCache):
            def find(self, name, version):
                messages.create(core.db, ada, where, MessageDraft("late"), max_bytes=99)
                return super().find(name, version)

        told = ask(core.db, Late(KEPT_BYTES), ada, where)

        assert told == snapshot(core.db, ada, where, COUNT)
        assert told["messages"][-1]["body"] == "late"

    def test_what_was_read_late_is_not_given_for_newer(self, core):
        """Somebody slow keeps an old snapshot after a newer one: it is not taken for new."""
        life, kept = Life(core, None), PageCache(KEPT_BYTES)
        ada, where = life.people[0], life.ids[0]
        old = snapshots.sync(core.db, kept, ada, where, COUNT)
        messages.create(core.db, ada, where, MessageDraft("new"), max_bytes=99)
        ask(core.db, kept, ada, where)
        kept.keep(old.name, old.version, old.shared)

        assert ask(core.db, kept, ada, where) == snapshot(core.db, ada, where, COUNT)


class TestMembers:
    def test_are_counted_beyond_those_listed(self, core):
        life = Life(core, None)
        ada, where = life.people[0], life.ids[0]
        add_members(core.db, where, snapshots.SYNC_MEMBERS)
        told = ask(core.db, PageCache(KEPT_BYTES), ada, where)

        assert len(told["members"]) == snapshots.SYNC_MEMBERS
        assert told["member_count"] == snapshots.SYNC_MEMBERS + 2


def add_members(db, channel_id, count):
    """Make so many users members, beside the program."""
    blank = {"display_name": "", "password_hash": "", "is_admin": False, "disabled": False}
    times = {"created_ms": 0, "updated_ms": 0, "version": 1}
    ids = [f"{number:036}" for number in range(count)]
    with db.write() as write:
        people = [{"id": it, "username": it[-8:], **blank, **times} for it in ids]
        write.conn.execute(insert(m.users), people)
        joined = {"channel_id": channel_id, "role": "member", "joined_ms": 0, "updated_ms": 0}
        write.conn.execute(insert(m.members), [{"user_id": it, **joined} for it in ids])


class Counted:
    """How many statements a database is sent within a block."""

    def __init__(self, db):
        self._engine, self.statements = db.engine, 0

    def __enter__(self):
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_error):
        event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _conn, _cursor, statement, *_more):
        self.statements += not statement.startswith(("BEGIN", "PRAGMA"))
