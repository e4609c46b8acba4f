"""A WebSocket after its handshake: read by callbacks of the loop, written without waiting.

It has left the WSGI server, and has no greenlet. What the system does not take is kept here; how
much that may be is for its owner to judge. Nothing here ever waits.
"""

import contextlib
import socket
import struct
from collections import deque
from itertools import islice
from typing import Any, ClassVar, Protocol

import structlog

from realtime import frames, green
from realtime.deflate import Packing
from realtime.writers import Send

_log = structlog.get_logger(__name__)

_READ_BYTES = 16_384
# What waits goes out in pieces of about this size.
_JOINED_FRAMES = 64
# So much the system holds of what a client does not take; Linux takes it twice.
_SEND_BUFFER_BYTES = 65_536
# So long a client may take to answer a close frame, and to take what waits in front of it.
_CLOSE_TIMEOUT_S = 2.0
_DRAIN_TIMEOUT_S = 5.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Owner(Protocol):
    """Whom a transport works for. Nothing of it may wait."""

    def on_text(self, text: str) -> None:
        """Take a message."""

    def on_binary(self, data: bytes) -> None:
        """Take a message of bytes."""

    def is_full(self) -> bool:
        """Tell whether to read no more, until it calls `read_on`."""

    def on_blocked(self, *, is_blocked: bool) -> None:
        """Hear that writes wait (or come to an end), or go straight to the system again."""

    def on_over(self, reason: str) -> None:
        """Hear, once, that nothing more will come."""

    def on_released(self) -> None:
        """Hear, once, that the connection is gone: what was written before has left."""


class Spare:
    """A reader of frames, shared by all connections that are between two frames."""

    def __init__(self, kind: type[frames.FrameReader]) -> None:
        self._kind = kind
        self._reader: frames.FrameReader | None = None

    def take(self, max_message_bytes: int) -> frames.FrameReader:
        """Give one that is between two frames."""
        reader, self._reader = self._reader, None
        if reader is None or reader.max_message_bytes != max_message_bytes:
            return self._kind(max_message_bytes)
        return reader

    def give(self, reader: frames.FrameReader) -> None:
        """Take it back."""
        self._reader = reader


