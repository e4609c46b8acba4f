"""Counts what happened in the last so many seconds, by name, in the memory of one process.

What is over is forgotten as it ages, one name at a time, and the names are bounded: whoever
invents new ones neither fills the memory nor makes others wait.
"""

from collections import OrderedDict, deque

_MOST_NAMES = 100_000


class Windows:
    """How often each name was counted within a window; never more than `most` times."""

    def __init__(self, most: int, window_s: float) -> None:
        self.most = most
        self._window_s = window_s
        # By the time of the last count, and each name's times in order.
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        """Tell how many names are remembered."""
        return len(self._times)

    def take(self, name: str, now_s: float) -> bool:
        """Count a name; False: it was counted `most` times already."""
        self._forget(now_s)
        times = self._times.setdefault(name, deque())
        if self._left(times, now_s) == 0:
            return False
        times.append(now_s)
        self._times.move_to_end(name)
        if len(self._times) > _MOST_NAMES:
            self._times.popitem(last=False)
        return True

    def standing(self, name: str, now_s: float) -> tuple[int, float]:
        """Tell how often a name may still be counted, and when there is more room, in seconds."""
        times = self._times.get(name, deque())
        left = self._left(times, now_s)
        return left, times[0] + self._window_s - now_s if times else 0.0

    def _left(self, times: deque[float], now_s: float) -> int:
        while times and times[0] <= now_s - self._window_s:
            times.popleft()
        return self.most - len(times)

    def _forget(self, now_s: float) -> None:
        while self._times:
            times = next(iter(self._times.values()))
            if times and times[-1] > now_s - self._window_s:
                break
            self._times.popitem(last=False)
