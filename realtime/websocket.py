"""The WebSocket under Engine.IO: a strict handshake, then frames on the WSGI server's own socket.

`WebSocketApp` stands where engineio expects a class `(handler, server)` whose instances are WSGI
applications. A control frame goes out between two frames of a writer that is stuck, never inside
one, and the reader never waits for it.
"""

import base64
import fcntl
import hashlib
import logging
import os
import re
import socket
import struct
import sys
import termios
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from wsgiref.types import StartResponse, WSGIEnvironment

from realtime import frames
from realtime.deflate import READ_BYTES, Packing, agree, encode_packed, rest_after

_READ_BYTES = 16_384
_FAIR_SHARE = 64  # messages of one client that are handed out before others have a turn
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_HOST = re.compile(r"[^\s,/?#@]+")  # two of them come as one, with a comma between
_KEY = re.compile("[A-Za-z0-9+/]{22}==")  # 16 bytes
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\n%s\r\n"
)
_EXTENSIONS = "Sec-WebSocket-Extensions: %s\r\n"
# In the environ of a request: tells whether something came behind its head already.
HAS_EARLY = "fanfare.has_early"
logger = logging.getLogger(__name__)


class Green(NamedTuple):
    """What is needed of the greenlets, as `realtime.green` offers it."""

    make_lock: Callable[[], AbstractContextManager[object]]
    later: Callable[[float, Callable[[], None]], object]
    sleep: Callable[[float], None]
    mark_handled: Callable[[], None]


class ClosedError(ConnectionError):
    """The WebSocket takes nothing more: it is closed or closing, or its peer is gone."""


class Refusal(NamedTuple):
    """Why a request doesn't become a WebSocket."""

    status: str
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


