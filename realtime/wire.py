"""Between Engine.IO and the gateway: sessions that begin with polling, and their upgrades.

Takes over where python-engineio hands out a message, so that each packet is parsed strictly,
handled in order and acked even when it is malformed; and mends what a stranger could use
against us: sessions that never end, queues without a bound, handshakes that are none.
"""

from typing import Any

import structlog
from engineio import packet as engine_packet
from engineio.payload import Payload

from realtime import green
from realtime.connection import Connection
from realtime.deflate import Packing, SharedText
from realtime.room import Frame
from realtime.session import MOST_TRIES, Gate
from realtime.socketio_text import LEAVE, Elsewhere, Malformed, Sent, read_packet
from realtime.websocket import Green, WebSocket, WebSocketApp
from realtime.writers import Send

_log = structlog.get_logger(__name__)


def plug_in_websocket(server: Any, packing: Packing | None = None) -> None:
    """Give Engine.IO our WebSocket, queue and greenlets in place of its own.

    Each Engine.IO socket then knows its WebSocket, so that it can be aborted.
    """
    greenlets = Green(green.make_lock, green.later, green.sleep, green.mark_handled)

    def app(handler: Any, engine: Any) -> WebSocketApp:
        def run(websocket: WebSocket) -> None:
            socket = handler.__self__
            is_upgrade = socket.connected
            socket.websocket = websocket
            try:
                handler(websocket)
            except (ValueError, TypeError, RecursionError) as error:
                # Our own handlers let nothing through: this is a frame that Engine.IO can't read.
                _log.info("frame refused", reason=type(error).__name__)
                websocket.close(1002)
            finally:
                if is_upgrade and not socket.upgraded:
                    # Something in between lets handshakes through and no frames: polling goes on.
                    socket.upgrading = False
                else:
                    # Engine.IO itself would keep the session until its pings are missed.
                    socket.queue.put(None)
                    socket.close(wait=False, abort=True)

        return WebSocketApp(greenlets, run, engine, packing=packing)

    # Engine.IO takes at most 16 packets in one POST; stock clients send all that they have. What
    # may be sent is bounded by the size of the POST, and by the limit on packets a second.
    Payload.max_decode_packets = 10_000
    server.eio.disconnect = lambda sid=None: _end_session(server.eio, sid)
    ours = {"websocket": app, "queue": green.ByteQueue, "thread": green.Task}
    server.eio._async = {**server.eio._async, **ours}


def _end_session(engine: Any, sid: str | None) -> None:
    # Engine.IO's own way waits until the queue is empty: for ever, where nobody polls any more.
    socket = engine.sockets.pop(sid, None)
    if socket is not None:
        socket.close(wait=False)


def _take_posts_in_turn(socket: Any) -> None:
    # Packets of one client are handled in order, also where it sends two POSTs at once.
    handle, turn = socket.handle_post_request, green.make_lock()
    socket.posts = 0

    def handle_in_turn(environ: dict[str, Any]) -> None:
        socket.posts += 1
        try:
            with turn:
                handle(environ)
        finally:
            socket.posts -= 1

    socket.handle_post_request = handle_in_turn


class Polled:
    """A session of Engine.IO's that began with polling: it carries what a `Connection` sends."""

    is_visited = False

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing can be sent any more."""
        return bool(self._socket.closed or self._socket.closing)

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent."""
        return int(self._socket.queue.queued_bytes)

    @property
    def packing(self) -> Packing | None:
        """Tell how what is sent may be compressed: after an upgrade, if that was agreed on."""
        websocket = getattr(self._socket, "websocket", None)
        return None if websocket is None else websocket.packing

    def send_frame(self, frame: Frame) -> None:
        """Send something that others may be sent, too."""
        packet: Any = frame.ready
        if packet is None:
            text = f'2["{frame.name}",{frame.json.decode()}]'
            packet = frame.ready = engine_packet.Packet(engine_packet.MESSAGE, text)
            packet.encode_cache = SharedText("4" + text)
        if (packing := self.packing) is not None:
            packet.encode_cache.packed = frame.packed(packing)
        self._socket.send(packet)

    def send_text(self, text: str) -> None:
        """Send a packet of Socket.IO."""
        self._socket.send(engine_packet.Packet(engine_packet.MESSAGE, text))

    def sender(self) -> Send | None:
        """Give nothing: all goes by Engine.IO's queue."""
        return None

    def take_over(self, data: bytes, sent: int) -> None:
        """Never be asked."""
        raise NotImplementedError

    def end(self, *, for_good: bool) -> None:
        """Close, after all that waits; `for_good`: stock clients shall not come back."""
        if for_good:
            self._socket.send(engine_packet.Packet(engine_packet.CLOSE))
        if self._socket.upgraded:
            # The end of the queue: the WebSocket is closed once all is written. A client that
            # polls takes what is queued with its next poll, and is forgotten by `abort`.
            self._socket.queue.put(None)

    def abort(self) -> None:
        """Close at once, whatever still waits."""
        abort(self._socket)

    def has_more(self) -> bool:
        """Tell whether something was received that was not handled yet."""
        websocket = getattr(self._socket, "websocket", None)
        return bool(self._socket.posts or (websocket is not None and websocket.has_waiting))

    def forget_if_told(self) -> None:
        """Forget who polls and took the goodbye."""
        if not self._socket.upgraded and self._socket.queue.empty():
            self.abort()


