"""The server's side of RFC 6455 as pure data: bytes in, messages and control events out.

No I/O and no greenlets, so any transport can use it. The limit holds for the whole message,
however it is cut into frames: a length is judged before the first byte of its payload is kept.
A fault is an event like the others, so the messages in front of it are never lost with it.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

PROTOCOL_ERROR: Final = 1002
INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009
MAX_CONTROL_BYTES: Final = 125

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = _OPCODES = (0, 1, 2, 8, 9, 10)
_NO_OPCODE = -1
_COMPRESSED = 0x40  # the first reserved bit, where compression was agreed on
# What a sender leaves out behind its last block, or has sent already, and an end to look for.
_ENDS = (b"\x00\x00\xff\xff\x03\x00", b"\x03\x00")
# The 7-bit length that stands for a longer field: bytes of that field, least length it may hold.
_LONG_LENGTHS = {126: (2, 126), 127: (8, 1 << 16)}


@dataclass(frozen=True, slots=True)
class Ping:
    """Wants a `Pong` with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping of ours, or a sign of life that nobody asked for."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer sends nothing more; `code` is None where it gave none."""

    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProtocolError:
    """The peer broke the protocol: the connection can only be closed, with `close_code`."""

    close_code: int
    reason: str


Event = str | bytes | Ping | Pong | Close | ProtocolError


class FrameReader:
    """Turns a client's bytes, cut anywhere, into events: str and bytes are its messages.

    A `Close` or a `ProtocolError` is the last event: `ended`, it ignores what comes after. At most
    `max_message_bytes` of an unfinished message are held. Nothing is ever raised.
    """

    __slots__ = ("_control", "_final", "_head", "_kind", "_left", "_mask", "_max_bytes",
                 "_message", "_opcode", "ended")  # fmt: skip

    def __init__(self, max_message_bytes: int) -> None:
        self._max_bytes = max_message_bytes
        self._head = b""  # of a frame: what has come of its header
        self._opcode = _NO_OPCODE  # of the frame whose payload is being read
        self._mask = b""
        self._left = 0  # payload bytes that the frame still owes
        self._kind = _NO_OPCODE  # _TEXT or _BINARY inside a message
        self._final = self.ended = False
        # Fragments are joined as they come: a list of one-byte fragments takes 50 times the limit.
        self._message = bytearray()
        self._control = bytearray()

    @property
    def max_message_bytes(self) -> int:
        """The most that a message may hold."""
        return self._max_bytes

    def is_idle(self) -> bool:
        """Tell whether it is between two messages, and could as well be read for another client."""
        return not (self.ended or self._head or self._opcode != _NO_OPCODE or self._kind >= 0)

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes, in order."""
        events: list[Event] = []
        if self._head:
            data, self._head = self._head + data, b""
        try:
            self._read(data, events)
        except _BreachError as breach:
            events.append(ProtocolError(*breach.args))
            self._end()
        return events

    def _end(self) -> None:
        self.ended = True
        self._message = bytearray()

    def _read(self, data: bytes, events: list[Event]) -> None:
        at = 0
        while not self.ended:
            if self._opcode == _NO_OPCODE:
                payload_at = self._read_header(data, at)
                if payload_at == at:
                    self._head = data[at:]
                    return
                at = payload_at
            at += self._read_payload(data, at)
            if self._left:
                return
            event = self._finish_frame()
            if event is not None:
                events.append(event)

    def _read_header(self, data: bytes, at: int) -> int:
        """Where the payload starts, or `at` itself while the header is incomplete."""
        if len(data) < at + 2:
            return at
        first, second = data[at], data[at + 1]
        self._judge_start(first, second)
        length = second & 0x7F
        length_bytes, least = _LONG_LENGTHS.get(length, (0, 0))
        mask_at = at + 2 + length_bytes
        if len(data) < mask_at + 4:
            return at
        if length_bytes:
            length = int.from_bytes(data[at + 2 : mask_at])
            if length < least or length >> 63:
                raise _BreachError(
                    PROTOCOL_ERROR, "a length is too long or not in its shortest form"
                )
        self._start_frame(first, length, data[mask_at : mask_at + 4])
        return mask_at + 4

    def _judge_start(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if first & 0x70 or opcode not in _OPCODES:
            raise _BreachError(PROTOCOL_ERROR, "a frame has reserved bits or an unknown opcode")
        if not second & 0x80:
            raise _BreachError(PROTOCOL_ERROR, "a client's frame is not masked")
        if opcode >= _CLOSE:
            if not first & 0x80 or second & 0x7F > MAX_CONTROL_BYTES:
                raise _BreachError(PROTOCOL_ERROR, "a control frame is fragmented or too long")
        elif (opcode == _CONTINUATION) == (self._kind == _NO_OPCODE):
            raise _BreachError(PROTOCOL_ERROR, "fragments of a message are out of order")

    def _start_frame(self, first: int, length: int, mask: bytes) -> None:
        opcode = first & 0x0F
        if opcode < _CLOSE:
            self._judge_size(length)
            self._final = first & 0x80 != 0
            if opcode != _CONTINUATION:
                self._kind = opcode
        self._opcode, self._left, self._mask = opcode, length, mask

    def _judge_size(self, more: int) -> None:
        if len(self._message) + more > self._max_bytes:
            raise _BreachError(TOO_BIG, f"a message exceeds {self._max_bytes} bytes")

    def _read_payload(self, data: bytes, at: int) -> int:
        chunk = data[at : at + self._left]
        buffer = self._control if self._opcode >= _CLOSE else self._message
        buffer += _unmask(chunk, self._mask)
        self._left -= len(chunk)
        self._mask = (self._mask * 2)[len(chunk) % 4 :][:4]
        return len(chunk)

    def _finish_frame(self) -> Event | None:
        opcode, self._opcode = self._opcode, _NO_OPCODE
        if opcode >= _CLOSE:
            return self._finish_control(opcode)
        if not self._final:
            return None
        kind, self._kind = self._kind, _NO_OPCODE
        message = bytes(self._message) if kind == _BINARY else _decode(self._message)
        self._message.clear()
        return message

    def _finish_control(self, opcode: int) -> Event:
        payload = bytes(self._control)
        self._control.clear()
        if opcode != _CLOSE:
            return Ping(payload) if opcode == _PING else Pong(payload)
        close = _parse_close(payload)
        self._end()
        return close


class DeflatedReader(FrameReader):
    """The same where permessage-deflate was agreed on, without context takeover.

    The limit holds for what a message is inflated to, and nothing beyond it is ever inflated.
    """

    __slots__ = ("_inflater",)

    def __init__(self, max_message_bytes: int) -> None:
        super().__init__(max_message_bytes)
        self._inflater: Any = None  # inside a compressed message

    def _end(self) -> None:
        super()._end()
        self._inflater = None

    def _judge_start(self, first: int, second: int) -> None:
        if first & 0x0F in (_TEXT, _BINARY):
            first &= ~_COMPRESSED
        super()._judge_start(first, second)

    def _start_frame(self, first: int, length: int, mask: bytes) -> None:
        if first & _COMPRESSED:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        super()._start_frame(first, length, mask)

    def _judge_size(self, more: int) -> None:
        if self._inflater is None:
            super()._judge_size(more)

    def _read_payload(self, data: bytes, at: int) -> int:
        if self._inflater is None:
            return super()._read_payload(data, at)
        whole = len(self._message)
        size = super()._read_payload(data, at)
        chunk = bytes(self._message[whole:])
        del self._message[whole:]
        self._inflate(chunk)
        return size

    def _inflate(self, chunk: bytes) -> None:
        room = self._max_bytes - len(self._message)
        try:
            inflated = self._inflater.decompress(chunk, room + 1)
        except zlib.error:
            raise _BreachError(INVALID_DATA, "a message is not compressed properly") from None
        super()._judge_size(len(inflated))
        self._message += inflated
        # A last block that says it is the last is followed by one empty byte (RFC 7692, 7.2.3.4).
        if self._inflater.unused_data not in (b"", b"\0"):
            raise _BreachError(INVALID_DATA, "something follows the end of a compressed message")

    def _finish_frame(self) -> Event | None:
        if self._inflater is not None and self._final and self._opcode < _CLOSE:
            inflater, self._inflater = self._inflater, None
            if not any(_is_ended_by(end, inflater.copy()) for end in _ENDS):
                raise _BreachError(INVALID_DATA, "a compressed message is cut off")
        return super()._finish_frame()


def encode_text(text: str | bytes) -> bytes:
    """One text frame; bytes are taken for UTF-8, so what came from the bus isn't decoded first."""
    return _encode(_TEXT, text.encode() if isinstance(text, str) else text)


