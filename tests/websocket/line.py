"""One client of a real server, over a real TCP connection: bytes out, frames in.

It speaks no more of the protocol than it is told to, so that a test can break any clause of it.
What the server sends is held to RFC 6455 as it is read: whole frames, unmasked, no reserved bit.
"""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Self

from tests.regression.wires import Polling, dial
from tests.support.server import Server

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x9a\x01\xfe\x5c"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"
Frame = tuple[int, bytes]


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    form: int = 0,
) -> bytes:
    """Render a frame; `form` 126 or 127 writes the length longer than it need be."""
    size = len(payload)
    form = form or (size if size < 126 else 126 if size < 1 << 16 else 127)
    head = bytes((final << 7 | rsv << 4 | opcode, (mask is not None) << 7 | form))
    if form > 125:
        head += size.to_bytes(2 if form == 126 else 8)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Render a close frame, whatever the code."""
    return frame(CLOSE, code.to_bytes(2) + reason)


def fragments(opcode: int, *parts: bytes) -> list[bytes]:
    """Render a message as one frame for each part."""
    last = len(parts) - 1
    return [
        frame(opcode if at == 0 else CONTINUATION, part, final=at == last)
        for at, part in enumerate(parts)
    ]


def handshake(*, without: str = "", path: str = SOCKET_IO, **headers: str) -> bytes:
    """Render a handshake; headers take the place of the usual ones, `_` stands for a hyphen."""
    lines = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines.pop(without, None)
    told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"GET {path} HTTP/1.1\r\n{told}\r\n".encode()


class Line:
    """A connection of one's own; it ends with the block."""

    def __init__(self, server: Server) -> None:
        self.sock = dial(server)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sid = ""  # of an upgraded session
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.sock.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes, all of them in one go."""
        self.sock.sendall(b"".join(parts))

    def send_slowly(self, *parts: bytes) -> None:
        """Send bytes one by one, each as a segment; the server may hang up on the way."""
        with suppress(ConnectionError):
            for byte in b"".join(parts):
                self.sock.sendall(bytes((byte,)))

    def say(self, text: str) -> None:
        """Send a text in one frame."""
        self.send(frame(TEXT, text.encode()))

    def read_head(self) -> tuple[int, dict[str, str]]:
        """Read the answer to a handshake: its status and headers."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = (line.split(": ", 1) for line in lines)
        return int(status.split(" ")[1]), {name.lower(): value for name, value in headers}

    def upgrade(self, path: str = SOCKET_IO) -> None:
        """Become a WebSocket."""
        self.send(handshake(path=path))
        status, _ = self.read_head()
        assert status == 101

    def read(self) -> Frame:
        """Read a frame.

        Raises: EOFError when the server has ended the connection in order.
        """
        first, size = self.take(2)
        assert first & 0xF0 == 0x80, "RFC 6455, 5.2: final, and no reserved bit"
        assert size < 128, "RFC 6455, 5.1: a server masks nothing"
        if size > 125:
            assert first & 0x08 == 0, "RFC 6455, 5.5: a control frame is short"
            size = int.from_bytes(self.take(2 if size == 126 else 8))
        return first & 0x0F, self.take(size)

    def hear(self) -> str:
        """Read a text, answering Engine.IO's pings."""
        while True:
            opcode, payload = self.read()
            assert opcode == TEXT, (opcode, payload)
            if payload != b"2":
                return payload.decode()
            self.say("3")

    def hear_ack(self, ack_id: int) -> Any:
        """Read texts up to an ack, and give its body."""
        start = f"43{ack_id}["
        while not (text := self.hear()).startswith(start):
            pass
        return json.loads(text[len(start) - 1 :])[0]

    def read_rest(self) -> list[Frame]:
        """Read all frames up to the end of the connection.

        Raises: ConnectionResetError when it does not end in order.
        """
        return list(self._frames())

    def _frames(self) -> Iterator[Frame]:
        with suppress(EOFError):
            while True:
                yield self.read()
        assert self._buffer == b"", "the connection ended within a frame"

    def take(self, size: int) -> bytes:
        """Read so many bytes."""
        while len(self._buffer) < size:
            self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _more(self) -> None:
        received = self.sock.recv(65_536)
        if not received:
            raise EOFError
        self._buffer += received


class Door:
    """A way to an open session of Socket.IO: a WebSocket from the start, or from polling."""

    def __init__(self, server: Server, token: str, *, is_upgraded: bool) -> None:
        self.server = server
        self.token = token
        self.is_upgraded = is_upgraded

    def open(self) -> Line:
        """Open a session that is let in."""
        return self._opened(self._upgrade if self.is_upgraded else self._connect)

    def open_as_stranger(self) -> Line:
        """Open a WebSocket that has not said who it is."""
        return self._opened(self._greet)

    def _opened(self, prepare: Callable[[Line], None]) -> Line:
        line = Line(self.server)
        try:
            prepare(line)
        except BaseException:
            line.sock.close()
            raise
        return line

    def _greet(self, line: Line) -> None:
        line.upgrade()
        assert line.hear().startswith("0{")

    def _connect(self, line: Line) -> None:
        self._greet(line)
        line.say("40" + json.dumps({"token": self.token}))
        while not line.hear().startswith('42["ready"'):
            pass

    def _upgrade(self, line: Line) -> None:
        polling = Polling(self.server, self.token)
        line.sid = polling.sid
        line.upgrade(f"{SOCKET_IO}&sid={polling.sid}")
        line.say("2probe")
        assert line.hear() == "3probe"
        line.say("5")
        # For a poll that is under way; here is none, so it comes on the WebSocket.
        assert line.hear() == "6"
