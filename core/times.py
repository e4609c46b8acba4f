"""Time as the program keeps it: whole milliseconds since 1970, UTC; RFC 3339 at the doors."""

import time
from datetime import UTC, datetime
from functools import lru_cache


def now_ms() -> int:
    """Read the clock. Pure code takes the result as an argument instead."""
    return time.time_ns() // 1_000_000


def to_rfc3339(at_ms: int) -> str:
    """Write a time as `2026-11-20T10:00:00.123Z`."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{_stamp(seconds)}.{ms:03d}Z"


# A page holds many times of few seconds.
@lru_cache(maxsize=4096)
def _stamp(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def rfc3339_or_none(at_ms: int | None) -> str | None:
    """Write a time that may be missing."""
    return None if at_ms is None else to_rfc3339(at_ms)
