"""Trimming: by count, by age, never what is too young, and never a resume's events in silence."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

import logs
from core.callers import Caller
from core.positions import Position
from core.services import channels, history, publish, retention
from core.services.history import Wish
from core.services.retention import Retention
from core.store.models import events, sessions, streams
from core.times import now_ms
from jobs import retention as job

KEEP_ALL = Retention(max_events=10_000, max_age_s=10**9, min_age_s=0)
HOUR_MS = 3_600_000


@pytest.fixture
def ada(core) -> Caller:
    return core.person("ada")


@pytest.fixture
def stream(db, ada):
    """A stream of twelve events; the first two are of its making."""
    made = channels.create(db, ada, channels.ChannelDraft("x", "public")).channel
    name = f"channel:{made['id']}"
    for number in range(10):
        publish.publish(db, ada, publish.Draft(name, "a.b", number, f"key {number}"), max_bytes=99)
    return name


def grow_old(db, upto: int, by_ms: int = HOUR_MS) -> None:
    """Make the events up to an offset older."""
    with db.write() as write:
        write.conn.execute(
            update(events).where(events.c.offset <= upto).values(at_ms=events.c.at_ms - by_ms)
        )


def left(db, stream: str) -> list[int]:
    with db.read() as conn:
        rows = conn.execute(
            select(events.c.offset)
            .join(streams)
            .where(streams.c.name == stream)
            .order_by(events.c.offset)
        )
        return list(rows.scalars())


def read(db, stream: str, offset: int):
    """Resume after an offset, in the stream's own epoch."""
    reader = history.LogReader(db)
    epoch = reader.tops([stream])[stream].epoch
    return reader.read({stream: Wish(Position(offset, epoch))}, 500, 10**6)[stream]


class TestByCount:
    def test_the_newest_stay(self, db, stream):
        gone = retention.trim_all(db, Retention(5, 10**9, 0))

        assert left(db, stream) == [8, 9, 10, 11, 12]
        assert gone == 7

    def test_what_is_too_young_stays_however_many(self, db, stream):
        """Its key still protects against a second effect."""
        grow_old(db, 3)
        retention.trim_all(db, Retention(5, 10**9, min_age_s=1800))

        assert left(db, stream) == list(range(4, 13))

    def test_a_busy_stream_evicts_no_quiet_one(self, db, ada, stream):
        quiet = channels.create(db, ada, channels.ChannelDraft("y", "public")).channel
        retention.trim_all(db, Retention(5, 10**9, 0))

        assert left(db, f"channel:{quiet['id']}") == [1, 2]


class TestByAge:
    def test_the_old_go_and_a_gap_never_comes(self, db, stream):
        grow_old(db, 4)
        retention.trim_all(db, Retention(10_000, 1800, 0))

        assert left(db, stream) == list(range(5, 13))

    def test_all_may_go_and_the_numbering_goes_on(self, db, ada, stream):
        grow_old(db, 12)
        retention.trim_all(db, Retention(10_000, 1800, 0))
        assert left(db, stream) == []
        done = publish.publish(db, ada, publish.Draft(stream, "a.b", "new"), max_bytes=99)

        assert done.event.offset == 13
        assert read(db, stream, 12).events == [done.event]

    def test_nothing_old_is_nothing_done(self, db, stream):
        assert retention.trim_all(db, KEEP_ALL) == 0
        assert len(left(db, stream)) == 12


