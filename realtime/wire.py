"""Between Engine.IO and the gateway: sessions and messages come in here.

Takes over where python-engineio hands out a message, so that each packet is parsed strictly,
handled in order and acked even when it is malformed; and mends what a stranger could use
against us: sessions that never end, queues without a bound, handshakes that are none.
"""

import re
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from engineio.payload import Payload

from core import json
from realtime import green
from realtime.transport import abort
from realtime.websocket import Green, WebSocket, WebSocketApp

_log = structlog.get_logger(__name__)

# So often one session may ask to connect, to whichever namespace.
_MOST_TRIES = 20
_EVENT = re.compile(r"2(?:/,)?(\d{0,15})(\[.*)\Z", re.DOTALL)
_BINARY_EVENT = re.compile(r"5\d{1,2}-(?:/,)?(\d{0,15})\[")
_MALFORMED = re.compile(r"2(?:/,)?(\d{0,15})")
_OTHER_NAMESPACE = re.compile(r"0/[^,]")


def plug_in_websocket(server: Any) -> None:
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

        return WebSocketApp(greenlets, run, engine)

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

    def __init__(
        self, server: Any, handler: PacketHandler, *, auth_timeout_s: float, max_queued_bytes: int
    ) -> None:
        self._server = server
        # What waits for a connection is judged, with a goodbye, at `max_queued_bytes`. This is
        # for what does not come from us: Engine.IO's and Socket.IO's own answers.
        self._max_bytes = 2 * max_queued_bytes
        self._handler = handler
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
        if not self._handler.is_connected(sid):
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
            if sid not in self._greeting and not self._handler.is_connected(sid):
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
        elif self._handler.is_connected(sid):
            self._handler.on_connected(sid)

    def _is_closed(self, sid: str) -> bool:
        socket = self._server.eio.sockets.get(sid)
        return socket is None or bool(socket.closed)

    def _may_try(self, sid: str) -> bool:
        socket = self._server.eio.sockets.get(sid)
        if socket is None:
            return False
        socket.session["tries"] = socket.session.get("tries", 0) + 1
        return int(socket.session["tries"]) <= _MOST_TRIES

    def _take(self, sid: str, data: str) -> None:
        event = _EVENT.match(data)
        if event is not None:
            ack_id, body = event[1] or None, event[2]
            self._parse(sid, ack_id, body)
        elif binary := _BINARY_EVENT.match(data):
            self._handler.on_malformed(sid, "Binary data is not taken.", binary[1] or None)
        elif data.startswith("1"):
            self._close(sid)
        elif _OTHER_NAMESPACE.match(data) and self._may_try(sid):
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
