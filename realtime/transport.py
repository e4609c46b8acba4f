"""One client's connection: what is sent to it, and how it ends.

What waits for it is bounded by bytes: signals are dropped first, then the connection is cut off,
and resumes by position.
"""

import time
from dataclasses import dataclass
from typing import Any

import structlog
from engineio import packet as engine_packet

from core import json
from core.callers import Caller
from core.ids import new_id
from core.metrics import CUTS
from realtime import green
from realtime.hub import Frame
from realtime.limits import Bucket

_log = structlog.get_logger(__name__)

# How long somebody who can't keep up may take to read the goodbye.
_GOODBYE_S = 5.0
# How long a goodbye waits for a client that never stops sending.
_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may do and hold."""

    max_queued_bytes: int
    max_events_per_s: float
    max_subscriptions: int


def packet_of(frame: Frame) -> engine_packet.Packet:
    """Make the Engine.IO packet of a frame, once for all connections."""
    if frame.ready is None:
        text = f'2["{frame.name}",{frame.json.decode()}]'
        frame.ready = engine_packet.Packet(engine_packet.MESSAGE, text)
    return frame.ready


class Connection:
    """One authenticated client."""

    __slots__ = (
        "_farewell",
        "_limits",
        "_patient_until",
        "_socket",
        "_under_way",
        "bucket",
        "caller",
        "id",
        "is_ending",
        "presence",
        "presence_bucket",
        "streams",
        "timers",
    )

    def __init__(self, socket: Any, caller: Caller, limits: ConnectionLimits) -> None:
        self.id = new_id()
        self.caller = caller
        self.streams: set[str] = set()
        # Of those, the ones where it is seen, and sees who comes and goes.
        self.presence: set[str] = set()
        self.timers: list[green.Timer] = []
        self.bucket = Bucket(limits.max_events_per_s, time.monotonic())
        # One packet may show it in many streams, and each is work for everybody there. It comes
        # back to all of them at once, and says at once how it is.
        most = max(limits.max_events_per_s, 2 * (limits.max_subscriptions + 1))
        self.presence_bucket = Bucket(limits.max_events_per_s, time.monotonic(), most)
        self.is_ending = False
        # Packets that are being handled; the greeting counts as the first.
        self._under_way = 1
        self._farewell: tuple[str, str, str, float] | None = None
        self._patient_until = 0.0
        self._socket = socket
        self._limits = limits

    @property
    def user_id(self) -> str:
        """Whose connection it is."""
        return self.caller.user_id

    @property
    def session_id(self) -> str:
        """The login session behind it: one device."""
        return self.caller.session_id

    def is_over(self) -> bool:
        """Tell whether nothing more is to be done for it."""
        return self.is_ending or bool(self._socket.closed)

    def wants_presence(self, stream: str) -> bool:
        """Tell whether it asked for signals of who comes and goes."""
        return stream in self.presence

    def deliver(self, frame: Frame) -> None:
        """Queue what must not be lost; cut the connection off where there is no room."""
        if not self._send(packet_of(frame)):
            self.cut()

    def deliver_signal(self, frame: Frame) -> None:
        """Queue what may be dropped: half of the room is kept for what may not."""
        if self._socket.queue.queued_bytes < self._limits.max_queued_bytes // 2:
            self._send(packet_of(frame))

    def emit(self, name: str, value: object) -> None:
        """Queue something for this connection alone."""
        self.deliver(Frame.of(name, value))

    def ack(self, ack_id: str, value: object) -> None:
        """Queue the answer to a packet."""
        text = f"3{ack_id}[{json.dumps(value).decode()}]"
        if not self._send(engine_packet.Packet(engine_packet.MESSAGE, text)):
            self.cut()

    def _send(self, packet: engine_packet.Packet) -> bool:
        if self.is_ending or self._socket.closed:
            return True
        room = self._limits.max_queued_bytes - self._socket.queue.queued_bytes
        if len(packet.data) > room:
            return False
        self._socket.send(packet)
        return True

    def cut(self) -> None:
        """Cut off a connection that does not keep up. It loses nothing: it may resume."""
        CUTS.inc()
        _log.info("connection cut", connection=self.id, code="slow_consumer")
        self.say_goodbye("slow_consumer", "The connection does not keep up.", "now")

    def say_goodbye(self, code: str, detail: str, retry: str, retry_after: float = 0) -> None:
        """Say why, then close; in any case soon."""
        if self.is_ending or self._socket.closed:
            return
        self.is_ending = True
        bye = {"code": code, "detail": detail, "retry": retry, "retry_after": retry_after}
        # Past the bound on purpose: nothing is queued after it.
        self._socket.send(packet_of(Frame.of("bye", bye)))
        if retry == "never":
            # Engine.IO's own goodbye tells stock clients not to come back.
            self._socket.send(engine_packet.Packet(engine_packet.CLOSE))
        if self._socket.upgraded:
            # The end of the queue: the WebSocket is closed once all is written. A client that
            # polls takes what is queued with its next poll, and is forgotten by `abort`.
            self._socket.queue.put(None)
        # Not one of `timers`, which end with the session: this one ends the socket under it.
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
            if time.monotonic() > self._patient_until or not self._has_more():
                self.say_goodbye(*self._farewell)
        elif not self._socket.upgraded and self._socket.queue.empty():
            self.abort()

    def _has_more(self) -> bool:
        websocket = getattr(self._socket, "websocket", None)
        return bool(self._socket.posts or (websocket is not None and websocket.has_waiting))

    def abort(self) -> None:
        """Close at once, whatever still waits."""
        abort(self._socket)

    def cancel_timers(self) -> None:
        """Forget what was to come."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


def abort(socket: Any) -> None:
    """Close an Engine.IO socket at once, whatever still waits."""
    if socket.upgraded and hasattr(socket, "websocket"):
        socket.websocket.abort()
    elif not socket.closed:
        socket.close(wait=False, abort=True)
