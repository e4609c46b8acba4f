"""How long to wait before trying again: full jitter, so that many clients never come at once."""

from collections.abc import Callable

Random = Callable[[], float]  # uniform in [0, 1)


def full_jitter(attempt: int, *, base_s: float, most_s: float, random: Random) -> float:
    """Return a random wait up to `base_s` · 2^attempt, and never more than `most_s`."""
    # 2.0 ** 1024 overflows; long before that the bound holds.
    return random() * min(most_s, base_s * 2.0 ** min(attempt, 60))