def judge_handshake(environ: WSGIEnvironment) -> Refusal | None:
    """Judge a request by RFC 6455, 4.2.1; None lets it pass."""
    if environ["REQUEST_METHOD"] != "GET":
        return Refusal("405 Method Not Allowed", "a WebSocket starts with GET", (("Allow", "GET"),))
    if environ.get("SERVER_PROTOCOL") in ("HTTP/0.9", "HTTP/1.0"):
        return Refusal("400 Bad Request", "a WebSocket starts with HTTP/1.1")
    if not _HOST.fullmatch(environ.get("HTTP_HOST", "")):
        return Refusal("400 Bad Request", "the request does not name one Host")
    for name, wanted in (("HTTP_UPGRADE", "websocket"), ("HTTP_CONNECTION", "upgrade")):
        if wanted not in [word.strip().lower() for word in environ.get(name, "").split(",")]:
            return Refusal("400 Bad Request", "the request asks for no WebSocket")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13":
        headers = (("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket"))
        return Refusal("426 Upgrade Required", "only WebSocket version 13 is spoken", headers)
    if not _KEY.fullmatch(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
        return Refusal("400 Bad Request", "Sec-WebSocket-Key is not 16 bytes in base64")
    # A body would be taken for frames.
    if environ.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        return Refusal("400 Bad Request", "the request has a body")
    if environ.get(HAS_EARLY, bool)():
        return Refusal("400 Bad Request", "something came before the answer")
    return None


def answer_handshake(key: str, extensions: str = "") -> bytes:
    """Write the answer that makes a connection a WebSocket, with what of extensions is agreed."""
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    agreed = (_EXTENSIONS % extensions).encode() if extensions else b""
    return _SWITCHING % (base64.b64encode(digest), agreed)


def is_deflated(answer: bytes) -> bool:
    """Tell whether an answer agrees to compression: the only extension there is."""
    return b"\r\nSec-WebSocket-Extensions: " in answer


class WebSocket:
    """An open connection. One greenlet waits, any may send; engineio sets timeouts on `socket`."""

    def __init__(
        self,
        sock: socket.socket,
        green: Green,
        max_message_bytes: int,
        close_timeout_s: float,
        packing: Packing | None = None,
    ) -> None:
        self.socket = sock
        self.packing = packing  # not None: the client is agreed with on compression
        self._green = green
        self._close_timeout_s = close_timeout_s
        self._lock = green.make_lock()
        reader = frames.FrameReader if packing is None else frames.DeflatedReader
        self._frames = reader(max_message_bytes)
        self._most_read = _READ_BYTES if packing is None else READ_BYTES
        self._rest_s = 0.0  # before the next read, for what the last one brought
        self._inbox: list[str | bytes | frames.Close | frames.ProtocolError] = []  # reversed
        self._control = b""  # waits to be sent: a newer pong stands for the older, a close for all
        self._closing = self._ended = self._aborted = False
        self._senders = 0  # greenlets that hold the lock or wait for it
        self._busy = 0  # greenlets inside a call on the socket

    @property
    def has_waiting(self) -> bool:
        """Whether something was received that `wait` has not given yet, or not even looked at."""
        return bool(self._inbox) or self._count_unread() > 0

    def wait(self) -> str | bytes | None:
        """The next message; None once it's closed, by whomever, or the idle timeout has passed."""
        while not self._ended:
            if not self._inbox:
                self._receive()
                continue
            match self._inbox.pop():
                case frames.Close(code, reason) | frames.ProtocolError(code, reason):
                    self._ended = True
                    self._start_close(code, reason)
                case message:
                    if len(self._inbox) % _FAIR_SHARE == _FAIR_SHARE - 1:
                        self._green.sleep(0)
                    return message
        return None

    def send(self, message: str | bytes) -> None:
        """Send one message as one frame. Raises: ClosedError."""
        if isinstance(message, str):
            self._transmit(encode_packed(message, self.packing))
        else:
            self._transmit(frames.encode_binary(message))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye; `wait` gives None with the client's answer, or when that takes too long."""
        if not self._closing:
            self._inbox.clear()
            self._ended = self._frames.ended  # the client's close came already, and comes once
            self._start_close(code, reason)

    def abort(self) -> None:
        """Reset the connection now; who is parked in `wait` or `send` is woken. Never parks."""
        if self._aborted:
            return
        self._aborted = self._closing = self._ended = True
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            # Closed at once, it would leave them parked for ever; a shutdown wakes them. Only a
            # stuck writer needs the half of it that lets a FIN go ahead of the reset.
            self.socket.shutdown(socket.SHUT_RDWR if self._senders else socket.SHUT_RD)
        except OSError:
            pass  # the client or the WSGI server was faster
        self._release()

    def finish(self) -> None:
        """Close, and read until the client does: a reset for unread bytes overtakes the frame."""
        self.close()
        try:
            self._transmit()  # after a writer that still holds the close frame back
            self.socket.shutdown(socket.SHUT_WR)
            while self._read():
                self._green.sleep(0)
        except OSError:
            pass  # aborted meanwhile

    def accept(self, key: str, extensions: str = "") -> None:
        """Answer the handshake; whether the client is still there shows in `wait`."""
        try:
            self._transmit(answer_handshake(key, extensions))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass  # gone already, or not TCP

    def _receive(self) -> None:
        if self._rest_s:
            self._green.sleep(self._rest_s)
        data = self._read()
        events = self._frames.feed(data)
        if self._closing:
            self._ended |= not data or self._frames.ended
        elif data:
            self._sort(events)
        else:
            self.abort()  # a writer would stay stuck
        if len(data) == self._most_read:
            self._green.sleep(0)  # a client that floods would never let the others have a turn
        if self.packing is not None:
            messages = [event for event in events if isinstance(event, str | bytes)]
            self._rest_s = rest_after(sum(map(len, messages)))

    def _sort(self, events: list[frames.Event]) -> None:
        for event in events:
            if isinstance(event, frames.Ping):
                self._control = frames.encode_pong(event.payload)
            elif not isinstance(event, frames.Pong):
                self._inbox.append(event)
        self._inbox.reverse()
        self._send_control()

    def _start_close(self, code: int | None, reason: str) -> None:
        self._control = frames.encode_close(code, reason)
        self._closing = True
        self._green.later(self._close_timeout_s, self.abort)
        self._send_control()

    def _send_control(self) -> None:
        # A writer that is at work sends it after its frame: it may be stuck because the client
        # is waiting for us to read.
        if self._control and not self._senders:
            try:
                self._transmit()
            except ClosedError:
                pass  # `wait` tells

    def _transmit(self, frame: bytes = b"") -> None:
        self._senders += 1
        try:
            with self._lock:
                late = self._closing
                if frame and not late:
                    self._write(frame)
                while self._control:
                    control, self._control = self._control, b""
                    self._write(control)
        finally:
            self._senders -= 1
        if frame and late:
            raise ClosedError("the WebSocket is closed")

    def _write(self, frame: bytes) -> None:
        whole = False
        self._busy += 1
        try:
            self.socket.sendall(memoryview(frame))
            whole = True
        except OSError as error:
            raise ClosedError("the client is gone or takes nothing") from error
        finally:
            self._busy -= 1
            if not whole:
                self.abort()  # nothing could be understood after half a frame
            self._release()

    def _read(self) -> bytes:
        self._busy += 1
        try:
            return b"" if self._aborted else self.socket.recv(self._most_read)
        except (OSError, EOFError):  # reset, idle for too long, or closed by the WSGI server
            return b""
        finally:
            self._busy -= 1
            self._release()

    def _count_unread(self) -> int:
        descriptor = self.socket.fileno()
        if descriptor < 0:
            return 0
        # What the system holds for us; asked in a way that never parks.
        answer = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, sys.byteorder)

    def _release(self) -> None:
        # Nobody may be inside a call: the hub would wait on for a number that is another's by then.
        if self._aborted and not self._busy:
            descriptor = self.socket.detach()
            if descriptor >= 0:
                os.close(descriptor)