def encode_binary(data: bytes) -> bytes:
    """One binary frame."""
    return _encode(_BINARY, data)


def encode_ping(payload: bytes = b"") -> bytes:
    """A ping; the payload has at most 125 bytes."""
    return _encode(_PING, payload)


def encode_pong(payload: bytes = b"") -> bytes:
    """A pong; the payload has at most 125 bytes."""
    return _encode(_PONG, payload)


def encode_close(code: int | None = None, reason: str = "") -> bytes:
    """A close frame; a reason that is too long for it is cut between two characters."""
    if code is None:
        return _encode(_CLOSE, b"")
    if not _is_close_code(code):
        raise ValueError(f"{code} must not stand in a close frame")
    fitting = reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore")
    return _encode(_CLOSE, struct.pack("!H", code) + fitting.encode())


class _BreachError(Exception):
    """Carries what a `ProtocolError` holds from where it is found out to `feed`."""


def _unmask(payload: bytes, mask: bytes) -> bytes:
    # One XOR of long integers runs in C; byte by byte, a megabyte would stop the node for 0.6 s.
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(len(payload))


def _is_ended_by(end: bytes, inflater: Any) -> bool:
    try:
        return not inflater.decompress(end) and inflater.eof
    except zlib.error:
        return False


def _decode(data: bytes | bytearray) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _BreachError(INVALID_DATA, "text is not valid UTF-8") from None


def _parse_close(payload: bytes) -> Close:
    if not payload:
        return Close(None, "")
    code = int.from_bytes(payload[:2])  # a lone byte is below 1000, so it is refused too
    if not _is_close_code(code):
        raise _BreachError(PROTOCOL_ERROR, "a close frame has an invalid code")
    return Close(code, _decode(payload[2:]))


def _is_close_code(code: int) -> bool:
    # 1004-1006 and 1015 are reserved, 1016-2999 not yet given a meaning.
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _encode(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if opcode >= _CLOSE and size > MAX_CONTROL_BYTES:
        raise ValueError(f"a control frame holds at most {MAX_CONTROL_BYTES} bytes")
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload
