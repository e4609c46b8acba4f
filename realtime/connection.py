"""One client's connection: what is sent to it, and how it ends.

What waits for it is bounded by bytes: signals are dropped first, then the connection is cut off,
and resumes by position.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from core import json
from core.callers import Caller
from core.ids import new_id
from core.metrics import CUTS
from realtime import green
from realtime.deflate import Packing
from realtime.hub import DirectWatcher, Frame
from realtime.limits import Bucket
from realtime.writers import Send

_log = structlog.get_logger(__name__)

# How long somebody who can't keep up may take to read the goodbye.
_GOODBYE_S = 5.0
# How long a goodbye waits for a client that never stops sending.
_PATIENCE_S = 3.0
_FEW_STREAMS = 8


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may do and hold."""

    max_queued_bytes: int
    max_events_per_s: float
    max_subscriptions: int


class Carrier(Protocol):
    """What brings packets to one client, and packets of it to us. Nothing of it waits."""

    # What is due in a while need not be remembered: it is looked for from time to time.
    is_visited: bool

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing can be sent any more."""

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent."""

    @property
    def packing(self) -> Packing | None:
        """Tell how what is sent may be compressed; None: not at all."""

    def send_frame(self, frame: Frame) -> None:
        """Send something that others may be sent, too."""

    def send_text(self, text: str) -> None:
        """Send a packet of Socket.IO."""

    def sender(self) -> Send | None:
        """Give what writes straight to the system; None: there is no such thing, now or ever."""

    def take_over(self, data: bytes, sent: int) -> None:
        """Go on with frames of which `sender` has sent a part."""

    def end(self, *, for_good: bool) -> None:
        """Close, after all that waits; `for_good`: stock clients shall not come back."""

    def abort(self) -> None:
        """Close at once."""

    def has_more(self) -> bool:
        """Tell whether something was received that was not handled yet."""

    def forget_if_told(self) -> None:
        """Close, if its client took all that it was sent."""


_NO_STREAMS: frozenset[str] = frozenset()
_NO_TIMERS: tuple[green.Timer, ...] = ()


