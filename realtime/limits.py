"""How fast one connection may go: a bucket that fills steadily. Pure: time is handed in."""

from functools import lru_cache


class Bucket:
    """Holds up to `most` turns, without it `per_s`, and gains `per_s` a second.

    When it will be full tells all, and is one number: every connection has a bucket.
    """

    __slots__ = ("_full_at_s", "_terms")

    def __init__(self, per_s: float, now_s: float, most: float = 0) -> None:
        self._terms = _share(per_s, most or per_s)
        self._full_at_s = now_s

    def take(self, now_s: float, turns: int = 1) -> float:
        """Take some turns: 0.0, or the seconds until there are as many."""
        per_s, most = self._terms
        full_at_s = max(self._full_at_s, now_s)
        left = most - (full_at_s - now_s) * per_s
        if left < turns:
            return (turns - left) / per_s
        self._full_at_s = full_at_s + turns / per_s
        return 0.0

    def give_back(self, turns: int) -> None:
        """Put turns back that were not used."""
        self._full_at_s -= turns / self._terms[0]


@lru_cache(maxsize=64)
def _share(per_s: float, most: float) -> tuple[float, float]:
    return per_s, most
