"""Ends of access are acted on once, whatever the database shows when, and nobody is wronged.

`FakeLog` is the table as other nodes write it: a row can be committed later than a higher one.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import UnavailableError
from core.events import Control, ControlKind
from core.metrics import ACCESS_MISSED
from core.services.access_log import AccessLog
from core.store import access_changes
from realtime.access_watch import OVERLAP_S, AccessWatch
from tests.delivery.world import Core


class FakeLog:
    """The rows that are committed, by id."""

    def __init__(self) -> None:
        self.rows: dict[int, Control] = {}
        self.down = False
        self.asked: list[int] = []

    def commit(self, id_: int, kind: ControlKind = "session_revoked", **more: Any) -> Control:
        """Make a row visible."""
        self.rows[id_] = Control(kind, user_id=f"u{id_}", id=id_, **more)
        return self.rows[id_]

    def newest(self) -> int:
        self._answer()
        return max(self.rows, default=0)

    def read_after(self, after: int) -> list[Control]:
        self._answer()
        self.asked.append(after)
        return [self.rows[id_] for id_ in sorted(self.rows) if id_ > after]

    def _answer(self) -> None:
        if self.down:
            raise UnavailableError("The database does not answer.")


class World:
    """A watch, what it acted on, and its clock."""

    def __init__(self) -> None:
        self.log = FakeLog()
        self.acted: list[Control] = []
        self.now_s = time.monotonic()
        self.watch = self.restart()

    def restart(self) -> AccessWatch:
        """Begin anew, as a node does that knows nothing."""
        log: Any = self.log
        self.watch = AccessWatch(log, self.act)
        return self.watch

    def act(self, control: Control) -> None:
        self.acted.append(control)
        self.watch.on_control(control)  # the node tells all who listen

    def look(self, after_s: float = 0.5) -> list[int]:
        """Look once, so much later; give the ids of all that was acted on by now."""
        self.now_s += after_s
        self.watch.look(self.now_s)
        return [control.id for control in self.acted]


@pytest.fixture
def world() -> World:
    made = World()
    made.look()
    return made


class TestWhatWasMissed:
    def test_is_acted_on_once(self, world):
        world.log.commit(1)
        world.log.commit(2)

        looks = [world.look() for _ in range(3)]

        assert looks == [[1, 2]] * 3

    def test_is_counted(self, world):
        before = ACCESS_MISSED._value.get()
        world.log.commit(1)

        world.look()

        assert ACCESS_MISSED._value.get() == before + 1

    def test_what_the_bus_told_is_not_acted_on_again(self, world):
        """Nor counted: the count tells of a bus that loses word."""
        world.watch.on_control(world.log.commit(1))
        world.log.commit(2)

        assert world.look() == [2]

    def test_a_row_that_is_committed_after_a_higher_one_is_acted_on(self, world):
        """Ids are given at the insert, and seen at the commit."""
        world.log.commit(3)
        world.look()
        world.log.commit(2)
        world.look(10)
        world.log.commit(1)

        assert world.look(10) == [3, 2, 1]

    def test_a_long_transaction_may_take_as_long_as_the_overlap(self, world):
        world.log.commit(2)
        world.look()
        world.log.commit(1)

        assert world.look(OVERLAP_S - 1) == [2, 1]

    def test_what_is_long_known_is_not_read_again(self, world):
        """Or each look would read all that ever ended."""
        for id_ in range(1, 11):
            world.log.commit(id_)
        world.look()
        world.look(OVERLAP_S + 1)
        world.log.commit(11)

        ids = world.look()

        assert world.log.asked[-1] == 10
        assert ids == list(range(1, 12))

    def test_what_is_known_is_forgotten_in_the_end(self, world):
        """A node runs for months."""
        for id_ in range(1, 101):
            world.watch.on_control(world.log.commit(id_))
        world.look()

        world.look(OVERLAP_S + 1)

        assert world.watch._known == {}

    def test_a_failure_of_the_database_loses_nothing(self, world):
        world.log.commit(1)
        world.log.down = True
        for _ in range(3):
            with pytest.raises(UnavailableError):
                world.look()
        world.log.commit(2)
        world.log.down = False

        assert world.look() == [1, 2]

    def test_a_control_without_an_id_is_none_of_its_business(self, world):
        """An older node may send one."""
        world.watch.on_control(Control("session_revoked", user_id="u"))
        world.log.commit(1)

        assert world.look() == [1]


class TestWordOfTheBus:
    """Redis was frozen, or the network: word comes when the table has long told of it."""

    def test_what_was_acted_on_is_passed_over(self, world):
        """Who was removed may have been taken back by then."""
        control = world.log.commit(1, "access_lost", stream="channel:a")
        world.look()

        assert world.watch.judge(control) is None

    def test_what_the_table_has_not_told_yet_is_taken_as_it_is(self, world):
        world.log.commit(1)
        world.look()
        control = world.log.commit(2, "access_lost", stream="channel:a")

        assert world.watch.judge(control) == control

    def test_what_is_too_old_to_tell_is_looked_up_anew(self, world):
        """It was acted on, and forgotten since; or committed later than any row may be."""
        control = world.log.commit(1, "access_lost", stream="channel:a")
        world.look()
        world.look(OVERLAP_S + 1)

        assert world.watch.judge(control) == Control("access_lost", user_id="u1", id=1)

    def test_what_has_no_place_in_the_table_is_taken_as_it_is(self, world):
        control = Control("session_revoked", user_id="u")

        assert world.watch.judge(control) == control

    def test_before_the_first_look_everything_is_taken_as_it_is(self):
        control = Control("session_revoked", user_id="u", id=1)

        assert World().watch.judge(control) == control

    def test_garbage_with_a_great_id_does_not_end_the_reading(self, world):
        """Or one message would make a node deaf to every end of access, for ever."""
        world.watch.on_control(Control("session_revoked", user_id="x", id=10**15))
        world.look(OVERLAP_S + 1)
        control = world.log.commit(1)

        assert world.watch.judge(control) == control
        assert world.look() == [1]

    def test_garbage_with_an_id_of_the_table_hides_nothing(self, world):
        world.watch.on_control(Control("session_revoked", user_id="x", id=1))
        control = world.log.commit(1)

        assert world.watch.judge(control) == control
        assert world.look() == [1]
        assert world.look() == [1]

    def test_garbage_is_forgotten(self, world):
        """A node runs for months."""
        world.watch.on_control(Control("session_revoked", user_id="x", id=10**15))

        world.look(OVERLAP_S + 1)

        assert world.watch._known == {}


class TestTheStart:
    @pytest.mark.parametrize("rows", [0, 1, 5, 999, 1000, 1001, 5000])
    def test_what_comes_after_the_first_look_is_acted_on(self, rows):
        """Whatever the table held by then: also on a fresh database."""
        world = World()
        for id_ in range(1, rows + 1):
            world.log.commit(id_)
        world.look()
        world.acted.clear()

        world.log.commit(rows + 1)
        world.look()
        world.log.commit(rows + 2)

        assert world.look(OVERLAP_S + 1) == [rows + 1, rows + 2]

    def test_who_connected_before_the_first_look_is_judged_by_it(self):
        """The node serves a moment earlier than it looks, and perhaps before the bus is up."""
        world = World()
        world.log.commit(1)

        assert world.look() == [1]

    def test_what_was_still_uncommitted_at_the_first_look_is_acted_on(self):
        world = World()
        world.log.commit(2)
        world.look()
        world.log.commit(1)

        assert world.look() == [2, 1]

    def test_old_rows_are_not_counted_as_missed(self):
        """Each restart of a node would look like a bus that fails."""
        world = World()
        world.log.commit(1)
        before = ACCESS_MISSED._value.get()

        world.look()

        assert ACCESS_MISSED._value.get() == before

    def test_a_database_that_is_away_at_the_start_is_asked_again(self):
        world = World()
        world.log.down = True
        with pytest.raises(UnavailableError):
            world.look()
        world.log.down = False
        world.log.commit(1)
        world.look()
        world.log.commit(2)

        assert world.look() == [1, 2]

    def test_a_long_history_is_not_acted_on(self):
        world = World()
        for id_ in range(1, 5001):
            world.log.commit(id_)

        assert world.look() == list(range(4001, 5001))

    def test_a_node_that_starts_again_acts_on_what_it_slept_through(self, world):
        world.log.commit(1)
        world.restart()

        assert world.look() == [1]


class TestWhoCameBack:
    def test_a_lost_membership_is_looked_up_anew(self, world):
        """The person may be a member again: then nothing is taken away."""
        world.log.commit(1, "access_lost", stream="channel:a")

        world.look()

        assert world.acted == [Control("access_lost", user_id="u1", id=1)]

    def test_a_disabled_user_is_looked_up_anew(self, world):
        """An administrator may have enabled the user again."""
        world.log.commit(1, "user_disabled")

        world.look()

        assert world.acted == [Control("access_lost", user_id="u1", id=1)]

    @pytest.mark.parametrize("kind", ["session_revoked", "stream_closed"])
    def test_what_can_never_be_undone_is_acted_on_as_it_is(self, world, kind):
        control = world.log.commit(1, kind, session_id="s", stream="channel:a")

        world.look()

        assert world.acted == [control]


@pytest.fixture
def core(database_url: str) -> Iterator[Core]:
    with Core(database_url) as made:
        yield made


class TestTheTable:
    def test_more_than_a_page_is_read_whole_and_in_order(self, core):
        """A mass removal is one transaction with thousands of rows."""
        first = AccessLog(core.db).newest()
        self.write(core, 2500)

        found = AccessLog(core.db).read_after(first)

        assert [control.user_id for control in found] == [f"u{n}" for n in range(2500)]
        assert [control.id for control in found] == sorted({control.id for control in found})

    def test_it_begins_at_nothing(self, core):
        assert AccessLog(core.db).newest() == 0
        assert AccessLog(core.db).read_after(0) == []

    @staticmethod
    def write(core: Core, count: int) -> None:
        with core.db.write() as write:
            for number in range(count):
                access_changes.append(write, Control("access_lost", user_id=f"u{number}"), 1)
