"""Waiting for a condition, with a deadline: a test never sleeps and hopes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], *, deadline_s: float = 10.0, what: str = "", every_s: float = 0.01
) -> T:
    """Return the first truthy result of `condition`, tried again and again.

    Raises: AssertionError once `deadline_s` seconds have passed, naming `what` and the last result.
    """
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            name = what or getattr(condition, "__name__", "the condition")
            raise AssertionError(f"waited {deadline_s} s in vain for {name}; last: {result!r}")
        time.sleep(every_s)
