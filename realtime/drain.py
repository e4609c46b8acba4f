"""A process that ends in order: it loses nothing, and everybody is told where to go on.

Readiness turns red, the door closes, each packet that was received is acked before its client's
`bye`, polls and requests in flight are answered; then the process ends, with status 0, within
the time of grace. Who is told to come back is told when, spread over a window.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from realtime import green
from realtime.green_door import Listener

_log = structlog.get_logger(__name__)

_CROWD = 10_000  # sockets that come back within one window
_LOOK_EVERY_S = 0.05
# What is kept of the time of grace for the bus, the database and the interpreter's own end.
_RESERVE = 0.15


@dataclass(frozen=True, slots=True)
class DrainTimes:
    """How long an end may take, and over how long clients are spread."""

    window_s: float
    grace_s: float


class Leaver(Protocol):
    """A door with clients to say goodbye to."""

    def begin_to_leave(self, spread: Callable[[int], list[float]]) -> None:
        """Say goodbye to everybody, once they are answered; `spread(n)` gives n times to return."""

    def go_on_leaving(self) -> bool:
        """See who can go now; tell whether nobody is left."""


class Drain:
    """The end of this process."""

    def __init__(self, leavers: Sequence[Leaver], times: DrainTimes) -> None:
        self._leavers = leavers
        self._times = times
        self._at_end: list[Callable[[], object]] = []
        self.has_begun = False

    def at_end(self, work: Callable[[], object]) -> None:
        """Do something when nobody is connected any more. In the order in which it was asked."""
        self._at_end.append(work)

    def begin(self, listener: Listener) -> None:
        """End in order; a second call does nothing."""
        if self.has_begun:
            return
        self.has_begun = True
        started = time.monotonic()
        # Whatever hangs.
        green.later(self._times.grace_s, self._give_up)
        # The system hands over who has connected once they have spoken: what is on its way comes.
        green.sleep(_LOOK_EVERY_S)
        _log.info("draining", grace_s=self._times.grace_s)
        listener.stop_accepting()
        # What was sent before the door closed is read, and so acked.
        green.sleep(_LOOK_EVERY_S)
        for leaver in self._leavers:
            leaver.begin_to_leave(lambda number: spread(number, self._times.window_s))
        self._wait(listener, started + self._times.grace_s * (1 - _RESERVE))
        self._finish()
        _log.info("drained", seconds=round(time.monotonic() - started, 3))
        listener.end()

    def begin_or_hurry(self, listener: Listener) -> None:
        """End in order; a second call ends at once."""
        if self.has_begun:
            hurry(1)
        self.begin(listener)

    def _wait(self, listener: Listener, deadline: float) -> None:
        while not self._is_everybody_gone() or listener.requests:
            if time.monotonic() > deadline:
                _log.warning("drain cut short", requests=listener.requests)
                return
            green.sleep(_LOOK_EVERY_S)

    def _is_everybody_gone(self) -> bool:
        # Each of them goes on, also behind one that is not done.
        gone = [leaver.go_on_leaving() for leaver in self._leavers]
        return all(gone)

    def _finish(self) -> None:
        for work in self._at_end:
            try:
                work()
            except Exception:  # noqa: BLE001 - the others end all the same
                _log.exception("end failed")

    def _give_up(self) -> None:
        _log.error("did not end in time", grace_s=self._times.grace_s)
        green.exit_now(0)


def hurry(status: int) -> None:
    """End now: nobody waits any more for what is under way."""
    _log.warning("ended at once")
    green.exit_now(status)


def spread(number: int, window_s: float) -> list[float]:
    """Give so many times in seconds, one in each equal part of the window, in no order.

    For few the window is narrower: 10,000 fill it.
    """
    width = window_s * min(1.0, number / _CROWD)
    draw = random.random
    times = [round(width * (place + draw()) / number, 3) for place in range(number)]
    random.shuffle(times)
    return times
