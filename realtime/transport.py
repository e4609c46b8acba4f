"""From Engine.IO's sockets to connections and packets, and back.

Takes over where python-engineio hands out a message, so that each packet is parsed strictly,
handled in order and acked even when it is malformed. What waits for one connection is bounded
by bytes: signals are dropped first, then the connection is cut off, and resumes by position.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from engineio import packet as engine_packet
from engineio.payload import Payload

from core import json
from core.callers import Caller
from core.ids import new_id
from core.metrics import CUTS
from realtime import green
from realtime.hub import Frame
from realtime.limits import Bucket
from realtime.websocket import Green, WebSocket, WebSocketApp

_log = structlog.get_logger(__name__)

# How long somebody who can't keep up may take to read the goodbye.
_GOODBYE_S = 5.0
_EVENT = re.compile(r"2(?:/,)?(\d{0,15})(\[.*)\Z", re.DOTALL)
_BINARY_EVENT = re.compile(r"5\d{1,2}-(?:/,)?(\d{0,15})\[")
_MALFORMED = re.compile(r"2(?:/,)?(\d{0,15})")
_OTHER_NAMESPACE = re.compile(r"0/[^,]")


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
        "_limits",
        "_socket",
        "bucket",
        "caller",
        "id",
        "is_ending",
        "streams",
        "timers",
    )

    def __init__(self, socket: Any, caller: Caller, limits: ConnectionLimits) -> None:
        self.id = new_id()
        self.caller = caller
        self.streams: set[str] = set()
        self.timers: list[green.Timer] = []
        self.bucket = Bucket(limits.max_events_per_s, time.monotonic())
        self.is_ending = False
        self._socket = socket
        self._limits = limits

    @property
    def user_id(self) -> str:
        """Whose connection it is."""
        return self.caller.user_id

    def deliver(self, frame: Frame) -> None:
        """Queue what must not be lost; cut the connection off where there is no room."""
        if not self._send(packet_of(frame)):
            self.cut()

    def deliver_signal(self, frame: Frame) -> None:
        """Queue what may be dropped."""
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
        if retry == "never" or not self._socket.upgraded:
            # In a greenlet: closing runs the disconnect handlers, and we may be fanning out.
            green.spawn(self._socket.close, False)
        else:
            # The end of the queue closes the WebSocket once all is written. Engine.IO's own
            # goodbye would tell stock clients never to come back.
            self._socket.queue.put(None)
        # Not one of `timers`, which end with the session: this one ends the socket under it.
        green.later(_GOODBYE_S, self.abort)

    def abort(self) -> None:
        """Close at once, whatever still waits."""
        websocket = getattr(self._socket, "websocket", None)
        if websocket is not None:
            websocket.abort()

    def cancel_timers(self) -> None:
        """Forget what was to come."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


def plug_in_websocket(server: Any) -> None:
    """Give Engine.IO our WebSocket and our queue in place of its own.

    Each Engine.IO socket then knows its WebSocket, so that it can be aborted.
    """
    greenlets = Green(green.make_lock, green.later, green.sleep, green.mark_handled)

    def app(handler: Any, engine: Any) -> WebSocketApp:
        def run(websocket: WebSocket) -> object:
            handler.__self__.websocket = websocket
            return handler(websocket)

        return WebSocketApp(greenlets, run, engine)

    # Engine.IO takes at most 16 packets in one POST; stock clients send all that they have. What
    # may be sent is bounded by the size of the POST, and by the limit on packets a second.
    Payload.max_decode_packets = 10_000
    server.eio._async = {**server.eio._async, "websocket": app, "queue": green.ByteQueue}


def origin_check(origins: list[str]) -> Callable[[str, dict[str, Any]], bool]:
    """Judge where a page comes from: the address that it calls, or one of `origins`."""

    def is_allowed(origin: str, environ: dict[str, Any]) -> bool:
        scheme, host = environ.get("wsgi.url_scheme"), environ.get("HTTP_HOST")
        return origin == f"{scheme}://{host}" or origin in origins

    return is_allowed


class PacketHandler(Protocol):
    """What becomes of connections and packets: the gateway."""

    def on_connected(self, sid: str) -> None:
        """A client was accepted, and has been told so."""

    def on_packet(self, sid: str, name: str, args: list[Any], ack_id: str | None) -> None:
        """A client sent an event."""

    def on_malformed(self, sid: str, detail: str, ack_id: str | None) -> None:
        """A client sent something that is no event."""

    def on_gone(self, sid: str) -> None:
        """A connection is over."""

    def is_connected(self, sid: str) -> bool:
        """Tell whether a client was accepted."""


class Wire:
    """Stands between Engine.IO and the packet handler. `sid` names an Engine.IO session."""

    def __init__(self, server: Any, handler: PacketHandler, auth_timeout_s: float) -> None:
        self._server = server
        self._handler = handler
        self._auth_timeout_s = auth_timeout_s
        server.eio.on("connect", self._on_open)
        server.eio.on("message", self._on_message)
        server.eio.on("disconnect", self._on_close)

    def _on_open(self, sid: str, environ: dict[str, Any]) -> None:
        self._server._handle_eio_connect(sid, environ)
        green.later(self._auth_timeout_s, self._close_stranger, sid)

    def _close_stranger(self, sid: str) -> None:
        if not self._handler.is_connected(sid):
            self._close(sid)

    def _close(self, sid: str) -> None:
        socket = self._server.eio.sockets.get(sid)
        if socket is not None and not socket.closed:
            socket.close(wait=False)

    def _on_close(self, sid: str, reason: str) -> None:
        try:
            self._handler.on_gone(sid)
        except Exception:  # noqa: BLE001 - or the library would never forget the client
            _log.exception("disconnect handler failed")
        self._server._handle_eio_disconnect(sid, reason)

    def _on_message(self, sid: str, data: Any) -> None:
        if not self._handler.is_connected(sid):
            self._greet(sid, data)
        elif isinstance(data, str):
            self._take(sid, data)

    def _greet(self, sid: str, data: Any) -> None:
        if not isinstance(data, str) or not data.startswith("0"):
            self._close(sid)
            return
        self._server._handle_eio_message(sid, data)
        if self._handler.is_connected(sid):
            self._handler.on_connected(sid)

    def _take(self, sid: str, data: str) -> None:
        event = _EVENT.match(data)
        if event is not None:
            ack_id, body = event[1] or None, event[2]
            self._parse(sid, ack_id, body)
        elif binary := _BINARY_EVENT.match(data):
            self._handler.on_malformed(sid, "Binary data is not taken.", binary[1] or None)
        elif data.startswith("1"):
            self._close(sid)
        elif _OTHER_NAMESPACE.match(data):
            # The library refuses it, in the words of the protocol.
            self._server._handle_eio_message(sid, data)
        elif malformed := _MALFORMED.match(data):
            self._handler.on_malformed(sid, "This is no Socket.IO event.", malformed[1] or None)

    def _parse(self, sid: str, ack_id: str | None, body: str) -> None:
        try:
            items = json.loads(body)
        except json.JsonError:
            self._handler.on_malformed(sid, "The packet is not JSON.", ack_id)
            return
        if not items or not isinstance(items[0], str):
            self._handler.on_malformed(sid, "The packet has no event name.", ack_id)
            return
        self._handler.on_packet(sid, items[0], items[1:], ack_id)