class Connection(DirectWatcher):
    """One authenticated client."""

    __slots__ = (
        "_carrier",
        "_farewell",
        "_limits",
        "_patient_until",
        "_presence_bucket",
        "_streams",
        "_under_way",
        "bucket",
        "caller",
        "id",
        "is_ending",
        "presence",
        "profile",
        "timers",
    )

    def __init__(
        self, carrier: Carrier, caller: Caller, limits: ConnectionLimits, id_: str = ""
    ) -> None:
        super().__init__()
        self.id = id_ or new_id()
        self.caller = caller
        self._streams: tuple[str, ...] | set[str] = ()
        # Of those, the ones where it is seen, and sees who comes and goes.
        self.presence: frozenset[str] = _NO_STREAMS
        # Its user's, until it is greeted with it.
        self.profile: dict[str, Any] | None = None
        self.timers = _NO_TIMERS
        self.bucket = Bucket(limits.max_events_per_s, time.monotonic())
        self._presence_bucket: Bucket | None = None
        self.is_ending = False
        # Packets that are being handled; the greeting counts as the first.
        self._under_way = 1
        self._farewell: tuple[str, str, str, float] | None = None
        self._patient_until = 0.0
        self._carrier = carrier
        self._limits = limits

    @property
    def user_id(self) -> str:
        """Whose connection it is."""
        return self.caller.user_id

    @property
    def session_id(self) -> str:
        """The login session behind it: one device."""
        return self.caller.session_id

    @property
    def is_visited(self) -> bool:
        """Tell whether it is looked after from time to time."""
        return self._carrier.is_visited

    @property
    def presence_bucket(self) -> Bucket:
        """How often it may be shown somewhere, or say how it is."""
        if self._presence_bucket is None:
            # One packet may show it in many streams, and each is work for everybody there. It
            # comes back to all of them at once, and says at once how it is.
            limits = self._limits
            most = max(limits.max_events_per_s, 2 * (limits.max_subscriptions + 1))
            self._presence_bucket = Bucket(limits.max_events_per_s, time.monotonic(), most)
        return self._presence_bucket

    @property
    def streams(self) -> Collection[str]:
        """Give what it watches, or asked to watch a moment ago."""
        return self._streams

    def watch(self, streams: Iterable[str]) -> None:
        """Note streams that it watches."""
        if isinstance(self._streams, set):
            self._streams.update(streams)
            return
        # Few are a tuple: the smallest set takes three times as much.
        names = {*self._streams, *streams}
        self._streams = names if len(names) > _FEW_STREAMS else tuple(names)

    def unwatch(self, streams: Collection[str]) -> None:
        """Note that it watches some streams no more."""
        if isinstance(self._streams, set):
            self._streams.difference_update(streams)
        elif streams:
            self._streams = tuple(name for name in self._streams if name not in streams)

    def is_over(self) -> bool:
        """Tell whether nothing more is to be done for it."""
        return self.is_ending or self._carrier.is_closed

    def wants_presence(self, stream: str) -> bool:
        """Tell whether it asked for signals of who comes and goes."""
        return stream in self.presence

    # What it is sent.

    def deliver(self, frame: Frame) -> None:
        """Queue what must not be lost; cut the connection off where there is no room."""
        if self._has_room_for(len(frame.json)):
            self._carrier.send_frame(frame)

    def deliver_signal(self, frame: Frame) -> None:
        """Queue what may be dropped: half of the room is kept for what may not."""
        is_room = self._carrier.queued_bytes < self._limits.max_queued_bytes // 2
        if is_room and self._fits(len(frame.json)):
            self.deliver(frame)

    def emit(self, name: str, value: object) -> None:
        """Queue something for this connection alone."""
        self.deliver(Frame.of(name, value))

    def ack(self, ack_id: str, value: object) -> None:
        """Queue the answer to a packet."""
        text = f"3{ack_id}[{json.dumps(value).decode()}]"
        if self._has_room_for(len(text)):
            self._carrier.send_text(text)

    def _has_room_for(self, size: int) -> bool:
        if self.is_over():
            return False
        if not self._fits(size):
            self.cut()
            return False
        return True

    def _fits(self, size: int) -> bool:
        return size <= self._limits.max_queued_bytes - self._carrier.queued_bytes

    @property
    def packing(self) -> Packing | None:
        """Tell how what is sent may be compressed."""
        return self._carrier.packing

    def sender(self) -> Send | None:
        """Give what writes straight to the system; None while something waits."""
        return None if self.is_ending else self._carrier.sender()

    def take_over(self, data: bytes, sent: int) -> None:
        """Go on with what `sender` has sent a part of."""
        self._carrier.take_over(data, sent)
        if self._carrier.queued_bytes > self._limits.max_queued_bytes:
            self.cut()

    def fail(self) -> None:
        """Be closed: the system takes nothing more for it."""
        self._carrier.abort()

    # Its end.

    def cut(self) -> None:
        """Cut off a connection that does not keep up. It loses nothing: it may resume."""
        CUTS.inc()
        _log.info("connection cut", connection=self.id, code="slow_consumer")
        self.say_goodbye("slow_consumer", "The connection does not keep up.", "now")

    def say_goodbye(self, code: str, detail: str, retry: str, retry_after: float = 0) -> None:
        """Say why, then close; in any case soon."""
        if self.is_over():
            return
        # What came before leaves before; and that may be too much for it, and end it right here.
        self.leave_rooms()
        if self.is_over():
            return
        self.is_ending = True
        bye = {"code": code, "detail": detail, "retry": retry, "retry_after": retry_after}
        # Past the bound on purpose: nothing is queued after it.
        self._carrier.send_frame(Frame.of("bye", bye))
        self._carrier.end(for_good=retry == "never")
        # Not one of `timers`, which end with the session: this one ends the carrier under it.
        green.later(_GOODBYE_S, self.abort)

    def begin_packet(self) -> None:
        """Something that it sent is being handled."""
        self._under_way += 1

    def end_packet(self) -> None:
        """It was answered."""
        self._under_way -= 1
        self.go_on_leaving()

    def leave_when_quiet(self, code: str, detail: str, retry: str, retry_after: float) -> None:
        """Say goodbye once all that was received of it is answered."""
        if self._farewell is None:
            self._farewell = (code, detail, retry, retry_after)
            self._patient_until = time.monotonic() + _PATIENCE_S
            self.go_on_leaving()

    def go_on_leaving(self) -> None:
        """Say the goodbye that waits, if it may be said; forget who polls and was told."""
        if self._farewell is None or self._under_way:
            return
        if not self.is_ending:
            if time.monotonic() > self._patient_until or not self._carrier.has_more():
                self.say_goodbye(*self._farewell)
        else:
            self._carrier.forget_if_told()

    def abort(self) -> None:
        """Close at once, whatever still waits."""
        self._carrier.abort()

    def cancel_timers(self) -> None:
        """Forget what was to come."""
        for timer in self.timers:
            timer.cancel()
        self.timers = _NO_TIMERS
