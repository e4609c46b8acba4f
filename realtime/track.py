"""What a node knows of one stream: the top it has delivered, what came early, and a short tail."""

from collections import deque
from collections.abc import Callable

from core.positions import Position

Deliver = Callable[["Track", int, bytes], None]

# Hints that come before the one that they follow wait here; beyond it the log is read anyway.
_MOST_EARLY = 256


class TailBudget:
    """Bounds what the tails of all streams hold together."""

    def __init__(self, max_bytes: int) -> None:
        self.left = max_bytes


class Track:
    """One stream on one node. Starts without a top; hints wait until it is known."""

    __slots__ = (
        "_budget",
        "_early",
        "_tail",
        "_tail_events",
        "deliver",
        "epoch",
        "idle_since",
        "repairing",
        "started_at",
        "stream",
        "top",
    )

    def __init__(self, stream: str, deliver: Deliver, budget: TailBudget, tail_events: int) -> None:
        self.stream = stream
        self.deliver = deliver
        self.epoch = ""
        self.top: int | None = None
        # What came before was never delivered here, nor kept for those who were held.
        self.started_at = 0
        self.repairing = False
        self.idle_since: float | None = None
        # Made when there is something to keep: most streams are users' own, and say little.
        self._early: dict[int, tuple[str, bytes]] | None = None
        self._tail: deque[bytes] | None = None
        self._tail_events = tail_events
        self._budget = budget

    def start(self, at: Position) -> None:
        """Say where the stream stood when the first watcher came; nothing if that is known."""
        if self.top is None:
            self.epoch, self.top, self.started_at = at.epoch, at.offset, at.offset
            self._drain()

    def restart(self, at: Position) -> None:
        """Begin again at another place: the numbering changed, or a part of it is gone."""
        self.forget_tail()
        self._early = None
        self.epoch, self.top, self.started_at = at.epoch, at.offset, at.offset

    def offer(self, epoch: str, offset: int, json: bytes) -> bool:
        """Deliver a hint in its turn, drop what was delivered; False if one before is missing."""
        if self.top is None:
            self._keep_early(epoch, offset, json)
            return True
        if epoch != self.epoch:
            return False
        if offset > self.top + 1:
            self._keep_early(epoch, offset, json)
            return False
        if offset == self.top + 1:
            self._advance(offset, json)
            self._drain()
        return True

    def _keep_early(self, epoch: str, offset: int, json: bytes) -> None:
        if self._early is None:
            self._early = {}
        if len(self._early) < _MOST_EARLY:
            self._early[offset] = (epoch, json)

    def _drain(self) -> None:
        if self._early is None or self.top is None:
            return
        while self._early:
            epoch, json = self._early.pop(self.top + 1, ("", b""))
            if epoch != self.epoch:
                break
            self._advance(self.top + 1, json)
        early, top = (self._early or {}).items(), self.top
        self._early = {offset: kept for offset, kept in early if offset > top} or None

    def _advance(self, offset: int, json: bytes) -> None:
        self.top = offset
        self._remember(json)
        self.deliver(self, offset, json)

    def reaches(self, at: Position) -> bool:
        """Tell whether all after a position was, or will be, delivered here."""
        return self.top is not None and at.epoch == self.epoch and at.offset >= self.started_at

    @property
    def has_gap(self) -> bool:
        """Tell whether a hint waits for one that did not come."""
        return bool(self._early) and self.top is not None

    def _remember(self, json: bytes) -> None:
        tail = self._tail
        if tail is None:
            tail = self._tail = deque()
        tail.append(json)
        self._budget.left -= len(json)
        while len(tail) > self._tail_events or (self._budget.left < 0 and tail):
            self._budget.left += len(tail.popleft())

    def forget_tail(self) -> None:
        """Give the memory of the tail back."""
        self._budget.left += sum(map(len, self._tail or ()))
        self._tail = None

    def tail_after(
        self, after: Position, limit: int, max_bytes: int, upto: int | None = None
    ) -> list[bytes] | None:
        """Give what came after a position, if it is all in memory and within the limits.

        `upto` is the last offset that is wanted; None: the newest.
        """
        if self.top is None or after.epoch != self.epoch:
            return None
        missing, tail = self.top - after.offset, self._tail or ()
        wanted = missing if upto is None else upto - after.offset
        if not (0 <= wanted <= missing <= len(tail) and wanted <= limit):
            return None
        first = len(tail) - missing
        found = [tail[index] for index in range(first, first + wanted)]
        return found if sum(map(len, found)) <= max_bytes else None
