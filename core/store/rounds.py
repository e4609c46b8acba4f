"""Work that is done together: whoever comes while a round is worked on goes into the next one.

Who comes first begins at once, so at rest nobody waits; under load a round is as big as what came
during the one before. No clock has a say in it. Nobody is left waiting: a leader that is killed
hands over, and tells its round.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from core.errors import UnavailableError

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")


class _Place(Generic[T]):
    """One who waits in line. With a `round` of places to work on, it leads that round."""

    __slots__ = ("bell", "error", "item", "round", "size", "trace")

    def __init__(self, item: T, size: int) -> None:
        self.item = item
        self.size = size
        self.round: list[_Place[T]] | None = None
        self.error: BaseException | None = None
        self.trace: TracebackType | None = None
        # Rung once: to say that it is done, or leads.
        self.bell = threading.Lock()
        self.bell.acquire()


class Rounds(Generic[T]):
    """Does `work` on everything of a round at once, one round at a time.

    A round is at most `most` in size, but never less than one item. Where `kind` is given, a
    round is of one kind.
    """

    def __init__(
        self,
        work: Callable[[list[T]], None],
        *,
        most: int,
        kind: Callable[[T], Hashable] = lambda _item: None,
        gather: Callable[[], None] | None = None,
        gather_on: bool = False,
    ) -> None:
        """`gather` lets others come in, where `work` itself lets nobody run meanwhile.

        `gather_on` does so before every round, again and again as long as somebody comes: where
        to work for many costs little more than for one.
        """
        self._work = work
        self._most = most
        self._kind = kind
        self._gather = gather
        self._gathers_on = gather_on
        self._guard = threading.Lock()
        self._line: deque[_Place[T]] = deque()
        self._is_led = False

    def do(self, item: T, size: int = 1) -> None:
        """Have an item worked on, by oneself or by another; come back when it is done.

        Raises: what `work` raises, to everybody of the round; UnavailableError where it was
        broken off.
        """
        place = _Place(item, size)
        with self._guard:
            self._line.append(place)
            leads, self._is_led = not self._is_led, True
        if leads:
            self._begin(place)
        else:
            self._wait(place)
        if place.round is not None:
            taken, place.round = place.round, None  # it holds the place: a circle
            self._lead(place, taken)
        error, place.error = place.error, None
        if error is not None:
            # As it was caught: else it would grow with everybody who raises it.
            try:
                raise error.with_traceback(place.trace)
            finally:
                del error, place

    def _begin(self, place: _Place[T]) -> None:
        try:
            if self._gather is not None and not self._gathers_on:
                self._gather()
        except BaseException:
            with self._guard:
                self._line.remove(place)
            self._pass_on()
            raise
        with self._guard:
            place.round = self._take()

    def _take(self, taken: Sequence[_Place[T]] = ()) -> list[_Place[T]]:
        """Take a round from the line, or what goes with one that is taken."""
        taken = list(taken) or [self._line.popleft()]
        size, kind = sum(place.size for place in taken), self._kind(taken[0].item)
        others: list[_Place[T]] = []
        while self._line:
            place = self._line.popleft()
            if self._kind(place.item) != kind:
                others.append(place)
            elif size + place.size > self._most:
                others.append(place)
                break
            else:
                taken.append(place)
                size += place.size
        self._line.extendleft(reversed(others))
        return taken

    def _wait(self, place: _Place[T]) -> None:
        try:
            place.bell.acquire()
        except BaseException:
            self._leave(place)
            raise

    def _leave(self, place: _Place[T]) -> None:
        """Give up waiting: another one leads what this one was to lead."""
        with self._guard:
            if place in self._line:
                self._line.remove(place)
                return
            left, place.round = place.round, None
            if left is not None:
                self._line.extendleft(reversed(left[1:]))
        if left is not None:
            self._pass_on()

    def _lead(self, place: _Place[T], taken: list[_Place[T]]) -> None:
        error: BaseException | None = None
        try:
            if self._gathers_on:
                self._gather_on(taken)
            self._work([one.item for one in taken])
        except Exception as caught:  # noqa: BLE001 - raised again, to everybody of the round
            error = caught
        except BaseException:
            error = UnavailableError("It was broken off, and may have taken effect. Try again.")
            raise
        finally:
            # First the next round, which has waited; then those of this one.
            self._pass_on()
            trace = error.__traceback__ if error is not None else None
            for one in taken:
                one.error, one.trace = error, trace
                if one is not place:
                    one.bell.release()
            error = trace = None  # what was raised holds this frame: a circle

    def _gather_on(self, taken: list[_Place[T]]) -> None:
        left = self._most - sum(place.size for place in taken)
        seen = -1
        while self._gather is not None and seen < len(self._line) < left:
            seen = len(self._line)
            self._gather()
        with self._guard:
            taken[:] = self._take(taken)

    def _pass_on(self) -> None:
        with self._guard:
            if not self._line:
                self._is_led = False
                return
            leader = self._line[0]
            leader.round = self._take()
        leader.bell.release()