def abort(socket: Any) -> None:
    """Close an Engine.IO socket at once, whatever still waits."""
    if socket.upgraded and hasattr(socket, "websocket"):
        socket.websocket.abort()
    elif not socket.closed:
        socket.close(wait=False, abort=True)


class Wire:
    """Stands between Engine.IO and the gateway. `sid` names a session."""

    def __init__(
        self, server: Any, gate: Gate, *, auth_timeout_s: float, max_queued_bytes: int
    ) -> None:
        self._server = server
        # What waits for a connection is judged, with a goodbye, at `max_queued_bytes`. This is
        # for what does not come from us: Engine.IO's and Socket.IO's own answers.
        self._max_bytes = 2 * max_queued_bytes
        self._gate = gate
        self._auth_timeout_s = auth_timeout_s
        self._greeting: set[str] = set()
        self._is_leaving = False
        server.eio.on("connect", self._on_open)
        server.eio.on("message", self._on_message)
        server.eio.on("disconnect", self._on_close)

    def _on_open(self, sid: str, environ: dict[str, Any]) -> None:
        self._server._handle_eio_connect(sid, environ)
        socket = self._server.eio.sockets[sid]
        socket.queue.max_bytes = self._max_bytes
        socket.queue.on_overflow = lambda: abort(socket)
        _take_posts_in_turn(socket)
        green.later(self._auth_timeout_s, self._close_stranger, sid)

    def _close_stranger(self, sid: str) -> None:
        if self._gate.find(sid) is None:
            self._close(sid)

    def _close(self, sid: str) -> None:
        socket = self._server.eio.sockets.get(sid)
        if socket is not None and not socket.closed:
            socket.close(wait=False)

    def leave(self) -> bool:
        """Let nobody connect any more; tell whether no session is left."""
        self._is_leaving = True
        # Of a session of polling that was closed only its memory is there for a while.
        left = [
            (sid, socket)
            for sid, socket in list(self._server.eio.sockets.items())
            if socket.upgraded or not socket.closed
        ]
        for sid, socket in left:
            if sid not in self._greeting and self._gate.find(sid) is None:
                self._turn_away(socket)
        return not left

    def _turn_away(self, socket: Any) -> None:
        # Without Engine.IO's own goodbye: after that, stock clients do not come back.
        if not socket.upgraded:
            socket.close(wait=False, abort=True)
        elif not socket.session.get("turned_away"):
            socket.session["turned_away"] = True
            socket.queue.put(None)

    def _on_close(self, sid: str, reason: str) -> None:
        try:
            self._gate.on_gone(sid)
        except Exception:  # noqa: BLE001 - or the library would never forget the client
            _log.exception("disconnect handler failed")
        self._server._handle_eio_disconnect(sid, reason)

    def _on_message(self, sid: str, data: Any) -> None:
        connection = self._gate.find(sid)
        if connection is None:
            self._greet(sid, data)
        elif isinstance(data, str):
            self._take(sid, connection, data)

    def _greet(self, sid: str, data: Any) -> None:
        if self._is_leaving:
            return  # `leave` closes it
        self._greeting.add(sid)
        try:
            self._try_to_greet(sid, data)
        finally:
            self._greeting.discard(sid)

    def _try_to_greet(self, sid: str, data: Any) -> None:
        if not isinstance(data, str) or not data.startswith("0") or not self._may_try(sid):
            self._close(sid)
            return
        try:
            self._server._handle_eio_message(sid, data)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's packet brings about
            _log.info("connect packet refused", reason=type(error).__name__)
            self._close(sid)
            return
        if self._is_closed(sid):
            # It was closed while the token was looked up: the library has forgotten it already.
            self._on_close(sid, "transport close")
        elif (connection := self._gate.find(sid)) is not None:
            self._gate.on_connected(connection)

    def _is_closed(self, sid: str) -> bool:
        socket = self._server.eio.sockets.get(sid)
        return socket is None or bool(socket.closed)

    def _may_try(self, sid: str) -> bool:
        socket = self._server.eio.sockets.get(sid)
        if socket is None:
            return False
        socket.session["tries"] = socket.session.get("tries", 0) + 1
        return int(socket.session["tries"]) <= MOST_TRIES

    def _take(self, sid: str, connection: Connection, data: str) -> None:
        packet = read_packet(data)
        if isinstance(packet, Sent):
            self._gate.on_packets(connection, [packet])
        elif isinstance(packet, Malformed):
            self._gate.on_malformed(connection, packet.detail, packet.ack_id)
        elif packet is LEAVE:
            self._close(sid)
        elif isinstance(packet, Elsewhere) and self._may_try(sid):
            # The library refuses it, in the words of the protocol.
            self._server._handle_eio_message(sid, data)
