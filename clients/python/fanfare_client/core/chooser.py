"""Which door to try next, and when: down where the network blocks one, and up again.

The order is socket, SSE, poll. A door is taken when its *ready* came. What the network blocks
sends the client down a door; what the server says, or a server that is away, does not.
"""

from dataclasses import dataclass
from enum import StrEnum

from fanfare_client.core.backoff import Random, full_jitter
from fanfare_client.core.errors import TOKEN_CODES, FanfareError
from fanfare_client.core.timing import Timing


class Door(StrEnum):
    """A way in, the best one first."""

    SOCKET = "socket"
    SSE = "sse"
    POLL = "poll"


ORDER = tuple(Door)
# What a server says in an answer and the network does not: the same door is right, later.
_LATER = frozenset(
    {"too_many_connections", "rate_limited", "draining", "unavailable", "internal", "slow_consumer"}
)
_UNREACHABLE_UNTIL_DOWN = 3


class Kind(StrEnum):
    """Why a door is not open."""

    UNREACHABLE = "unreachable"  # nobody listens there
    BLOCKED = "blocked"  # no ready in time, or what no server of ours would answer
    REFUSED = "refused"  # the server said a code
    BYE = "bye"  # the server said it before it closed
    LOST = "lost"  # it was open, and broke
    SILENT = "silent"  # it is open, and a request got no answer


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a door did not open, or is open no longer."""

    kind: Kind
    code: str = ""
    detail: str = ""
    retry: str = "now"
    retry_after: float = 0.0

    def error(self) -> FanfareError:
        """Return it as the application sees it."""
        return FanfareError(self.code or "unavailable", self.detail or str(self.kind))


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: wait, take a fresh token first, or end."""

    wait_s: float = 0.0
    renew: bool = False
    end: bool = False


class Chooser:
    """The choice of one client. `door` is the one to try next, or the one that is open."""

    def __init__(self, timing: Timing, random: Random, *, first: Door = Door.SOCKET) -> None:
        self.door = first
        self.forced: Door | None = None
        self._timing = timing
        self._random = random
        self._failures = 0
        self._unreachable = 0
        self._short = 0
        self._probes = 0
        self._renewed = False
        self._opened_at: float | None = None

    def force(self, door: Door | None) -> None:
        """Take this door alone; None: choose again, and look for a better one at once."""
        self.forced = door
        self.door = door or self.door
        self._failures = self._probes = 0

    def opened(self, door: Door, now: float) -> None:
        """A door's ready came."""
        self.door = self.forced or door
        self._opened_at = now
        self._unreachable = 0
        self._renewed = False  # the token was good

    def failed(self, trouble: Trouble, now: float) -> Step:
        """A door did not open, or is open no longer: go by what `door` is from now on."""
        stood = 0.0 if self._opened_at is None else now - self._opened_at
        was_open, self._opened_at = self._opened_at is not None, None
        if stood >= self._timing.steady_s:
            self._failures = self._short = 0
            if trouble.kind != Kind.SILENT and self.door == ORDER[0]:
                self._probes = 0
        if trouble.kind in (Kind.REFUSED, Kind.BYE):
            return self._told(trouble, hasty=was_open and stood < self._timing.steady_s)
        if trouble.kind == Kind.UNREACHABLE:
            self._unreachable += 1
            return self._again() if self._unreachable % _UNREACHABLE_UNTIL_DOWN else self._down()
        if trouble.kind == Kind.LOST and was_open and not self._is_flapping(stood):
            return self._again()
        return self._down()

    def higher(self) -> tuple[Door, ...]:
        """Return the doors that are better than the open one, the best first."""
        return () if self.forced else ORDER[: ORDER.index(self.door)]

    def probe_wait(self) -> float:
        """Return how long to wait until a higher door is tried again."""
        base = self._timing.probe_s
        self._probes += 1
        if self._probes == 1:
            return base
        wait = full_jitter(
            self._probes - 1, base_s=base, most_s=self._timing.probe_most_s, random=self._random
        )
        return max(wait, base / 2)

    def _told(self, trouble: Trouble, *, hasty: bool) -> Step:
        if trouble.retry == "never":
            return Step(end=True)
        if trouble.code in TOKEN_CODES:
            if self._renewed:
                return Step(end=True)
            self._renewed = True
            # A token that holds for a moment only must not make the client spin.
            return Step(wait_s=self._again().wait_s if hasty else 0.0, renew=True)
        if trouble.kind == Kind.REFUSED and trouble.code not in _LATER:
            return self._down()
        step = self._again()
        return Step(wait_s=step.wait_s + trouble.retry_after)

    def _is_flapping(self, stood: float) -> bool:
        if stood >= self._timing.steady_s:
            return False
        self._short += 1
        return self._short % 2 == 0

    def _again(self) -> Step:
        wait = full_jitter(
            self._failures,
            base_s=self._timing.backoff_s,
            most_s=self._timing.backoff_most_s,
            random=self._random,
        )
        self._failures += 1
        return Step(wait_s=wait)

    def _down(self) -> Step:
        if self.forced:
            return self._again()
        place = ORDER.index(self.door) + 1
        if place < len(ORDER):
            self.door = ORDER[place]
            return Step()
        self.door = ORDER[0]
        return self._again()