class TestResume:
    @pytest.mark.parametrize("after", [0, 1, 6])
    def test_from_before_the_mark_is_told(self, db, stream, after):
        """Never a part in silence: what is missing is said, and where to go on."""
        retention.trim_all(db, Retention(5, 10**9, 0))
        page = read(db, stream, after)

        assert page.reset is not None
        assert (page.reset.reason, page.reset.oldest, page.reset.top.offset) == ("trimmed", 8, 12)
        assert page.events == []

    @pytest.mark.parametrize("after", [7, 8, 11, 12])
    def test_from_the_mark_on_nothing_is_missing(self, db, stream, after):
        retention.trim_all(db, Retention(5, 10**9, 0))
        page = read(db, stream, after)

        assert page.reset is None
        assert [event.offset for event in page.events] == list(range(after + 1, 13))

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        keep=st.integers(1, 14),
        old=st.integers(0, 12),
        max_age_s=st.sampled_from([1800, 10**9]),
        min_age_s=st.sampled_from([0, 1800, 7200]),
    )
    def test_always_exactly_what_is_missing_or_a_reset(
        self, db, stream, keep, old, max_age_s, min_age_s
    ):
        """However often it was trimmed by whichever rules, and wherever a client stands."""
        grow_old(db, old)
        retention.trim_all(db, Retention(keep, max_age_s, min_age_s))
        held = left(db, stream)

        assert held == list(range(13 - len(held), 13))
        for after in range(13):
            page = read(db, stream, after)
            whole = list(range(after + 1, 13))
            assert [event.offset for event in page.events] == (whole if not page.reset else [])
            assert (page.reset is None) == (set(whole) <= set(held))

    def test_after_a_new_epoch(self, db, stream):
        """A restored backup: no old position fits, at any offset."""
        old = history.LogReader(db).tops([stream])[stream].position
        assert retention.begin_new_epochs(db) == 2
        page = history.LogReader(db).read({stream: Wish(old)}, 500, 10**6)[stream]

        assert page.reset is not None
        assert page.reset.reason == "epoch"
        assert page.reset.top.epoch != old.epoch


class TestInBatches:
    def test_a_long_stream_goes_in_short_transactions(self, db, ada, stream):
        """No writer waits for thousands of deletions."""
        with db.write() as write:
            (stream_id,) = write.conn.execute(
                select(streams.c.id).where(streams.c.name == stream)
            ).scalars()
            rows = [
                {
                    "stream_id": stream_id,
                    "offset": offset,
                    "type": "a.b",
                    "data": "1",
                    "actor": "",
                    "at_ms": now_ms(),
                }
                for offset in range(13, 2_513)
            ]
            write.conn.execute(insert(events), rows)
            write.conn.execute(update(streams).where(streams.c.id == stream_id).values(top=2_512))
        assert retention.trim_all(db, Retention(10, 10**9, 0)) == 2_502

        assert left(db, stream) == list(range(2_503, 2_513))

    def test_more_streams_than_are_looked_at_at_once(self, db, ada):
        for number in range(103):
            channels.create(db, ada, channels.ChannelDraft(str(number), "public"))

        assert retention.trim_all(db, Retention(1, 10**9, 0)) == 103 + 102


class TestSessions:
    def test_those_long_over_are_forgotten(self, db, core):
        person = core.person("ada")
        now = now_ms()
        ends = {"live": now + 1000, "fresh": now - 1000, "dead": now - 2 * 86_400_000}
        with db.write() as write:
            for name, expires_ms in ends.items():
                write.conn.execute(
                    insert(sessions).values(
                        id=name,
                        user_id=person.user_id,
                        refresh_id="x",
                        user_agent="",
                        created_ms=0,
                        last_used_ms=0,
                        expires_ms=expires_ms,
                    )
                )
        assert retention.forget_dead_sessions(db) == 1
        with db.read() as conn:
            assert set(conn.execute(select(sessions.c.id)).scalars()) == {"live", "fresh"}


class TestTheJob:
    def test_a_round_that_fails_is_not_the_last(self, db, stream):
        """The loop lives on, whatever one round meets."""
        logs.set_up("error")
        rounds = []

        def sleep(seconds):
            rounds.append(seconds)
            with db.write() as write:
                if len(rounds) == 1:
                    write.conn.exec_driver_sql("ALTER TABLE events RENAME TO elsewhere")
                if len(rounds) == 2:
                    write.conn.exec_driver_sql("ALTER TABLE elsewhere RENAME TO events")
            if len(rounds) == 3:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            job.run_for_ever(db, Retention(5, 10**9, 0), 60, sleep)

        assert len(left(db, stream)) == 5
        assert all(30 <= seconds <= 60 for seconds in rounds)


class TestKeys:
    def test_a_key_protects_as_long_as_its_event_is_there(self, db, ada, stream):
        draft = publish.Draft(stream, "a.b", 9, "key 9")
        retention.trim_all(db, Retention(5, 10**9, 0))
        again = publish.publish(db, ada, draft, max_bytes=99)
        with db.write() as write:
            write.conn.execute(delete(events))
            write.conn.execute(update(streams).values(trimmed=streams.c.top))
        anew = publish.publish(db, ada, draft, max_bytes=99)

        assert (again.replayed, anew.replayed) == (True, False)
