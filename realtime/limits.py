"""How fast one connection may go: a bucket that fills steadily. Pure: time is handed in."""


class Bucket:
    """Holds up to `most` turns, without it `per_s`, and gains `per_s` a second."""

    __slots__ = ("_at_s", "_left", "_most", "_per_s")

    def __init__(self, per_s: float, now_s: float, most: float = 0) -> None:
        self._per_s = per_s
        self._most = self._left = most or per_s
        self._at_s = now_s

    def take(self, now_s: float, turns: int = 1) -> float:
        """Take some turns: 0.0, or the seconds until there are as many."""
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < turns:
            return (turns - self._left) / self._per_s
        self._left -= turns
        return 0.0

    def give_back(self, turns: int) -> None:
        """Put turns back that were not used."""
        self._left += turns
