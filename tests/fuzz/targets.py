"""The parsers of what strangers send, each as a function that any bytes may be given to.

It returns where all is well, and raises AssertionError (or whatever escaped) where it is not.
"""

import io
import json as standard_json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import h11
import socketio.packet

from core import json
from core.errors import InvalidError, describe
from core.event_cursor import EventCursors
from core.events import Control
from core.validation import check
from realtime import frames
from realtime.bus import Hint, SignalHint
from realtime.bus_redis import RedisBus
from realtime.frames import Close, DeflatedReader, Event, FrameReader, Ping, Pong, ProtocolError
from realtime.handshakes import QuickHandshakes, Terms, read_usual_head
from realtime.packets import PACKETS
from realtime.presence_scripts import read_record
from realtime.request_head import read_head, read_lines
from realtime.socketio_text import (
    Elsewhere,
    Hello,
    Leave,
    Malformed,
    Sent,
    read_hello,
    read_packet,
)
from realtime.websocket import judge_handshake
from tests.fuzz.oracles import Reading, decode_server_frames, read_frames
from tests.websocket.line import BINARY, frame

LIMIT = 300
LONGEST_HEAD = 14
BAD_GATEWAY = 1014  # a close code registered since; wsproto does not know it
WHOLE = 1 << 63  # no limit at all
CURSORS = EventCursors("a secret that nobody has to keep, of 32 characters")


def fuzz_frames(data: bytes) -> None:
    """Frames of a client: a limit that holds at every step, and one answer to every cut."""
    _try_reader(FrameReader, data)


def fuzz_deflated(data: bytes) -> None:
    """The same where messages may be compressed; and what zlib made is read as it was."""
    _try_reader(DeflatedReader, data)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    whole = frame(BINARY, packed.removesuffix(b"\0\0\xff\xff"), rsv=4)
    assert DeflatedReader(1 << 20).feed(whole) == [data]
    events = DeflatedReader(LIMIT).feed(whole)
    if len(data) > LIMIT:
        (fault,) = events
        assert isinstance(fault, ProtocolError)
        assert fault.close_code == frames.TOO_BIG


def _try_reader(make: type[FrameReader], data: bytes) -> None:
    if not data:
        return
    step, stream = data[0] % 17 + 1, data[1:]
    whole = make(LIMIT).feed(stream)
    reader, events = make(LIMIT), []
    for piece in _cut(stream, step):
        events += reader.feed(piece)
        assert len(reader._message) <= LIMIT
        assert len(reader._head) < LONGEST_HEAD
        assert len(reader._control) <= frames.MAX_CONTROL_BYTES
    assert events == whole
    for event in events:
        assert isinstance(event, str | bytes | Ping | Pong | Close | ProtocolError)
        message = event.encode() if isinstance(event, str) else event
        assert not isinstance(message, bytes) or len(message) <= LIMIT
    for event in events[:-1]:
        assert not isinstance(event, Close | ProtocolError), "something followed the end"
    if reader.ended:
        assert not reader.feed(stream)
        assert not reader._message
    if events and isinstance(events[-1], Close | ProtocolError):
        assert reader.ended


def fuzz_frames_beside_wsproto(data: bytes) -> None:
    """Frames of a client: what another implementation reads is read alike."""
    theirs = read_frames(data)
    # They judge a length before the mask has come, which needs no more than these.
    ours = _read_ours(data + bytes(4) if theirs.fault == frames.PROTOCOL_ERROR else data)
    number = len(theirs.events)
    if theirs.fault == frames.INVALID_DATA:
        # It finds bad UTF-8 in a message that is not whole yet; the RFC lets one wait.
        assert ours.events[:number] == theirs.events
        assert not any(isinstance(event, str | bytes) for event in ours.events[number:])
    elif theirs.is_unsure:
        # It does not know 1014, so neither what is wrong with the reason behind that.
        assert ours.events[:number] == theirs.events
        assert ours.fault or _close_codes(ours.events[number:]) == [BAD_GATEWAY]
    elif theirs.fault:
        assert (ours.events, ours.fault) == (theirs.events, theirs.fault)
    else:
        # Ours judges a frame by its head, theirs once it has begun to come.
        assert ours.events == theirs.events
        assert ours.fault in (0, frames.PROTOCOL_ERROR)


