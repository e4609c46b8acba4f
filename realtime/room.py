"""The watchers of one stream on this node, and how one event reaches all of them.

Most are *direct*: nothing waits for them, so what is to be written goes straight to the system.
What comes in one round of the loop is joined, and written in the next: at rest that is at once,
under load one write carries many events. All others (who is slow, who polls, who follows by SSE)
are handed each frame as it comes. Nobody changes between the two while frames wait that one side
has seen and the other has not.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol, TypeGuard

import structlog

from core import json
from core.metrics import DELIVERIES
from core.positions import Position
from realtime.deflate import Packing
from realtime.frames import encode_text
from realtime.writers import FAILED, Send, Writer

_log = structlog.get_logger(__name__)

# A frame that is no event goes to everybody, whatever they have seen.
ALWAYS = 2**63
# So many are written to before others have a turn.
_SHARE = 1_000
_ADDED_SHARE = 16  # once one in so many was added, a room is put in order again
# More than this at once would only wait in front of the clients.
_MOST_JOINED_BYTES = 32_768
# More than this does not wait for the next round.
_MOST_WAITING_BYTES = 1 << 20


class Frame:
    """One thing to send to many, encoded once. `ready` keeps what another transport makes of it.

    `stream` and `position` say where a watcher stands that has taken it; a signal moves nobody.
    """

    __slots__ = ("_packed", "_wire", "json", "name", "position", "ready", "stream")

    def __init__(
        self, name: str, body: bytes, stream: str = "", position: Position | None = None
    ) -> None:
        self.name = name
        self.json = body
        self.stream = stream
        self.position = position
        self.ready: object = None
        self._wire = self._packed = b""

    @classmethod
    def of(cls, name: str, value: object) -> "Frame":
        """Render a value."""
        return cls(name, json.dumps(value))

    @property
    def wire(self) -> bytes:
        """Give it as a WebSocket's frame with an event of Socket.IO."""
        if not self._wire:
            self._wire = encode_text(self._text())
        return self._wire

    def packed(self, packing: Packing | None) -> bytes:
        """Give the same as a client takes it who agreed to compression, or did not."""
        if packing is None:
            return self.wire
        if not self._packed:
            self._packed = packing.pack(self._text()) or self.wire
        return self._packed

    def _text(self) -> bytes:
        return b'42["%s",%s]' % (self.name.encode(), self.json)


class Watcher(Protocol):
    """Somebody who follows streams."""

    __slots__ = ()

    @property
    def user_id(self) -> str:
        """Whose eyes these are."""

    def wants_presence(self, stream: str) -> bool:
        """Tell whether it asked for signals of who comes and goes."""

    def deliver(self, frame: Frame) -> None:
        """Take what must not be lost, or be cut off. Does not wait."""

    def deliver_signal(self, frame: Frame) -> None:
        """Take what may be dropped. Does not wait."""


class _Direct:
    """Marks them: to ask whether something is of a protocol takes ten times as long."""

    __slots__ = ()


class DirectWatcher(_Direct, Watcher):
    """A watcher to whose connection frames may be written straight away."""

    __slots__ = ("_rooms",)

    def __init__(self) -> None:
        self._rooms: tuple[Room, ...] = ()

    @property
    def packing(self) -> Packing | None:
        """Tell how what is written may be compressed; None: not at all."""
        return None

    def sender(self) -> Send | None:
        """Give what writes to the system, and tells how much it took; None: not now."""
        raise NotImplementedError

    def take_over(self, data: bytes, sent: int) -> None:
        """Go on with frames of which the sender took a part."""
        raise NotImplementedError

    def fail(self) -> None:
        """Hear that the sender failed."""
        raise NotImplementedError

    def enter_room(self, room: "Room") -> None:
        """Tell a room from now on whether it may write directly."""
        self._rooms = (*self._rooms, room)

    def leave_room(self, room: "Room") -> None:
        """Tell a room nothing more."""
        self._rooms = tuple(other for other in self._rooms if other is not room)

    def leave_rooms(self) -> None:
        """Be written to directly no more."""
        self.on_blocked(is_blocked=True)

    def on_blocked(self, *, is_blocked: bool) -> None:
        """Tell the rooms that writes wait, or go straight to the system again."""
        for room in self._rooms:
            if is_blocked:
                room.take_aside(self)
            else:
                room.take_back(self)