Handler = Callable[[WebSocket], object]


class WebSocketApp:
    """A WSGI application that runs `handler(ws)` on the socket of a request for a WebSocket.

    `server` is Engine.IO's: no message may exceed its `max_http_buffer_size`. With `packing`
    clients are agreed with on compression.
    """

    def __init__(
        self,
        green: Green,
        handler: Handler,
        server: Any,
        *,
        close_timeout_s: float = 2.0,
        packing: Packing | None = None,
    ) -> None:
        self._packing = packing
        self._green = green
        self._handler = handler
        self._limits = (int(server.max_http_buffer_size), close_timeout_s)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 101 and run the handler to its end, or refuse the request."""
        # Tuples: engineio would take a list for packets of its own.
        refusal = judge_handshake(environ)
        if refusal is not None:
            start_response(refusal.status, [("Content-Type", "text/plain"), *refusal.headers])
            return (refusal.detail.encode(),)
        # A graceful stop of the server may end this connection, though its request never ends.
        environ.get("eventlet.set_idle", bool)()
        source = environ.get("eventlet.input")
        sock = source.get_socket() if source else environ["gunicorn.socket"]
        agreed = self._agree(environ)
        ws = WebSocket(sock, self._green, *self._limits, self._packing if agreed else None)
        ws.accept(environ["HTTP_SEC_WEBSOCKET_KEY"], agreed)
        self._run(ws)
        self._green.mark_handled()
        return ()

    def _agree(self, environ: WSGIEnvironment) -> str:
        offered = environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "")
        # What is malformed was refused before, where it is looked at.
        return (agree(offered) if self._packing is not None else "") or ""

    def _run(self, ws: WebSocket) -> None:
        # Also when the client has gone already: the handler ends the session that was begun.
        try:
            self._handler(ws)
        except ClosedError:
            pass
        except Exception:
            logger.exception("websocket handler failed")
            ws.close(1011)
        ws.finish()