class Transport:
    """One connection. `max_message_bytes` bounds what a client's message may hold."""

    __slots__ = (
        "_buffer", "_is_over", "_is_partial", "_is_writing_over", "_max_message_bytes", "_owner",
        "_pong", "_reader", "_reading", "_send", "_sock", "_writing", "is_closing", "queued_bytes",
    )  # fmt: skip

    _spare: ClassVar[Spare] = Spare(frames.FrameReader)
    _most_read: ClassVar[int] = _READ_BYTES

    def __init__(self, sock: socket.socket, owner: Owner, max_message_bytes: int) -> None:
        self._sock: Any = sock
        # One for all rooms: each look at `sock.send` would make another one.
        self._send: Send | None = sock.send
        self._owner = owner
        self._max_message_bytes = max_message_bytes
        # Frames that wait; of the first, a part may have left.
        self._buffer: deque[bytes] | None = None
        self._is_partial = False
        self._pong = b""  # a newer one stands for the older
        self._reader: frames.FrameReader | None = None  # while a frame is incomplete
        self._writing: Any = None
        self.queued_bytes = 0
        # A close frame was written, or waits: nothing follows it.
        self.is_closing = False
        self._is_over = False
        self._is_writing_over = False
        sock.setblocking(False)
        # Not every socket is one of TCP.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._reading: Any = green.watch_readable(sock.fileno(), self._on_readable)

    @property
    def is_gone(self) -> bool:
        """Tell whether the connection is released."""
        return self._sock is None

    @property
    def is_open(self) -> bool:
        """Tell whether something may still be written, and be heard."""
        return not (self.is_closing or self._is_over or self._sock is None)

    @property
    def packing(self) -> Packing | None:
        """Tell how what is written may be compressed; None: not at all."""
        return None

    # Writing.

    def sender(self) -> Send | None:
        """Give what writes straight to the system; None while something waits."""
        return self._send if self._buffer is None and self.is_open else None

    def write(self, data: bytes) -> None:
        """Write whole frames, now or as soon as the client takes them."""
        if not self.is_open:
            return
        if self._buffer is None:
            self._write_now(data)
        else:
            self._keep(data)

    def _write_now(self, data: bytes) -> None:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort("transport error")
            return
        if sent != len(data):
            self.take_over(data, sent)

    def take_over(self, data: bytes, sent: int) -> None:
        """Go on with frames of which `sender` has sent a part."""
        if self._sock is None:
            return
        self._buffer = deque()
        self._is_partial = sent > 0
        self._keep(data[sent:])
        self._writing = green.watch_writable(self._sock.fileno(), self._on_writable)
        self._owner.on_blocked(is_blocked=True)

    def _keep(self, data: bytes) -> None:
        if self._buffer is not None:
            self._buffer.append(data)
            self.queued_bytes += len(data)

    def _on_writable(self, _descriptor: int) -> None:
        if self._sock is None or self._buffer is None:
            return  # It ended in the same round of the loop.
        if self._pong:
            self._put_pong(self._buffer)
        data = b"".join(islice(self._buffer, _JOINED_FRAMES))
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            return
        except OSError:
            self.abort("transport error")
            return
        self._drop_sent(self._buffer, sent)
        if not self._buffer:
            self._unblock()

    def _put_pong(self, buffer: deque[bytes]) -> None:
        # A control frame may stand between two frames, never inside of one.
        buffer.insert(1 if self._is_partial else 0, self._pong)
        self.queued_bytes += len(self._pong)
        self._pong = b""

    def _drop_sent(self, buffer: deque[bytes], sent: int) -> None:
        self.queued_bytes -= sent
        while sent:
            size = len(buffer[0])
            self._is_partial = sent < size
            if self._is_partial:
                buffer[0] = buffer[0][sent:]
                return
            sent -= size
            buffer.popleft()

    def _unblock(self) -> None:
        self._buffer = None
        green.unwatch(self._writing)
        self._writing = None
        if self.is_closing:
            self._finish_writing()
        else:
            self._owner.on_blocked(is_blocked=False)

    # Reading.

    def read_on(self) -> None:
        """Read again, after the owner was full."""
        if self._reading is None and self._sock is not None:
            self._reading = green.watch_readable(self._sock.fileno(), self._on_readable)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            green.unwatch(self._reading)
            self._reading = None

    def has_unread(self) -> bool:
        """Tell whether the system holds something that was not read yet."""
        if self._sock is None:
            return False
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _on_readable(self, _descriptor: int) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(self._most_read)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            self._take(data)
        except Exception:  # noqa: BLE001 - the loop would forget the descriptor, and nobody else
            _log.exception("transport failed")
            self.abort("transport error")

    def _take(self, data: bytes) -> None:
        if not data:
            self._hear_end()
            return
        reader = self._reader or self._spare.take(self._max_message_bytes)
        for event in reader.feed(data):
            if not self.is_open:
                if isinstance(event, frames.Close):
                    self._hear_end()
                continue
            self._take_event(event)
        if self._pong and self._buffer is None:
            self._write_pong()
        self._reader = None if reader.is_idle() else reader
        if self._reader is None:
            self._spare.give(reader)
        if self.is_open and self._owner.is_full():
            self._stop_reading()

    def _take_event(self, event: frames.Event) -> None:
        if isinstance(event, str):
            self._owner.on_text(event)
        elif isinstance(event, bytes):
            self._owner.on_binary(event)
        elif isinstance(event, frames.Ping):
            # The newest is answered, after what came with it: a flood of them costs one write.
            self._pong = frames.encode_pong(event.payload)
        elif isinstance(event, frames.Close):
            # Of the same message: its code is given back.
            self._close(event.code, "")
            self._end_reading("transport close")
        elif isinstance(event, frames.ProtocolError):
            self._close(event.close_code, event.reason)
            self._end_reading("transport error")

    def _write_pong(self) -> None:
        pong, self._pong = self._pong, b""
        if self.is_open:
            self._write_now(pong)

    def _hear_end(self) -> None:
        # The client sends nothing more; what waits for it may still arrive.
        if self._is_writing_over or not self.is_closing:
            self.abort("transport close", is_reset=not self.is_closing)
        else:
            self._stop_reading()
            self._end_reading("transport close")

    def _end_reading(self, reason: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._owner.on_over(reason)

    # Ending.

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Write a close frame after all that waits, then end once the client has answered."""
        if self.is_open:
            self._close(code, reason)

    def _close(self, code: int | None, reason: str) -> None:
        # Who writes by `sender` must not write behind it.
        self._owner.on_blocked(is_blocked=True)
        if self._sock is None:
            return  # What was to leave before could not be written: the client has gone.
        frame = frames.encode_close(code, reason)
        if self._buffer is None:
            self._write_now(frame)
        else:
            self._keep(frame)
        self.is_closing = True
        if self._sock is not None and self._buffer is None:
            self._finish_writing()
        elif self._sock is not None:
            green.later(_DRAIN_TIMEOUT_S, self.abort)

    def _finish_writing(self) -> None:
        # Closed at once, a reset for what was not read would overtake the close frame.
        self._is_writing_over = True
        green.later(_CLOSE_TIMEOUT_S, self.abort)
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort("transport close")
            return
        self.read_on()

    def abort(self, reason: str = "transport close", *, is_reset: bool = True) -> None:
        """End at once, whatever waits."""
        if self._sock is None:
            return
        sock, self._sock = self._sock, None
        for listener in (self._reading, self._writing):
            if listener is not None:
                green.unwatch(listener)
        self._reading = self._writing = self._buffer = self._reader = self._send = None
        self.queued_bytes = 0
        if is_reset:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        # Before the descriptor may be another socket's: some write to it by its number.
        self._owner.on_blocked(is_blocked=True)
        sock.close()
        self._end_reading(reason)
        self._owner.on_released()
