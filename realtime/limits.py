"""How fast one connection may go: a bucket that fills steadily. Pure: time is handed in."""


class Bucket:
    """Holds up to `per_s` turns and gains as many a second."""

    __slots__ = ("_at_s", "_left", "_per_s")

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = per_s
        self._left = per_s
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take a turn: 0.0, or the seconds until there is one."""
        self._left = min(self._per_s, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return (1 - self._left) / self._per_s
        self._left -= 1
        return 0.0
