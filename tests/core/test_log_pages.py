"""Pages of a channel's log, from a node's memory where it holds them: the same as from the log."""

import pytest
from sqlalchemy import event, update

from core.errors import NotFoundError
from core.services import channels, history, members, publish
from core.store import log
from core.store.models import streams
from realtime.track import TailBudget, Track

KEPT = 6
STEPS = 200


class Followed:
    """A channel that a node follows from some time on, and everything that happens in it."""

    def __init__(self, core):
        self.db = core.db
        self.ada, self.ben = core.person("ada"), core.person("ben")
        draft = channels.ChannelDraft("x", "private", members=["ben"])
        self.id = channels.create(self.db, self.ada, draft).channel["id"]
        self.stream = f"channel:{self.id}"
        self.track = Track(self.stream, lambda *_: None, TailBudget(10**6), KEPT)
        with self.db.read() as conn:
            self.track.start(log.get_state(conn, self.stream).position)
        self.is_deaf = False
        self.db.announce_to(self._hear)

    def _hear(self, events, _controls):
        for one in events:
            if one.stream == self.stream and not self.is_deaf:
                self.track.offer(one.epoch, one.offset, one.json)

    def publish(self, count=1):
        for _ in range(count):
            draft = publish.Draft(self.stream, "order.paid", {"n": 1})
            publish.publish(self.db, self.ada, draft, max_bytes=999)

    def tail(self, stream, after, upto, limit):
        assert stream == self.stream
        return self.track.tail_after(after, limit, history.MAX_PAGE_BYTES, upto)

    def read(self, after, *, tail=None, epoch=None, limit=100, caller=None):
        """Read a page as the door does, by default from memory where that is possible."""
        return history.read_channel(
            *(self.db, tail or self.tail, caller or self.ada, self.id),
            after=after,
            epoch=epoch,
            limit=limit,
        )

    def trim(self, upto):
        with self.db.write() as write:
            write.conn.execute(
                update(streams).where(streams.c.name == self.stream).values(trimmed=upto)
            )

    def statements(self, act):
        """Count what the database is asked for an act."""
        seen = []

        def note(_conn, _cursor, statement, *_more):
            if not statement.startswith(("BEGIN", "PRAGMA")):
                seen.append(statement)

        event.listen(self.db.engine, "before_cursor_execute", note)
        act()
        event.remove(self.db.engine, "before_cursor_execute", note)
        return len(seen)


def no_tail(*_asked):
    """A node that follows nothing remembers nothing."""


@pytest.fixture
def followed(core):
    return Followed(core)


class TestAPage:
    def test_is_the_same_from_memory_as_from_the_log(self, followed, rng):
        """From wherever one asks, however much, trimmed and renumbered too."""
        epochs = [None, "other", followed.track.epoch]
        for _ in range(STEPS):
            if rng.random() < 0.3:
                followed.publish(rng.randrange(4))
            if rng.random() < 0.1:
                followed.trim(max(0, followed.track.top - rng.randrange(KEPT)))
            after = max(0, followed.track.top - rng.randrange(-2, KEPT + 4))
            wish = {"epoch": rng.choice(epochs), "limit": rng.choice([1, 3, 100])}

            assert followed.read(after, **wish) == followed.read(after, tail=no_tail, **wish)

    def test_of_what_is_in_memory_is_one_statement(self, followed):
        """The place of the stream and the right; nothing else is read."""
        followed.publish(KEPT)
        top = followed.track.top

        assert followed.statements(lambda: followed.read(top)) == 1
        assert followed.statements(lambda: followed.read(top - KEPT)) == 1
        assert followed.statements(lambda: followed.read(top - KEPT - 1)) > 1
        assert len(followed.read(top - KEPT).events) == KEPT

    def test_ends_where_the_right_was_judged(self, followed):
        """What is remembered may be newer: from after somebody lost the right to read it."""
        followed.publish(2)
        top = followed.track.top

        def late(*asked):
            members.remove(followed.db, followed.ada, followed.id, followed.ben.user_id)
            followed.publish()
            return followed.tail(*asked)

        found = followed.read(top - 2, tail=late, caller=followed.ben)

        assert followed.track.top == top + 2
        assert (len(found.events), found.position.offset, found.more) == (2, top, False)
        with pytest.raises(NotFoundError):
            followed.read(top, caller=followed.ben)

    def test_of_what_memory_has_not_heard_of_is_read_from_the_log(self, followed):
        """A node is behind for a moment: nobody gets less than was committed before they asked."""
        followed.publish(2)
        followed.is_deaf = True
        followed.publish()
        found = followed.read(followed.track.top - 2)

        assert len(found.events) == 3
        assert found.position.offset == followed.track.top + 1