def _close_codes(events: list[Event]) -> list[int | None]:
    return [event.code for event in events if isinstance(event, Close)]


def _read_ours(data: bytes) -> Reading:
    reading = Reading([], 0)
    for event in FrameReader(WHOLE).feed(data):
        if isinstance(event, ProtocolError):
            reading.fault = event.close_code
        else:
            reading.events.append(event)
    return reading


def fuzz_encoders(data: bytes) -> None:
    """Our own frames: another implementation of a client reads back what was put in."""
    kind, payload = data[:1], data[1:]
    text = payload.decode(errors="replace")
    if kind == b"c":
        code = 1000 + int.from_bytes(payload[:2]) % 4
        reason = payload[2:].decode(errors="replace")
        ((_, (told, shown)),) = decode_server_frames(frames.encode_close(code, reason))
        assert told == code
        assert reason.startswith(shown)
        assert len(shown) == len(reason) or len(shown.encode()) > 119
    elif kind in (b"i", b"o"):
        encode = frames.encode_ping if kind == b"i" else frames.encode_pong
        short = payload[: frames.MAX_CONTROL_BYTES]
        assert decode_server_frames(encode(short)) == [(9 if kind == b"i" else 10, short)]
    else:
        both = frames.encode_text(text) + frames.encode_binary(payload)
        assert decode_server_frames(both) == [(1, text), (2, payload)]
        assert frames.encode_text(text) == frames.encode_text(text.encode())


def fuzz_packets(data: bytes) -> None:
    """Socket.IO's packets: nothing escapes, and what is taken is what python-socketio reads."""
    text = data.decode(errors="replace")
    packet, hello = read_packet(text), read_hello(text)
    assert packet is None or isinstance(packet, Sent | Malformed | Elsewhere | Leave)
    assert hello is None or isinstance(hello, Hello | Elsewhere)
    if isinstance(packet, Sent | Malformed) and packet.ack_id is not None:
        assert packet.ack_id.isascii()
        assert packet.ack_id.isdigit()
        assert len(packet.ack_id) <= 15
        assert packet.ack_id in text
    if isinstance(packet, Sent):
        theirs = _read_theirs(text)
        assert theirs.packet_type == socketio.packet.EVENT
        assert theirs.namespace in (None, "/")
        assert theirs.data == [packet.name, *packet.args]
        assert theirs.id == (None if packet.ack_id is None else int(packet.ack_id))
    for found in (packet, hello):
        if isinstance(found, Elsewhere):
            assert _namespace_of(text) == found.namespace
    # A number would be an id to them; a token comes in an object.
    if isinstance(hello, Hello) and isinstance(hello.auth, dict):
        theirs = _read_theirs(text)
        assert theirs.packet_type == socketio.packet.CONNECT
        assert theirs.namespace in (None, "/")
        assert theirs.data == hello.auth


class _Json:
    """JSON as the standard library reads it, with the numbers that a double or 64 bits hold."""

    @staticmethod
    def loads(text: str) -> Any:
        return standard_json.loads(text, parse_int=_number)


def _number(text: str) -> int | float:
    number = int(text)
    return number if -(2**63) <= number < 2**64 else float(text)


class _Theirs(socketio.packet.Packet):  # type: ignore[misc] # socketio ships no types
    json = _Json


def _read_theirs(text: str) -> Any:
    return _Theirs(encoded_packet=text)


def _namespace_of(text: str) -> str:
    # Without the data, which may be none of JSON: it is another namespace's.
    return str(_read_theirs(text.partition(",")[0]).namespace)


