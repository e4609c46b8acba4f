"""A tiny WebSocket server that passes on what it is told, with a fault of one's choice.

Who asks for /watch is a watcher; what others say, or post, goes to all watchers, as the fault says.
"""

import base64
import hashlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

# Takes the events that came so far, the newest last; gives those to be sent now.
Fault = Callable[[list[bytes]], list[bytes]]
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def none(events: list[bytes]) -> list[bytes]:
    return events[-1:]


class FaultyServer:
    """Serves from `with` to its end, on a free port."""

    def __init__(self, fault: Fault = none) -> None:
        self._fault = fault
        self._events: list[bytes] = []
        self._lock = threading.Lock()
        self._watchers: list[socket.socket] = []
        self._all: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.at = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._all:
            sock.close()

    def cut_one(self) -> None:
        """Hang up on a watcher."""
        self._watchers.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._all.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65_536)
        if data.startswith(b"POST"):
            self._serve_posts(sock, data)
            return
        sock.sendall(_answer(data))
        if data.startswith(b"GET /watch"):
            self._watchers.append(sock)
            sock.sendall(_frame(b"welcome"))
            return
        data = b""
        while more := _received(sock):
            data += more
            while found := _first(data):
                text, data = found
                self._pass_on(text)

    def _serve_posts(self, sock: socket.socket, data: bytes) -> None:
        while data:
            head, found, rest = data.partition(b"\r\n\r\n")
            size = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]) if found else 0
            if not found or len(rest) < size:
                data += (more := _received(sock))
                if not more:
                    return
                continue
            self._pass_on(rest[:size])
            sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            data = rest[size:] or _received(sock)

    def _pass_on(self, text: bytes) -> None:
        with self._lock:
            self._events.append(text)
            for event in self._fault(self._events):
                for sock in self._watchers:
                    sock.sendall(_frame(event))


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65_536)
    except OSError:
        return b""


def _answer(request: bytes) -> bytes:
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
    )


def _frame(text: bytes) -> bytes:
    size = len(text)
    return (b"\x81" + bytes([size]) if size < 126 else struct.pack("!BBH", 0x81, 126, size)) + text


def _first(data: bytes) -> tuple[bytes, bytes] | None:
    if len(data) < 8:
        return None
    size, head = data[1] & 0x7F, 6
    if size == 126:
        size, head = int.from_bytes(data[2:4], "big"), 8
    if len(data) < head + size:
        return None
    mask = data[head - 4 : head]
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    text = int.from_bytes(data[head : head + size], "big") ^ key
    return text.to_bytes(size, "big"), data[head + size :]
