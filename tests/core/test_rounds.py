"""Rounds: who waits goes together, nobody is forgotten, and nobody waits for nothing."""

import gc
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from core.errors import UnavailableError
from core.store.rounds import Rounds
from tests.support.wait import wait_until

DEADLINE_S = 30
Fail = Callable[[list[Any]], None]


class Works:
    """Work that can be held up, and remembers what it was given."""

    def __init__(self) -> None:
        self.rounds: list[list[Any]] = []
        self.may_go = threading.Event()
        self.began = threading.Event()
        self.fail: Fail = lambda _items: None

    def __call__(self, items: list[Any]) -> None:
        self.rounds.append(items)
        self.began.set()
        assert self.may_go.wait(DEADLINE_S)
        self.fail(items)


class Line:
    """Rounds whose first one is held up, while others get in line, one after the other."""

    def __init__(self, pool: ThreadPoolExecutor, most: int = 100, **terms: Any) -> None:
        self.works = Works()
        self.rounds = Rounds(self.works, most=most, **terms)
        self._pool = pool
        self.first = pool.submit(self.rounds.do, "first")
        assert self.works.began.wait(DEADLINE_S)

    def join(self, item: object, size: int = 1) -> "Future[None]":
        waiting = len(self.rounds._line)
        call = self._pool.submit(self.rounds.do, item, size)
        wait_until(lambda: len(self.rounds._line) == waiting + 1)
        return call


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as threads:
        yield threads


class Item:
    """Something that can be watched going away."""


class TestErrors:
    def test_one_is_the_same_for_all_and_does_not_grow(self, pool):
        """It is raised in the stack of each; what is logged of it shows one of them."""
        line = Line(pool)
        line.works.fail = _fail
        others = [line.join(number) for number in range(10)]
        line.works.may_go.set()
        texts = []
        for one in others:
            error = one.exception(DEADLINE_S)
            assert error is not None
            texts.append(len(traceback.format_exception(error)))

        assert max(texts) < 20


def _fail(_items: list[Any]) -> None:
    raise ZeroDivisionError


class TestARound:
    def test_what_was_done_is_let_go_of_at_once(self):
        """The collector of cycles looks seldom, and an event may be large."""
        rounds: Rounds[Item] = Rounds(lambda _items: None, most=10)
        item = Item()
        gone = weakref.ref(item)
        gc.disable()
        try:
            rounds.do(item)
            del item

            assert gone() is None
        finally:
            gc.enable()

    def test_at_rest_it_begins_at_once(self):
        works = Works()
        works.may_go.set()
        rounds = Rounds(works, most=100)
        for item in range(3):
            rounds.do(item)

        assert works.rounds == [[0], [1], [2]]

    def test_who_comes_while_one_is_worked_on_goes_next_and_together(self, pool):
        line = Line(pool)
        calls = [line.join(item) for item in range(5)]
        line.works.may_go.set()
        for call in [line.first, *calls]:
            call.result(DEADLINE_S)

        assert line.works.rounds == [["first"], [0, 1, 2, 3, 4]]

    def test_nobody_comes_back_before_it_is_done(self, pool):
        line = Line(pool)
        calls = [line.join(item) for item in range(3)]
        before = [call.done() for call in [line.first, *calls]]
        line.works.may_go.set()
        for call in [line.first, *calls]:
            call.result(DEADLINE_S)

        assert before == [False] * 4

    def test_it_holds_so_much_and_the_rest_go_next(self, pool):
        line = Line(pool, most=10)
        sizes = [4, 4, 4, 20, 1]
        calls = [line.join(number, size) for number, size in enumerate(sizes)]
        line.works.may_go.set()
        for call in calls:
            call.result(DEADLINE_S)

        assert line.works.rounds[1:] == [[0, 1], [2], [3], [4]]

    def test_it_is_of_one_kind_and_the_others_keep_their_order(self, pool):
        line = Line(pool, kind=lambda item: item[0])
        calls = [line.join(item) for item in ("a1", "b1", "a2", "b2", "a3")]
        line.works.may_go.set()
        for call in calls:
            call.result(DEADLINE_S)

        assert line.works.rounds[1:] == [["a1", "a2", "a3"], ["b1", "b2"]]

    def test_others_may_come_in_before_it_where_work_lets_nobody_run(self, pool):
        gate, works = threading.Event(), Works()
        works.may_go.set()
        rounds = Rounds(works, most=100, gather=lambda: assert_true(gate.wait(DEADLINE_S)))
        calls = [pool.submit(rounds.do, item) for item in range(3)]
        wait_until(lambda: len(rounds._line) == 3)
        gate.set()
        for call in calls:
            call.result(DEADLINE_S)

        assert [sorted(items) for items in works.rounds] == [[0, 1, 2]]

    def test_it_gathers_on_as_long_as_somebody_comes(self, pool):
        """Before every round; a turn in which nobody came is the last."""
        coming = Coming(pool, [["b"], ["c", "d"], [], ["never"]])
        coming.works.may_go.set()
        coming.rounds.do("a")

        assert coming.works.rounds == [["a", "b", "c", "d"]]
        assert coming.left == [["never"]]

    def test_it_gathers_no_more_than_fit(self, pool):
        coming = Coming(pool, [["b"], ["c"], ["never"]], most=3)
        coming.works.may_go.set()
        coming.rounds.do("a")

        assert coming.works.rounds == [["a", "b", "c"]]
        assert coming.left == [["never"]]

    def test_the_next_one_gathers_as_well(self, pool):
        """Its leader was told to lead by the one before."""
        coming = Coming(pool, [[]])
        first = pool.submit(coming.rounds.do, "a")
        assert coming.works.began.wait(DEADLINE_S)
        second = pool.submit(coming.rounds.do, "b")
        wait_until(lambda: len(coming.rounds._line) == 1)
        coming.left = [["c"], []]
        coming.works.may_go.set()
        for call in (first, second):
            call.result(DEADLINE_S)

        assert coming.works.rounds == [["a"], ["b", "c"]]


