"""What a client follows, and where it stands: repeats are dropped, gaps are seen, order is kept.

One position a stream is the one truth: whatever door an event came through, it is taken when it
is the next one. So two doors may be open at once, while the client moves from one to the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fanfare_client.core.events import (
    Event,
    Position,
    Reset,
    Roster,
    Signal,
    Unsubscribed,
    event_of,
    signal_of,
)

JSON = dict[str, Any]
Item = Event | Signal | Reset | Unsubscribed | Roster
HELD_AT_MOST = 1000


@dataclass(slots=True, eq=False)
class Follow:
    """One stream that is followed. `position` is None until the server has told where it begins."""

    asked: str
    position: Position | None = None
    history: int = 0
    presence: bool = False
    stream: str | None = None
    started: bool = False
    gap: bool = False  # something is missing: it has to be read again from `position`
    pending: int = 0  # how many reads from `position` are under way
    held: dict[int, JSON] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The stream's full name once that is known, and what was asked for until then."""
        return self.stream or self.asked


Output = list[tuple[Follow, Item]]


class Streams:
    """All that one client follows."""

    def __init__(self) -> None:
        self._asked: dict[str, Follow] = {}
        self._named: dict[str, Follow] = {}

    def __iter__(self) -> Iterator[Follow]:
        return iter(list(self._asked.values()))

    def add(self, follow: Follow) -> None:
        """Follow a stream. Raises: ValueError where it is followed already."""
        if self.find(follow.asked):
            raise ValueError(f"{follow.asked} is followed already")
        self._asked[follow.asked] = follow

    def remove(self, follow: Follow) -> None:
        """Follow it no longer."""
        if self._asked.get(follow.asked) is follow:
            del self._asked[follow.asked]
        if follow.stream and self._named.get(follow.stream) is follow:
            del self._named[follow.stream]

    def find(self, name: str) -> Follow | None:
        """Return the stream of that name, the full one or the one asked for."""
        return self._named.get(name) or self._asked.get(name)

    def bind(self, follow: Follow, stream: str) -> bool:
        """Learn a stream's full name; False where it is followed under another name already."""
        if self._named.setdefault(stream, follow) is not follow:
            return False
        follow.stream = stream
        return True

    def page(
        self,
        follow: Follow,
        events: list[JSON],
        position: Position,
        *,
        more: bool = False,
    ) -> Output:
        """Take what was read of a stream, up to `position`."""
        before = follow.position
        if before is not None and before.epoch != position.epoch:
            return []  # read before a reset that came through another door
        if before is not None:
            events = [data for data in events if data["offset"] > before.offset]
            if [data["offset"] for data in events] != list(
                range(before.offset + 1, position.offset + 1)
            ):
                follow.gap = True  # read from elsewhere than here
                return []
        follow.started = True
        if before is None or position.offset > before.offset:
            follow.position = position
        out: Output = [(follow, event_of(data, position.epoch)) for data in events]
        if not more:
            out += self._settle(follow)
        return out

    def live(self, data: JSON, *, epoch: str | None = None) -> Output:
        """Take an event that came by itself. Where one before it is missing, `gap` is set.

        `epoch` is the one in which the door reads that stream, where it knows.
        """
        follow = self._named.get(data["stream"])
        if follow is None:
            return []
        at = follow.position
        if at is not None and epoch is not None and epoch != at.epoch:
            return []
        if at is None or data["offset"] > at.offset + 1:
            self._hold(follow, data)
            return []
        if data["offset"] <= at.offset:
            return []
        follow.position = at.at(data["offset"])
        return [(follow, event_of(data, at.epoch)), *self._drain(follow)]

    def signal(self, data: JSON) -> Output:
        """Take a signal; those of presence go to who asked for them alone."""
        follow = self._named.get(data["stream"])
        if follow is None or (data["type"].startswith("presence.") and not follow.presence):
            return []
        return [(follow, signal_of(data))]

    def reset(
        self, follow: Follow, reason: str, position: Position, *, asked: Position | None = None
    ) -> Output:
        """Take a reset; `asked` is the position that it answers, where it answers one.

        One that answers a position which another door has moved on from is dropped.
        """
        if asked is not None and asked != follow.position:
            return []
        if position == follow.position and asked is None:
            return []  # the other door told of it before
        follow.position = position
        follow.started = True
        follow.gap = False
        follow.held.clear()
        return [(follow, Reset(follow.name, reason, position))]

    def unsubscribed(self, name: str, code: str, detail: str = "") -> Output:
        """Take the end of a stream."""
        follow = self.find(name)
        if follow is None:
            return []
        self.remove(follow)
        return [(follow, Unsubscribed(follow.name, code, detail))]

    def _hold(self, follow: Follow, data: JSON) -> None:
        follow.gap = True
        if len(follow.held) < HELD_AT_MOST:  # the rest is read again
            follow.held[data["offset"]] = data

    def _drain(self, follow: Follow) -> Output:
        out: Output = []
        while follow.position and (data := follow.held.pop(follow.position.offset + 1, None)):
            follow.position = follow.position.at(data["offset"])
            out.append((follow, event_of(data, follow.position.epoch)))
        if not follow.held:
            follow.gap = False
        return out

    def _settle(self, follow: Follow) -> Output:
        at = follow.position.offset if follow.position else 0
        follow.held = {offset: data for offset, data in follow.held.items() if offset > at}
        out = self._drain(follow)
        # What still does not fit is read again, once: of another epoch, it would never fit.
        follow.gap = bool(follow.held)
        follow.held.clear()
        return out
