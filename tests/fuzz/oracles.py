"""Frames as wsproto reads them: an implementation that shares nothing with ours."""

from dataclasses import dataclass
from typing import Any

from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from realtime.frames import Close, Event, Ping, Pong

NONE_GIVEN = 1005


@dataclass
class Reading:
    """What was understood, and the close code of the fault that ended it; 0: none.

    `is_unsure` where that is a code for closing that was registered since, or was not.
    """

    events: list[Event]
    fault: int
    is_unsure: bool = False


def read_frames(data: bytes) -> Reading:
    """Read what a client sends."""
    protocol = FrameProtocol(client=False, extensions=[])
    reading, parts = Reading([], 0), _Parts()
    try:
        protocol.receive_bytes(data)
        for frame in protocol.received_frames():
            event = parts.take(frame)
            if event is not None:
                reading.events.append(event)
            if isinstance(event, Close):
                break
    except ParseFailed as error:
        reading.fault = int(error.code)
        reading.is_unsure = "unknown reserved code" in str(error)
    return reading


class _Parts:
    """Puts the pieces that wsproto gives together."""

    def __init__(self) -> None:
        self._message: list[Any] = []
        self._control = b""

    def take(self, frame: Any) -> Event | None:
        if frame.opcode is Opcode.CLOSE:
            code, reason = frame.payload
            return Close(None if code == NONE_GIVEN else int(code), reason or "")
        if frame.opcode in (Opcode.PING, Opcode.PONG):
            self._control += bytes(frame.payload)
            if not frame.frame_finished:
                return None
            payload, self._control = self._control, b""
            return Ping(payload) if frame.opcode is Opcode.PING else Pong(payload)
        self._message.append(frame.payload)
        if not frame.message_finished:
            return None
        parts, self._message = self._message, []
        return "".join(parts) if isinstance(parts[0], str) else b"".join(map(bytes, parts))


def decode_server_frames(data: bytes) -> list[tuple[int, Any]]:
    """Read what a server sends, as a client: each message or control frame with its opcode."""
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(data)
    read: list[tuple[int, Any]] = []
    parts: list[Any] = []
    for frame in protocol.received_frames():
        if isinstance(frame.payload, tuple):
            read.append((int(frame.opcode), frame.payload))
            continue
        parts.append(frame.payload)
        if frame.message_finished:
            joined = "".join(parts) if isinstance(parts[0], str) else b"".join(map(bytes, parts))
            read.append((int(frame.opcode), joined))
            parts = []
    return read
