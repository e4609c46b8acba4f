"""Lean clients of both doors, on raw sockets: Socket.IO over WebSocket, and HTTP with keep-alive.

They read only as far as a measurement needs, so that the load generator stays far cheaper than
the server that it measures. Sending blocks; receive when select says that there is something.
"""

import secrets
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import orjson

Address = tuple[str, int]
_READ_BYTES = 262_144
_TEXT = 0x81
_SHORT, _MEDIUM = 126, 127  # lengths up to the first fit into the header's second byte


class WireError(Exception):
    """The server said what no benchmark expects."""


def connect(address: Address) -> socket.socket:
    """Open a connection whose small writes leave at once."""
    sock = socket.create_connection(address, timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class SocketIo:
    """One Socket.IO client, connected and greeted once it is made.

    `receive` adds to `acks` and `events`; whoever uses them empties them.
    """

    def __init__(self, address: Address, token: str) -> None:
        self.acks: list[tuple[int, dict[str, Any]]] = []
        self.events: list[dict[str, Any]] = []
        self._socket = connect(address)
        self._buffer = b""
        self._calls = 0
        self._mask = secrets.token_bytes(4)
        self._shake_hands(address)
        self._wait_for(b"0{")
        self._send(b"40" + orjson.dumps({"token": token}))
        self._wait_for(b'42["ready"')

    def fileno(self) -> int:
        """Tell select what to watch."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leave without a goodbye."""
        self._socket.close()

    def emit(self, name: str, argument: dict[str, Any], ack_id: int) -> None:
        """Send a packet whose ack is wanted."""
        self._send(b'42%d["%s",%s]' % (ack_id, name.encode(), orjson.dumps(argument)))

    def call(self, name: str, argument: dict[str, Any]) -> dict[str, Any]:
        """Send a packet and wait for its ack, which has to be ok. For before the load."""
        self._calls += 1
        ack_id = 1_000_000_000 + self._calls
        self.emit(name, argument, ack_id)
        while True:
            self.receive()
            for found, body in self.acks:
                if found == ack_id:
                    self.acks.clear()
                    return _accepted(name, body)

    def receive(self) -> None:
        """Read once, and sort what came into `acks` and `events`."""
        for text in self._messages():
            if text.startswith(b'42["event",'):
                self.events.append(orjson.loads(text[2:])[1])
            elif text.startswith(b"43"):
                start = text.index(b"[")
                self.acks.append((int(text[2:start]), orjson.loads(text[start:])[0]))
            elif text == b"2":
                self._send(b"3")
            elif text.startswith((b'42["bye"', b"44")):
                raise WireError(f"the server ended a connection: {text[:200]!r}")

    def _wait_for(self, start: bytes) -> None:
        while True:
            for text in self._messages():
                if text.startswith(start):
                    return
                if text.startswith(b"44"):
                    raise WireError(f"the connect was refused: {text[:200]!r}")

    def _shake_hands(self, address: Address) -> None:
        self._socket.sendall(upgrade(address))
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += _some(self._socket)
        self._buffer = after_upgrade(self._buffer)

    def _messages(self) -> Iterator[bytes]:
        if _first_frame(self._buffer) is None:
            self._buffer += _some(self._socket)
        texts, self._buffer = split(self._buffer)
        yield from texts

    def _send(self, text: bytes) -> None:
        self._socket.sendall(framed(text, self._mask))


def upgrade(address: Address) -> bytes:
    """Render the request that makes a connection a WebSocket."""
    return (
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s:%d\r\n"
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % (address[0].encode(), address[1])
    )


def after_upgrade(answer: bytes) -> bytes:
    """Give what came behind the whole answer to that request, which has to be a yes."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.partition(b"\r\n")[0]:
        raise WireError(f"no WebSocket: {head[:200]!r}")
    return rest


def framed(text: bytes, mask: bytes) -> bytes:
    """Render a frame as clients have to: masked."""
    size = len(text)
    if size < _SHORT:
        head = struct.pack("!BB", _TEXT, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", _TEXT, 0x80 | _SHORT, size)
    else:
        head = struct.pack("!BBQ", _TEXT, 0x80 | _MEDIUM, size)
    key = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(text, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(size, "big")


def split(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Give the texts of the whole frames, and what lies behind them."""
    texts = []
    while frame := _first_frame(buffer):
        start, end = frame
        opcode, text = buffer[0] & 0x0F, buffer[start:end]
        buffer = buffer[end:]
        if opcode == 0x8:
            raise WireError(f"the server closed a connection: {text!r}")
        if opcode == 0x1:
            texts.append(text)
    return texts, buffer


def _first_frame(buffer: bytes) -> tuple[int, int] | None:
    if len(buffer) < 2:
        return None
    size, start = buffer[1] & 0x7F, 2
    if size == _SHORT:
        size, start = int.from_bytes(buffer[2:4], "big"), 4
    elif size == _MEDIUM:
        size, start = int.from_bytes(buffer[2:10], "big"), 10
    whole = len(buffer) >= start and len(buffer) >= start + size
    return (start, start + size) if whole else None


def _accepted(name: str, body: dict[str, Any]) -> dict[str, Any]:
    if not body["ok"]:
        raise WireError(f"{name} was refused: {body}")
    return body


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(_READ_BYTES)
    if not data:
        raise WireError("the server hung up")
    return data


class Http:
    """One HTTP connection that is kept alive, with one request under way at a time."""

    def __init__(self, address: Address) -> None:
        self._socket = connect(address)
        self._buffer = b""

    def fileno(self) -> int:
        """Tell select what to watch."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, request: bytes) -> None:
        """Send a whole request."""
        self._socket.sendall(request)

    def receive(self) -> tuple[int, bytes, bytes] | None:
        """Read once: status, head and body of the answer, or None while it is not complete."""
        self._buffer += _some(self._socket)
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        status = int(head[9:12])
        size = 0 if status in (204, 304) else _content_length(head)
        if len(rest) < size:
            return None
        self._buffer = rest[size:]
        return status, head, rest[:size]

    def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Send a request and wait for the answer. For before the load."""
        self.send(request)
        while not (answer := self.receive()):
            pass
        return answer


def request(path: str, token: str, **headers: str) -> bytes:
    """Render a GET; underscores in the headers' names stand for hyphens."""
    lines = [f"GET {path} HTTP/1.1", "Host: bench", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, token: str, body: object) -> bytes:
    """Render a POST of JSON."""
    text = orjson.dumps(body)
    head = request(path, token, Content_Type="application/json", Content_Length=str(len(text)))
    return head.replace(b"GET", b"POST", 1) + text


def counter(address: Address, name: str) -> float:
    """Read one of the counters that a node shows at /metrics."""
    with closing(Http(address)) as client:
        body = client.ask(request("/metrics", ""))[2]
    for line in body.splitlines():
        if line.startswith(b"%s " % name.encode()):
            return float(line.split()[1])
    raise WireError(f"no {name} among the metrics")


def header(head: bytes, name: str) -> str:
    """Find a header's value in an answer's head; empty where there is none."""
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.strip().lower() == name.lower().encode():
            return value.strip().decode()
    return ""


def _content_length(head: bytes) -> int:
    value = header(head, "content-length")
    if not value:
        raise WireError(f"an answer without Content-Length: {head[:300]!r}")
    return int(value)
