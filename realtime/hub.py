"""Who watches what on this node, and fan-out to them.

A watcher that is being subscribed is *held*: what is fanned out meanwhile is kept for it, and
handed over once its first answer has left. So nothing is missed or doubled at the seam.

What comes for a stream in one round of the loop leaves in the next as one write a connection: see
`room.py`.
"""

from collections.abc import Callable, Iterator

from realtime import green
from realtime.room import ALWAYS, DirectWatcher, Frame, Room, Watcher
from realtime.writers import PlainWriter, Writer

__all__ = ["ALWAYS", "DirectWatcher", "Frame", "Hub", "Watcher"]

# A signal of presence that is kept: unlike all else that is, it may be dropped.
_SIGNAL = ALWAYS + 1


class Hub:
    """The watchers of this node, by stream. `soon` calls what must not wait, in the next round."""

    def __init__(
        self, soon: Callable[..., object] = green.soon, writer: Writer | None = None
    ) -> None:
        self._rooms: dict[str, Room] = {}
        self._soon = soon
        self._writer = writer or PlainWriter()

    def hold(self, stream: str, watcher: Watcher) -> None:
        """Keep everything of a stream for a watcher, from now until `release`."""
        room = self._rooms.get(stream)
        if room is None:
            room = self._rooms[stream] = Room(self._soon, self._writer)
        room.drop(watcher)
        room.hold(watcher)

    def release(self, stream: str, watcher: Watcher, offset: int) -> None:
        """Hand over what was kept from after `offset` on, and go on live."""
        room = self._rooms.get(stream)
        kept = room.take_held(watcher) if room is not None else None
        if room is None or kept is None:
            return
        for at, frame in kept:
            if at == _SIGNAL:
                watcher.deliver_signal(frame)
            elif at > offset:
                watcher.deliver(frame)
        room.let_in(watcher)

    def drop(self, stream: str, watcher: Watcher) -> bool:
        """Stop watching; tell whether there was anything to stop."""
        room = self._rooms.get(stream)
        if room is None:
            return False
        was_there = room.drop(watcher)
        if room.is_empty():
            del self._rooms[stream]
        return was_there

    def is_held(self, stream: str, watcher: Watcher) -> bool:
        """Tell whether a watcher is still being subscribed (and has not lost access meanwhile)."""
        room = self._rooms.get(stream)
        return room is not None and room.is_held(watcher)

    def is_live(self, stream: str, watcher: Watcher) -> bool:
        """Tell whether a watcher gets a stream's events as they come."""
        room = self._rooms.get(stream)
        return room is not None and room.is_live(watcher)

    def is_watched(self, stream: str) -> bool:
        """Tell whether anybody follows a stream here."""
        return stream in self._rooms

    def watchers(self, stream: str) -> Iterator[Watcher]:
        """Give a stream's watchers, as they are now."""
        room = self._rooms.get(stream)
        if room is not None:
            yield from room.everybody()

    def fan_out(self, stream: str, offset: int, frame: Frame) -> None:
        """Give one event to every watcher of its stream."""
        room = self._rooms.get(stream)
        if room is not None:
            room.keep_for_held(offset, frame)
            room.give(frame)

    def fan_out_signal(self, stream: str, frame: Frame, but: Watcher | None = None) -> None:
        """Give a signal to whoever watches live, but not to its maker."""
        room = self._rooms.get(stream)
        if room is not None:
            room.give_signal(frame, but)

    def fan_out_presence(self, stream: str, frame: Frame, but: Watcher | None = None) -> None:
        """Give a signal of presence to whoever asked for it, but not to its maker.

        It is kept for who is held: the roster in their answer may be older.
        """
        room = self._rooms.get(stream)
        if room is None:
            return

        def wants(watcher: Watcher) -> bool:
            return watcher is not but and watcher.wants_presence(stream)

        room.keep_for_held(_SIGNAL, frame, wants)
        for watcher in filter(wants, room.live()):
            watcher.deliver_signal(frame)