class Coming:
    """Rounds that gather; others come in each time, as `left` says."""

    def __init__(self, pool: ThreadPoolExecutor, left: list[list[str]], most: int = 100) -> None:
        self.left = left
        self.works = Works()
        self.rounds = Rounds(self.works, most=most, gather=self._gather, gather_on=True)
        self._pool = pool

    def _gather(self) -> None:
        for item in self.left.pop(0):
            self._come(item, len(self.rounds._line) + 1)

    def _come(self, item: str, waiting: int) -> None:
        self._pool.submit(self.rounds.do, item)
        wait_until(lambda: len(self.rounds._line) == waiting)


def assert_true(value: object) -> None:
    assert value


class TestFailure:
    def test_an_error_is_told_to_all_of_its_round_and_to_no_other(self, pool):
        def fail(items: list[Any]) -> None:
            if 1 in items:
                raise LookupError(len(items))

        line = Line(pool, most=2)
        line.works.fail = fail
        calls = [line.join(item) for item in (1, 2, 3)]
        line.works.may_go.set()

        assert [str(call.exception(DEADLINE_S)) for call in calls] == ["2", "2", "None"]
        assert line.first.exception(DEADLINE_S) is None

    def test_a_leader_that_is_killed_tells_its_round_and_hands_over(self, pool):
        """Whether it took effect is open: they may try again, with their keys."""

        class Killed(BaseException):
            pass

        def fail(items: list[Any]) -> None:
            if 1 in items:
                raise Killed

        line = Line(pool, most=2)
        line.works.fail = fail
        leader, other, next_one = [line.join(item) for item in (1, 2, 3)]
        line.works.may_go.set()

        assert isinstance(leader.exception(DEADLINE_S), Killed)
        assert isinstance(other.exception(DEADLINE_S), UnavailableError)
        assert next_one.exception(DEADLINE_S) is None

    def test_a_leader_that_is_killed_while_it_gathers_hands_over(self, pool):
        class Killed(BaseException):
            pass

        calls: list[Any] = []

        def gather() -> None:
            if not calls:
                calls.append(pool.submit(rounds.do, "next"))
                wait_until(lambda: len(rounds._line) == 1)
                raise Killed

        works = Works()
        works.may_go.set()
        rounds = Rounds(works, most=100, gather=gather, gather_on=True)
        leader = pool.submit(rounds.do, "killed")

        assert isinstance(leader.exception(DEADLINE_S), Killed)
        assert calls[0].exception(DEADLINE_S) is None
        assert works.rounds == [["next"]]


GREEN = """
import eventlet
eventlet.monkey_patch()
import time
from core.store.rounds import Rounds

done = []
rounds = Rounds(lambda items: (time.sleep(0.01), done.append(items)), most=100)
{scene}
print(done)
"""
KILLED_IN_LINE = """
calls = [eventlet.spawn(rounds.do, n) for n in range(4)]
eventlet.sleep(0)
calls[1].kill()
for n in (0, 2, 3):
    calls[n].wait()
rounds.do(4)
"""
KILLED_AS_IT_IS_TO_LEAD = """
calls = []
def first():
    rounds.do(0)
    calls[1].kill()
calls += [eventlet.spawn(first)] + [eventlet.spawn(rounds.do, n) for n in range(1, 4)]
for n in (0, 2, 3):
    calls[n].wait()
rounds.do(4)
"""


class TestGreenlets:
    """A greenlet can be killed while it waits; those behind it must not wait for ever."""

    @pytest.mark.parametrize("scene", [KILLED_IN_LINE, KILLED_AS_IT_IS_TO_LEAD])
    def test_who_is_killed_in_line_is_passed_over(self, scene):
        script = [sys.executable, "-W", "ignore", "-c", GREEN.format(scene=scene)]
        said = subprocess.run(
            script, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

        assert said.stdout.strip() == "[[0], [2, 3], [4]]", said.stderr
