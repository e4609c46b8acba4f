"""Thousands of connections that come and go in ugly ways, in batches that go step by step together.

Raw sockets in one thread: what a connection costs is nearly all the server's. How each one ends,
and at which stage, is drawn at random.
"""

import json
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Self
from urllib.parse import quote

from tests.regression.wires import Polling
from tests.serving.ugly import Scene, reset
from tests.websocket.line import (
    BINARY,
    CONTINUATION,
    PING,
    SOCKET_IO,
    TEXT,
    close_frame,
    frame,
    handshake,
)

BATCH = 100
DEADLINE_S = 60.0
HALF = frame(TEXT, b"42" + bytes(300))[:100]

Connection = socket.socket
End = Callable[[Connection], bool]  # tells whether the connection stays open


# How they end. Some stay, and the server has to notice by itself.


def by_reset(connection: Connection) -> bool:
    reset(connection)
    return False


def by_fin(connection: Connection) -> bool:
    connection.close()
    return False


def saying(*parts: bytes, then: End) -> End:
    """Send something first."""

    def end(connection: Connection) -> bool:
        try:
            connection.sendall(b"".join(parts))
        except ConnectionError:
            return by_fin(connection)  # the server was faster
        return then(connection)

    return end


def half_closed(connection: Connection) -> bool:
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return by_fin(connection)
    return True


def silent(_connection: Connection) -> bool:
    return True


BARE: list[End] = [by_reset, by_fin, half_closed]
ENDS: list[End] = [
    *BARE,
    silent,
    *(saying(close_frame(1000), then=then) for then in BARE),
    saying(frame(TEXT, b"1"), then=by_fin),
    saying(frame(TEXT, b"41"), then=by_reset),
    *(saying(HALF, then=then) for then in (*BARE, silent)),
    *(saying(frame(BINARY, bytes(99), final=False), then=then) for then in (by_reset, silent)),
    saying(frame(TEXT, b"4", final=False), frame(CONTINUATION, b"2", final=False), then=by_fin),
    *(saying(frame(3), then=then) for then in (by_reset, by_fin)),
    saying(frame(TEXT, b"\xff"), then=by_fin),
    saying(frame(BINARY, bytes(1_000_000))[:14], then=by_reset),
    saying(frame(PING, bytes(125)) * 200, then=by_reset),
    saying(frame(TEXT, b'427["subscribe",{}]') * 50, then=by_reset),
]


