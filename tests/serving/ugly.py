"""The ugly ways to come and go: half open, by a reset, without a word, in the middle of anything.

Each gives the socket that it leaves open, for the server to get rid of, or none.
"""

import json
import socket
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import websocket

from tests.regression.wires import Polling, dial, open_websocket
from tests.support.client import RestClient, registered
from tests.support.server import Server

RESET = struct.pack("ii", 1, 0)
HEAD = "HTTP/1.1\r\nHost: x\r\n"
HANDSHAKE = (
    f"GET /socket.io/?EIO=4&transport=websocket {HEAD}Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
# What each failure of a handler is called in the log.
FAILURES = ("packet failed", "connect failed", "greeting failed")


@dataclass(frozen=True)
class Scene:
    """A server with a channel, a user, and two whose rows in the database are broken."""

    server: Server
    stream: str
    token: str
    token_of_broken_session: str
    token_of_broken_user: str
    cursor: str


def set_scene(server: Server, database_url: str) -> Scene:
    """Make the users; make the store fail for two of them, and for one type of event."""
    with registered(server.url) as ada, registered(server.url) as bob, registered(server.url) as cy:
        body = {"name": "Ugly", "kind": "public", "slug": "ugly"}
        stream = "channel:" + str(ada.post("/channels", body).json()["id"])
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as database:
            database.executescript(
                "CREATE TRIGGER broken BEFORE INSERT ON events WHEN NEW.type = 'ugly.event'"
                " BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END;"
                f"UPDATE sessions SET expires_ms = 'broken' WHERE user_id = '{bob.id}';"
                f"UPDATE users SET created_ms = 'broken' WHERE id = '{cy.id}';"
            )
        made = ada.post("/events/cursor", {"streams": {stream: None}}).json()
        return Scene(server, stream, _token(ada), _token(bob), _token(cy), made["cursor"])


def _token(person: RestClient) -> str:
    return str(person.access_token)


# How they come.


def connect(scene: Scene, token: str = "") -> websocket.WebSocket:
    """Connect, and don't wait for the answer."""
    opened = open_websocket(scene.server)
    opened.send("40" + json.dumps({"token": token or scene.token}))
    return opened


def take_part(scene: Scene) -> websocket.WebSocket:
    """Connect, and be present in the channel."""
    opened = connect(scene)
    opened.send("421" + json.dumps(["subscribe", {"stream": scene.stream, "presence": True}]))
    read_until(opened, '431[{"ok":true')
    return opened


def read_until(opened: websocket.WebSocket, wanted: str) -> None:
    """Read until a packet holds these words."""
    while wanted not in str(packet := opened.recv()):
        assert packet, f"closed before {wanted}"


def send(scene: Scene, request: bytes) -> socket.socket:
    """Send bytes on a connection of their own."""
    connection = dial(scene.server)
    connection.sendall(request)
    return connection


def reset(connection: socket.socket) -> None:
    """Go by RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def _socket_of(opened: websocket.WebSocket) -> socket.socket:
    assert opened.sock is not None
    return opened.sock


# How they go.


def no_close_frame(scene: Scene) -> None:
    take_part(scene).shutdown()


def reset_in_the_middle(scene: Scene) -> None:
    reset(_socket_of(take_part(scene)))


def reset_while_connecting(scene: Scene) -> None:
    reset(_socket_of(connect(scene)))


def gone_while_subscribing(scene: Scene) -> None:
    opened = connect(scene)
    opened.send("421" + json.dumps(["subscribe", {"stream": scene.stream, "presence": True}]))
    opened.shutdown()


def reset_before_connect(scene: Scene) -> None:
    reset(_socket_of(open_websocket(scene.server)))


def half_closed(scene: Scene) -> socket.socket:
    """It says that it sends no more, and stays."""
    opened = take_part(scene)
    _socket_of(opened).shutdown(socket.SHUT_WR)
    return _socket_of(opened)


def half_open(scene: Scene) -> socket.socket:
    """It is gone without a word: nothing answers any more."""
    return _socket_of(take_part(scene))


def half_a_frame(scene: Scene) -> socket.socket:
    """It stops within a frame, and answers no more."""
    opened = take_part(scene)
    _socket_of(opened).sendall(b"\x81\xfe\x01")
    return _socket_of(opened)


def stranger(scene: Scene) -> socket.socket:
    """It never says who it is."""
    return _socket_of(open_websocket(scene.server))


def refused(scene: Scene) -> None:
    opened = connect(scene, "no token")
    opened.shutdown()


def malformed(scene: Scene) -> None:
    """A packet that Engine.IO itself can't read."""
    opened = take_part(scene)
    opened.send('42["subscribe",')
    opened.send("x")
    opened.shutdown()


def packet_handler_raises(scene: Scene) -> None:
    """The store fails while a packet is handled; it is told so, and goes."""
    opened = take_part(scene)
    event = {"stream": scene.stream, "type": "ugly.event", "data": 1}
    opened.send("422" + json.dumps(["publish", event]))
    read_until(opened, '"code":"internal"')
    reset(_socket_of(opened))


def connect_handler_raises(scene: Scene) -> None:
    opened = connect(scene, scene.token_of_broken_session)
    read_until(opened, '"code":"internal"')
    opened.shutdown()


def greeting_raises(scene: Scene) -> socket.socket:
    opened = connect(scene, scene.token_of_broken_user)
    read_until(opened, '"code":"internal"')
    return _socket_of(opened)


def reset_in_the_handshake(scene: Scene) -> None:
    reset(send(scene, HANDSHAKE))


def half_a_handshake(scene: Scene) -> None:
    send(scene, HANDSHAKE[:99]).close()


def half_a_body(scene: Scene) -> None:
    head = f"POST /api/v1/auth/login {HEAD}Content-Type: application/json\r\nContent-Length: 9\r\n"
    reset(send(scene, f"{head}\r\n{{".encode()))


def half_a_request(scene: Scene) -> socket.socket:
    """It stops within the head, and stays."""
    return send(scene, f"GET /healthz {HEAD}".encode())


def abandoned_polling(scene: Scene) -> None:
    session = Polling(scene.server)
    session.post("40" + json.dumps({"token": scene.token}))


def abandoned_poll(scene: Scene) -> socket.socket:
    """Its poll is parked, and nobody reads the answer."""
    path = Polling(scene.server).path
    return send(scene, f"GET {path} {HEAD}Connection: close\r\n\r\n".encode())


def reset_poll(scene: Scene) -> None:
    reset(send(scene, f"GET {Polling(scene.server).path} {HEAD}\r\n".encode()))


def abandoned_upgrade(scene: Scene) -> socket.socket:
    """It probes, and never says that it goes on by WebSocket."""
    session = Polling(scene.server)
    opened = open_websocket(scene.server, session.sid)
    opened.send("2probe")
    return _socket_of(opened)


def follow(scene: Scene, path: str) -> socket.socket:
    """Follow by a poll or a stream, and be present in the channel."""
    place = f"cursor={quote(scene.cursor)}&presence=true"
    head = f"GET /api/v1{path}{place} {HEAD}Authorization: Bearer {scene.token}\r\n\r\n"
    return send(scene, head.encode())


def stream_until_ready(scene: Scene) -> socket.socket:
    """Open a stream, and wait until it has begun."""
    connection = follow(scene, "/events/stream?")
    received = b""
    while b"event: ready" not in received:
        part = connection.recv(65_536)
        assert part, f"closed before it was ready: {received!r}"
        received += part
    return connection


def reset_waiting(scene: Scene) -> None:
    reset(follow(scene, "/events?wait=60&"))


def gone_waiting(scene: Scene) -> None:
    follow(scene, "/events?wait=60&").close()


def half_closed_waiting(scene: Scene) -> socket.socket:
    """It says that it sends no more, waits for its poll, and stays."""
    connection = follow(scene, "/events?wait=60&")
    connection.shutdown(socket.SHUT_WR)
    return connection


def reset_with_more_to_come(scene: Scene) -> None:
    """Behind its poll lies the next one already, so its end is seen late."""
    connection = follow(scene, "/events?wait=1&")
    head = f"GET /api/v1/events?cursor={quote(scene.cursor)}&wait=60 {HEAD}"
    connection.sendall(f"{head}Authorization: Bearer {scene.token}\r\n\r\n".encode())
    reset(connection)


def half_a_cursor(scene: Scene) -> None:
    reset(send(scene, f"GET /api/v1/events?cursor={quote(scene.cursor)[:9]}".encode()))


def reset_stream(scene: Scene) -> None:
    reset(stream_until_ready(scene))


def gone_stream(scene: Scene) -> None:
    stream_until_ready(scene).close()


def reset_stream_at_once(scene: Scene) -> None:
    reset(follow(scene, "/events/stream?"))


def half_closed_stream(scene: Scene) -> socket.socket:
    connection = stream_until_ready(scene)
    connection.shutdown(socket.SHUT_WR)
    return connection


RAISING: list[Callable[[Scene], Any]] = [
    packet_handler_raises,
    connect_handler_raises,
    greeting_raises,
]
KINDS: list[Callable[[Scene], Any]] = [
    *RAISING,
    *(no_close_frame, reset_in_the_middle, reset_while_connecting, gone_while_subscribing),
    *(reset_before_connect, half_closed, half_open, half_a_frame, stranger, refused, malformed),
    *(reset_in_the_handshake, half_a_handshake, half_a_body, half_a_request),
    *(abandoned_polling, abandoned_poll, reset_poll, abandoned_upgrade),
    *(reset_waiting, gone_waiting, half_closed_waiting, reset_with_more_to_come, half_a_cursor),
    *(reset_stream, gone_stream, reset_stream_at_once, half_closed_stream),
]