def fuzz_schemas(data: bytes) -> None:
    """What an event carries: taken as its schema says, or refused as invalid."""
    kinds = sorted(PACKETS)
    name, text = kinds[data[0] % len(kinds)] if data else kinds[0], data[1:]
    try:
        value = json.loads(text)
    except json.JsonError:
        return
    if not isinstance(value, dict):
        return
    try:
        taken = check(PACKETS[name], value)
    except InvalidError as error:
        json.dumps(describe(error))
    else:
        assert json.dumps(taken.model_dump(mode="json"))


def fuzz_heads(data: bytes) -> None:
    """Heads of handshakes: what the quick way takes is what h11 reads, and passes the slow way."""
    environ = read_usual_head(data)
    greeting = _quick.greet(data)
    if environ is None or "HTTP_TRANSFER_ENCODING" in environ:
        assert greeting is None
        return
    request = _read_request(data)
    assert request.method == b"GET"
    assert request.target == f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}".encode()
    theirs = {
        "HTTP_" + name.decode().upper().replace("-", "_"): value.decode()
        for name, value in request.headers
    }
    assert {n: v for n, v in environ.items() if n.startswith("HTTP_")} == theirs
    if greeting is not None:
        assert judge_handshake(environ) is None
        assert greeting.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert greeting.endswith(b"\r\n\r\n")


def _read_request(head: bytes) -> Any:
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(head)
    return theirs.next_event()


def fuzz_requests(data: bytes) -> None:
    """Heads of plain requests: what is taken without the library's parser is what h11 reads."""
    first, _, rest = data.partition(b"\n")
    read = read_head(first + b"\n", read_lines(io.BytesIO(rest).readline))
    # HTTP/1.1 asks for a Host; here another part of the server does.
    if read is None or read[2].get("host") is None:
        return
    method, address, head = read
    request = _read_request(data)
    assert (request.method.decode(), request.target.decode()) == (method, address)
    for name, value in request.headers:
        assert head.get(name.decode()) == value.decode()


def _greets_everybody() -> QuickHandshakes:
    nobody: Any = None
    terms = Terms("n1", True, lambda: False, [], nobody)
    return QuickHandshakes(terms, nobody, lambda app: app)


_quick = _greets_everybody()


def fuzz_cursors(data: bytes) -> None:
    """Cursors of polls and of Last-Event-ID: forged ones are refused, and by no other exception."""
    text = data.decode(errors="replace")
    try:
        positions = CURSORS.read(text)
    except InvalidError:
        return
    assert CURSORS.write(positions) == text


class _Listens:
    """Takes what the bus hears, as a node would."""

    def on_hint(self, hint: Hint) -> None:
        assert hint.stream == "channel:x"
        assert hint.offset >= 0

    def on_signal(self, signal: SignalHint) -> None:
        assert signal.stream == "channel:x"

    def on_control(self, control: Control) -> None:
        assert isinstance(control, Control)


def _make_bus() -> RedisBus:
    nowhere: Any = None
    made = RedisBus(nowhere, "n1", "fanfare")
    listener: Any = _Listens()
    made._listener = listener
    return made


_bus = _make_bus()


def fuzz_hints(data: bytes) -> None:
    """Messages on Redis: of another version or damaged ones are dropped, and raise nothing."""
    _bus.on_message(b"fanfare:stream:channel:x", data)


def fuzz_records(data: bytes) -> None:
    """What lies in Redis for presence: a record of people who are there, or none of ours."""
    record = read_record(data)
    assert record is None or record.seats


def _cut(data: bytes, step: int) -> Iterator[bytes]:
    for at in range(0, len(data), step):
        yield data[at : at + step]


Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {
    "frames": fuzz_frames,
    "deflated": fuzz_deflated,
    "wsproto": fuzz_frames_beside_wsproto,
    "encoders": fuzz_encoders,
    "packets": fuzz_packets,
    "schemas": fuzz_schemas,
    "heads": fuzz_heads,
    "requests": fuzz_requests,
    "cursors": fuzz_cursors,
    "hints": fuzz_hints,
    "records": fuzz_records,
}