class Churn:
    """Batches of ugly connections to one server.

    At most `most_left` of those who don't go stay open, until the server or the next ones have
    them go.
    """

    def __init__(self, scene: Scene, rng: random.Random, *, most_left: int = 600) -> None:
        self._most_left = most_left
        self._scene = scene
        self._rng = rng
        self._open_ones: set[Connection] = set()
        self._left: deque[Connection] = deque()
        self.number = 0
        self.taken_part = 0
        hello = "40" + json.dumps({"token": scene.token})
        wish = json.dumps(["subscribe", {"stream": scene.stream, "presence": True}])
        self._hello = frame(TEXT, hello.encode())
        self._wish = frame(TEXT, f"421{wish}".encode())
        self._bad_hello = frame(TEXT, b'40{"token":"no"}')
        self._stages: list[tuple[int, Callable[[list[Connection]], None]]] = [
            (10, self._only_connect),
            (10, self._half_a_handshake),
            (8, self._refused),
            (10, self._handshake_and_gone),
            (10, self._strangers),
            (8, self._bad_tokens),
            (10, self._connecting),
            (26, self._taking_part),
            (5, self._not_reading),
            (3, self._followers),
        ]

    def run(self, number: int) -> None:
        """Let so many come and go."""
        for _ in range(number // BATCH):
            for share, stage in self._stages:
                stage([self._dial() for _ in range(share)])
            self._upgrading()
            self._let_some_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was left open."""
        for connection in self._open_ones:
            connection.close()
        self._open_ones.clear()
        self._left.clear()

    def _dial(self, *, buffer: int = 0) -> Connection:
        connection = socket.socket()
        connection.settimeout(DEADLINE_S)
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.connect(("127.0.0.1", self._scene.server.port))
        self._open_ones.add(connection)
        self.number += 1
        return connection

    def _end(self, connections: list[Connection], ends: list[End]) -> None:
        for connection in connections:
            if self._rng.choice(ends)(connection):
                self._left.append(connection)
            else:
                self._open_ones.discard(connection)

    def _let_some_go(self) -> None:
        while len(self._left) > self._most_left:
            oldest = self._left.popleft()
            oldest.close()
            self._open_ones.discard(oldest)

    # The stages that they come to.

    def _only_connect(self, connections: list[Connection]) -> None:
        self._end(connections, BARE)

    def _half_a_handshake(self, connections: list[Connection]) -> None:
        whole = handshake()
        for connection in connections:
            connection.sendall(whole[: self._rng.randrange(1, len(whole))])
        self._end(connections, [*BARE, silent])

    def _refused(self, connections: list[Connection]) -> None:
        wrong = [
            handshake(Sec_WebSocket_Version="8"),
            handshake(Origin="http://evil.example"),
            handshake(without="Host"),
            handshake(path="/socket.io/?EIO=3&transport=websocket"),
            handshake(path=f"{SOCKET_IO}&sid=none"),
        ]
        for connection in connections:
            connection.sendall(self._rng.choice(wrong))
        self._end(connections, [*BARE, silent])

    def _handshake_and_gone(self, connections: list[Connection]) -> None:
        self._send(connections, handshake())
        self._end(connections, BARE)

    def _strangers(self, connections: list[Connection]) -> None:
        self._open(connections)
        self._end(connections, ENDS)

    def _bad_tokens(self, connections: list[Connection]) -> None:
        self._open(connections)
        self._send(connections, self._bad_hello * 2)
        self._end(connections, ENDS)

    def _connecting(self, connections: list[Connection]) -> None:
        """Gone while its token is looked up, or while it is greeted."""
        self._open(connections)
        self._send(connections, self._hello, self._wish)
        self._end(connections, ENDS)

    def _taking_part(self, connections: list[Connection]) -> None:
        self._take_part(connections)
        self._end(connections, ENDS)

    def _not_reading(self, connections: list[Connection]) -> None:
        """What is published waits for it in every buffer when it goes."""
        small = [self._dial(buffer=4096) for _ in connections]
        self._end(connections, [by_fin])
        self._take_part(small)
        event = {"stream": self._scene.stream, "type": "ugly.signal", "data": "x" * 30_000}
        packet = f"42{json.dumps(['publish', {**event, 'ephemeral': True}])}"
        small[0].sendall(frame(TEXT, packet.encode()) * 8)
        self._end(small, ENDS)

    def _followers(self, connections: list[Connection]) -> None:
        paths = ["/api/v1/events?wait=60&", "/api/v1/events/stream?"]
        place = f"cursor={quote(self._scene.cursor)}&presence=true"
        bearer = f"HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._scene.token}\r\n\r\n"
        for connection in connections:
            connection.sendall(f"GET {self._rng.choice(paths)}{place} {bearer}".encode())
        self._end(connections, BARE)

    def _upgrading(self) -> None:
        """One that polled stops half way to a WebSocket."""
        polling = Polling(self._scene.server)
        connection = self._dial()
        connection.sendall(handshake(path=f"{SOCKET_IO}&sid={polling.sid}"))
        self._read_until(connection, b"\r\n\r\n")
        connection.sendall(frame(TEXT, b"2probe"))
        if self._rng.random() < 0.5:
            self._read_until(connection, b"3probe")
        self._end([connection], ENDS)

    # Steps.

    def _open(self, connections: list[Connection]) -> None:
        self._send(connections, handshake())
        for connection in connections:
            self._read_until(connection, b'"maxPayload"')

    def _take_part(self, connections: list[Connection]) -> None:
        self._open(connections)
        self._send(connections, self._hello, self._wish)
        for connection in connections:
            self._read_until(connection, b'431[{"ok":true')
            self.taken_part += 1

    def _send(self, connections: list[Connection], *parts: bytes) -> None:
        for connection in connections:
            connection.sendall(b"".join(parts))

    def _read_until(self, connection: Connection, wanted: bytes) -> None:
        received = b""
        while wanted not in received:
            part = connection.recv(65_536)
            assert part, f"closed before {wanted!r}: {received[-300:]!r}"
            received += part
