"""Ends of access that the bus did not tell of: read from the database, about twice a second.

So access ends within a second also while Redis is away, or this node is cut off from it.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from core.errors import FanfareError
from core.events import Control
from core.metrics import ACCESS_MISSED
from core.services.access_log import AccessLog
from realtime import green

_log = structlog.get_logger(__name__)

INTERVAL_S = 0.5
# Rows may become visible later than higher ones, by as long as their transactions take.
OVERLAP_S = 30.0
# At the start, so many rows are acted on that may be older than this node: whoever connected
# before the first look may have lost access before it.
_FIRST = 1000


@dataclass(slots=True)
class _Known:
    """What was acted on: as it was told first, and when; then as it was found in the table."""

    control: Control
    at_s: float
    is_found: bool = False


class AccessWatch:
    """Acts on what was missed. `act` is given controls, and must not wait for anything."""

    def __init__(self, log: AccessLog, act: Callable[[Control], None]) -> None:
        self._log = log
        self._act = act
        self._known: dict[int, _Known] = {}
        # What is not above it is not read again. Only the table moves it: whatever the bus says
        # may be garbage.
        self._after: int | None = None
        self._is_stopped = False

    def start(self) -> None:
        """Begin to look."""
        green.spawn(self._look_for_ever)

    def stop(self) -> None:
        """Look no more."""
        self._is_stopped = True

    def on_control(self, control: Control) -> None:
        """Take note of what this node has acted on."""
        if control.id:
            self._known.setdefault(control.id, _Known(control, time.monotonic()))

    def judge(self, control: Control) -> Control | None:
        """Say what to do about word of the bus, which may come late, or be none of ours.

        As it is; or in doubt, where it is too old to tell; or nothing: it was acted on.
        """
        known = self._known.get(control.id)
        if known is not None and known.control == control:
            return None
        return _in_doubt(control) if 0 < control.id <= (self._after or 0) else control

    def look(self, now_s: float) -> None:
        """Act on all that is new in the database.

        Raises:
            UnavailableError.
        """
        is_first = self._after is None
        after = max(0, self._log.newest() - _FIRST) if self._after is None else self._after
        found = self._log.read_after(after)
        self._after = after
        for control in found:
            if not self._is_acted_on(control):
                ACCESS_MISSED.inc(0 if is_first else 1)
                self._act(_in_doubt(control))
            self._find(control, now_s)
        self._move_on(now_s)

    def _is_acted_on(self, control: Control) -> bool:
        known = self._known.get(control.id)
        return known is not None and (known.is_found or known.control == control)

    def _find(self, control: Control, now_s: float) -> None:
        known = self._known.get(control.id)
        if known is None or not known.is_found:
            self._known[control.id] = _Known(control, now_s, is_found=True)

    def _move_on(self, now_s: float) -> None:
        old = {id_ for id_, known in self._known.items() if now_s - known.at_s > OVERLAP_S}
        if not old:
            return
        found = [id_ for id_ in old if self._known[id_].is_found]
        self._after = max([self._after or 0, *found])
        self._known = {
            id_: known for id_, known in self._known.items() if id_ not in old and id_ > self._after
        }

    def _look_for_ever(self) -> None:
        while not self._is_stopped:
            # Jitter: many nodes must not ask the database in step.
            green.sleep(INTERVAL_S * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
            try:
                self.look(time.monotonic())
            except FanfareError as error:
                _log.warning("reading ends of access failed", code=error.code)
            except Exception:  # noqa: BLE001 - the loop must live on
                _log.exception("reading ends of access failed")


def _in_doubt(control: Control) -> Control:
    # What may have been undone since is looked up anew: who was removed may have joined again.
    if control.kind in ("user_disabled", "access_lost"):
        return replace(control, kind="access_lost", stream="")
    return control
