"""Who watches what on this node, and fan-out to them.

A watcher that is being subscribed is *held*: what is fanned out meanwhile is kept for it, and
handed over once its first answer has left. So nothing is missed or doubled at the seam.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from core import json
from core.metrics import DELIVERIES
from core.positions import Position


class Frame:
    """One thing to send to many, encoded once. `ready` keeps what a transport makes of it.

    `stream` and `position` say where a watcher stands that has taken it; a signal moves nobody.
    """

    __slots__ = ("json", "name", "position", "ready", "stream")

    def __init__(
        self, name: str, body: bytes, stream: str = "", position: Position | None = None
    ) -> None:
        self.name = name
        self.json = body
        self.stream = stream
        self.position = position
        self.ready: object = None

    @classmethod
    def of(cls, name: str, value: object) -> "Frame":
        """Render a value."""
        return cls(name, json.dumps(value))


class Watcher(Protocol):
    """Somebody who follows streams."""

    @property
    def user_id(self) -> str:
        """Whose eyes these are."""

    def wants_presence(self, stream: str) -> bool:
        """Tell whether it asked for signals of who comes and goes."""

    def deliver(self, frame: Frame) -> None:
        """Take what must not be lost, or be cut off. Does not wait."""

    def deliver_signal(self, frame: Frame) -> None:
        """Take what may be dropped. Does not wait."""


# A frame that is no event goes to everybody, whatever they have seen.
ALWAYS = 2**63
# A signal of presence that is kept: unlike all else that is, it may be dropped.
_SIGNAL = ALWAYS + 1


class Hub:
    """The watchers of this node, by stream."""

    def __init__(self) -> None:
        self._live: dict[str, dict[Watcher, None]] = {}
        self._held: dict[str, dict[Watcher, list[tuple[int, Frame]]]] = {}

    def hold(self, stream: str, watcher: Watcher) -> None:
        """Keep everything of a stream for a watcher, from now until `release`."""
        self._discard(self._live, stream, watcher)
        self._held.setdefault(stream, {})[watcher] = []

    def release(self, stream: str, watcher: Watcher, offset: int) -> None:
        """Hand over what was kept from after `offset` on, and go on live."""
        kept = self._held.get(stream, {}).get(watcher)
        if kept is None:
            return
        self._discard(self._held, stream, watcher)
        self._live.setdefault(stream, {})[watcher] = None
        for at, frame in kept:
            if at == _SIGNAL:
                watcher.deliver_signal(frame)
            elif at > offset:
                watcher.deliver(frame)

    def drop(self, stream: str, watcher: Watcher) -> bool:
        """Stop watching; tell whether there was anything to stop."""
        live = self._discard(self._live, stream, watcher)
        return self._discard(self._held, stream, watcher) or live

    @staticmethod
    def _discard(table: dict[str, dict[Watcher, Any]], stream: str, watcher: Watcher) -> bool:
        watchers = table.get(stream)
        if watchers is None or watcher not in watchers:
            return False
        del watchers[watcher]
        if not watchers:
            del table[stream]
        return True

    def is_held(self, stream: str, watcher: Watcher) -> bool:
        """Tell whether a watcher is still being subscribed (and has not lost access meanwhile)."""
        return watcher in self._held.get(stream, ())

    def is_live(self, stream: str, watcher: Watcher) -> bool:
        """Tell whether a watcher gets a stream's events as they come."""
        return watcher in self._live.get(stream, ())

    def is_watched(self, stream: str) -> bool:
        """Tell whether anybody follows a stream here."""
        return stream in self._live or stream in self._held

    def watchers(self, stream: str) -> Iterator[Watcher]:
        """Give a stream's watchers, as they are now."""
        yield from list(self._live.get(stream, ()))
        yield from list(self._held.get(stream, ()))

    def fan_out(self, stream: str, offset: int, frame: Frame) -> None:
        """Give one event to every watcher of its stream."""
        for kept in self._held.get(stream, {}).values():
            kept.append((offset, frame))
        # A copy: a watcher that is cut off leaves while we walk.
        watchers = list(self._live.get(stream, ()))
        for watcher in watchers:
            watcher.deliver(frame)
        DELIVERIES.inc(len(watchers))

    def fan_out_signal(self, stream: str, frame: Frame, but: Watcher | None = None) -> None:
        """Give a signal to whoever watches live, but not to its maker."""
        for watcher in list(self._live.get(stream, ())):
            if watcher is not but:
                watcher.deliver_signal(frame)

    def fan_out_presence(self, stream: str, frame: Frame, but: Watcher | None = None) -> None:
        """Give a signal of presence to whoever asked for it, but not to its maker.

        It is kept for who is held: the roster in their answer may be older.
        """
        for watcher, kept in self._held.get(stream, {}).items():
            if watcher is not but and watcher.wants_presence(stream):
                kept.append((_SIGNAL, frame))
        for watcher in list(self._live.get(stream, ())):
            if watcher is not but and watcher.wants_presence(stream):
                watcher.deliver_signal(frame)