def _is_direct(watcher: Watcher) -> TypeGuard[DirectWatcher]:
    return isinstance(watcher, _Direct)


# Frames that leave together, each with whom it is not for.
Joined = list[tuple[Frame, Watcher | None]]


class _Writing:
    """Joined frames that are on their way to many."""

    __slots__ = ("data", "joined", "left", "then")

    def __init__(
        self,
        joined: Joined,
        left: dict[DirectWatcher, Any],
        packing: Packing | None = None,
        then: "_Writing | None" = None,
    ) -> None:
        self.joined = joined
        self.data = b"".join([frame.packed(packing) for frame, _ in joined])
        self.left = left
        # The same frames, for those who take them compressed.
        self.then = then


class Room:
    """One stream's watchers."""

    __slots__ = ("_added", "_aside", "_direct", "_held", "_joined", "_joined_bytes", "_others",
                 "_packed", "_soon", "_writer", "_writing")  # fmt: skip

    def __init__(self, soon: Callable[..., object], writer: Writer) -> None:
        # With what the writer calls their sockets by.
        self._direct: dict[DirectWatcher, Any] = {}
        self._added = 0  # since they were in order
        self._others: dict[Watcher, None] = {}
        # Of the others: who could be direct, once what is joined now has left.
        self._aside: dict[DirectWatcher, None] = {}
        self._held: dict[Watcher, list[tuple[int, Frame]]] = {}
        self._joined: Joined = []
        self._joined_bytes = 0
        self._writing: _Writing | None = None
        # Of the direct ones: who agreed to compression.
        self._packed: dict[DirectWatcher, Packing] | None = None
        self._soon = soon
        self._writer = writer

    # Who is here.

    def is_empty(self) -> bool:
        """Tell whether nobody is left."""
        return not (self._direct or self._others or self._held)

    def is_held(self, watcher: Watcher) -> bool:
        """Tell whether somebody is being subscribed."""
        return watcher in self._held

    def is_live(self, watcher: Watcher) -> bool:
        """Tell whether somebody gets what comes."""
        return watcher in self._direct or watcher in self._others

    def live(self) -> list[Watcher]:
        """Give those who get what comes, as they are now."""
        return [*self._direct, *self._others]

    def everybody(self) -> list[Watcher]:
        """Give all, also those who are being subscribed."""
        return [*self.live(), *self._held]

    def hold(self, watcher: Watcher) -> None:
        """Keep what comes for somebody."""
        self._held[watcher] = []

    def take_held(self, watcher: Watcher) -> list[tuple[int, Frame]] | None:
        """Give what was kept, and keep no more; None: nothing was to be kept."""
        return self._held.pop(watcher, None)

    def keep_for_held(
        self, at: int, frame: Frame, wants: Callable[[Watcher], bool] | None = None
    ) -> None:
        """Keep a frame for those who are being subscribed."""
        for watcher, kept in self._held.items():
            if wants is None or wants(watcher):
                kept.append((at, frame))

    def let_in(self, watcher: Watcher) -> None:
        """Have somebody get what comes from now on."""
        self._others[watcher] = None
        if _is_direct(watcher):
            watcher.enter_room(self)
            self.take_back(watcher)

    def drop(self, watcher: Watcher) -> bool:
        """Let somebody go, who is given what waited for it; tell whether it was here."""
        if _is_direct(watcher):
            watcher.leave_room(self)
            if watcher in self._direct:
                self.take_aside(watcher)
            self._aside.pop(watcher, None)
        was_live = self._others.pop(watcher, watcher) is None
        return self._held.pop(watcher, None) is not None or was_live

    # Direct or not.

    def take_aside(self, watcher: DirectWatcher) -> None:
        """Hand somebody each frame by itself from now on, first those that wait for it."""
        if self._direct.pop(watcher, None) is None:
            self._aside.pop(watcher, None)
            return
        if self._packed:
            self._packed.pop(watcher, None)
        self._others[watcher] = None
        writing = self._writing
        while writing is not None:
            if writing.left.pop(watcher, None) is not None:
                _hand(watcher, writing.joined)
            writing = writing.then
        _hand(watcher, self._joined)

    def take_back(self, watcher: DirectWatcher) -> None:
        """Write straight to somebody, as soon as all wait for the same."""
        if watcher not in self._others:
            return
        if self._has_more():
            self._aside[watcher] = None
            return
        send = watcher.sender()
        if send is not None:
            del self._others[watcher]
            self._direct[watcher] = self._writer.handle(send)
            self._added += 1
            if watcher.packing is not None:
                self._packed = self._packed or {}
                self._packed[watcher] = watcher.packing

    # What comes.

    def give(self, frame: Frame) -> None:
        """Give an event, or another thing that must not be lost, to whoever is live."""
        # As they are before: joining may write, and make some direct, or others slow.
        others = list(self._others)
        self._join(frame, None)
        for watcher in others:
            watcher.deliver(frame)

    def give_signal(self, frame: Frame, but: Watcher | None) -> None:
        """Give a signal to whoever is live, but not to its maker."""
        others = list(self._others)
        self._join(frame, but)
        for watcher in others:
            if watcher is not but:
                watcher.deliver_signal(frame)

    def _join(self, frame: Frame, but: Watcher | None) -> None:
        DELIVERIES.inc(len(self._others))
        if not self._direct:
            return
        if not self._has_more():
            self._soon(self._write_on)
        self._joined.append((frame, but))
        self._joined_bytes += len(frame.json)
        if self._joined_bytes > _MOST_WAITING_BYTES:
            self._write_all()

    # Writing.

    def _write_on(self) -> None:
        # In the loop itself, which must not learn of a failure.
        if self._has_more():
            try:
                self._write_some()
            except Exception:  # noqa: BLE001 - see above
                _log.exception("fan-out failed")
        if self._has_more():
            self._soon(self._write_on)

    def _has_more(self) -> bool:
        return bool(self._joined) or self._writing is not None

    def _write_all(self) -> None:
        while self._has_more():
            self._write_some()

    def _write_some(self) -> None:
        writing = self._writing or self._begin()
        if len(writing.left) <= _SHARE:
            self._writing = writing.then
            self._write_to(writing.left, writing)
        else:
            self._writing = writing
            share = dict(islice(writing.left.items(), _SHARE))
            for watcher in share:
                del writing.left[watcher]
            self._write_to(share, writing)
        if not self._has_more():
            aside, self._aside = self._aside, {}
            for watcher in aside:
                self.take_back(watcher)

    def _write_to(self, share: dict[DirectWatcher, Any], writing: _Writing) -> None:
        late = self._writer.write(share, writing.data)
        DELIVERIES.inc(len(share) * len(writing.joined))
        for watcher, sent in late:
            if sent == FAILED:
                watcher.fail()
            else:
                watcher.take_over(writing.data, sent)

    def _begin(self) -> _Writing:
        # Who made a signal takes all that waits by itself, and in order.
        for maker in {but for _, but in self._joined if but is not None}:
            if _is_direct(maker) and maker in self._direct:
                self.take_aside(maker)
                self._aside[maker] = None
        joined = self._take_joined()
        self._put_in_order()
        left = dict(self._direct)
        if not self._packed:
            return _Writing(joined, left)
        packed = {watcher: left.pop(watcher) for watcher in [*left] if watcher in self._packed}
        then = _Writing(joined, packed, next(iter(self._packed.values())))
        return _Writing(joined, left, then=then) if left else then

    def _put_in_order(self) -> None:
        # What the kernel knows of thousands of sockets is in no cache: read side by side, as they
        # were opened, it costs a tenth less than here and there.
        if len(self._direct) > _SHARE and self._added * _ADDED_SHARE > len(self._direct):
            self._direct = self._writer.in_order(self._direct)
            self._added = 0

    def _take_joined(self) -> Joined:
        size = count = 0
        for frame, _ in self._joined:
            if count and size + len(frame.json) > _MOST_JOINED_BYTES:
                break
            size += len(frame.json)
            count += 1
        taken, self._joined = self._joined[:count], self._joined[count:]
        self._joined_bytes -= size
        return taken


def _hand(watcher: Watcher, joined: Joined) -> None:
    for frame, but in joined:
        if but is watcher:
            continue
        if frame.name == "signal":
            watcher.deliver_signal(frame)
        else:
            watcher.deliver(frame)
