"""How often may somebody call: per address where nobody is known yet, else per user."""

import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from core.errors import RateLimitedError


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a limit, for the `RateLimit-*` headers."""

    limit: int
    remaining: int
    reset_s: int


class RateLimits:
    """Counts calls of this process. Off, it lets everything pass."""

    def __init__(self, *, is_on: bool, events_per_s: float) -> None:
        self._is_on = is_on
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._items = {
            # Guessing a password, or making accounts, is slow.
            "login": RateLimitItemPerMinute(10),
            "login_address": RateLimitItemPerMinute(60),
            "register": RateLimitItemPerMinute(20),
            "refresh": RateLimitItemPerMinute(120),
            # A search walks through the messages.
            "search": RateLimitItemPerSecond(50, 10),
            # As many as a socket may, over ten seconds: a batch is a burst.
            "write": RateLimitItemPerSecond(max(1, int(events_per_s * 10)), 10),
        }

    def take(self, name: str, who: str) -> Standing | None:
        """Count a call.

        Raises:
            RateLimitedError: there were too many.
        """
        if not self._is_on:
            return None
        item = self._items[name]
        allowed = self._limiter.hit(item, who)
        stats = self._limiter.get_window_stats(item, who)
        reset_s = max(0.0, stats.reset_time - time.time())
        if not allowed:
            raise RateLimitedError("Too many calls.", max(1.0, reset_s))
        return Standing(item.amount, stats.remaining, int(reset_s) + 1)
