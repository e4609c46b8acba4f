"""How often may somebody call: per address where nobody is known yet, else per user.

Guesses at passwords and new accounts are counted over all nodes, where they share a store: many
nodes must not be many tries. All else is counted by each node, which costs no round trip.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import Storage
from limits.strategies import MovingWindowRateLimiter

from api.windows import Windows
from core.errors import RateLimitedError


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a limit, for the `RateLimit-*` headers."""

    limit: int
    remaining: int
    reset_s: int


_log = structlog.get_logger(__name__)

_SHARED = {"login", "login_address", "register", "refresh"}
# A store that failed is let be for so long: meanwhile this node counts alone.
_PAUSE_S = 5.0


class RateLimits:
    """Counts calls. Off, it lets everything pass.

    `make_store` makes the store that all nodes share; None: there is one node.
    """

    def __init__(
        self,
        *,
        is_on: bool,
        events_per_s: float,
        make_store: Callable[[], Storage] | None = None,
    ) -> None:
        self._is_on = is_on
        self._make_store = make_store
        self._shared: MovingWindowRateLimiter | None = None
        self._paused_until_s = 0.0
        self._items = {
            # Guessing a password, or making accounts, is slow.
            "login": RateLimitItemPerMinute(10),
            "login_address": RateLimitItemPerMinute(60),
            "register": RateLimitItemPerMinute(20),
            "refresh": RateLimitItemPerMinute(120),
            # A search walks through the messages.
            "search": RateLimitItemPerSecond(50, 10),
            # A poll ends with each event, and a user has several. To be present counts too.
            "follow": RateLimitItemPerSecond(2000, 10),
            # As many as a socket may, over ten seconds: a batch is a burst.
            "write": RateLimitItemPerSecond(max(1, int(events_per_s * 10)), 10),
        }
        self._own = {
            name: Windows(item.amount, item.get_expiry()) for name, item in self._items.items()
        }

    def take(self, name: str, who: str, turns: int = 1) -> Standing | None:
        """Count a call, or several in one.

        Raises:
            RateLimitedError: there were too many.
        """
        if not self._is_on:
            return None
        item = self._items[name]
        # Counted here too, so that nobody begins anew when the store is away.
        here = min((_count_here(self._own[name], who) for _ in range(turns)), key=_left)
        there = self._count_together(item, f"{name} {who}") if name in _SHARED else None
        return _judge(there if there is not None and there.remaining < here.remaining else here)

    def _count_together(self, item: RateLimitItem, who: str) -> Standing | None:
        if self._make_store is None or time.monotonic() < self._paused_until_s:
            return None
        try:
            if self._shared is None:
                self._shared = MovingWindowRateLimiter(self._make_store())
            return _count(self._shared, item, who)
        except StorageError as error:
            _log.warning("counting together failed", reason=type(error.storage_error).__name__)
            self._paused_until_s = time.monotonic() + _PAUSE_S
            return None


def _count(limiter: MovingWindowRateLimiter, item: RateLimitItem, who: str) -> Standing:
    is_allowed = limiter.hit(item, who)
    stats = limiter.get_window_stats(item, who)
    reset_s = max(0.0, stats.reset_time - time.time())
    return Standing(item.amount, stats.remaining if is_allowed else -1, int(reset_s) + 1)


def _count_here(windows: Windows, who: str) -> Standing:
    now_s = time.monotonic()
    is_allowed = windows.take(who, now_s)
    left, reset_s = windows.standing(who, now_s)
    return Standing(windows.most, left if is_allowed else -1, int(reset_s) + 1)


def _left(standing: Standing) -> int:
    return standing.remaining


def _judge(standing: Standing) -> Standing:
    if standing.remaining < 0:
        raise RateLimitedError("Too many calls.", float(standing.reset_s))
    return standing
