"""The opening handshake, RFC 6455, 4: which requests become a WebSocket, and what others are told.

Each comes whole, as a browser sends it, and in two parts: the server has a quick way for the one,
and both ways have to judge alike.
"""

import base64
from collections.abc import Iterator

import pytest

from tests.support.server import Server
from tests.websocket.line import CLOSE, KEY, SOCKET_IO, TEXT, Line, close_frame, frame, handshake

ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the RFC's own example
ACCEPTED: list[tuple[str, str, bytes]] = [
    ("4.2.1", "the least that is asked for", handshake()),
    ("4.2.1", "a Connection of several tokens", handshake(Connection="keep-alive, Upgrade")),
    ("4.2.1", "tokens in any case", handshake(Upgrade="WebSocket", Connection="uPGRADE")),
    ("4.2.1", "an Upgrade of several tokens", handshake(Upgrade="h2c, websocket")),
    (
        "4.2.1",
        "names of headers in any case",
        handshake().replace(b"Sec-WebSocket", b"sec-wEBsocket"),
    ),
    ("4.2.1", "headers that are not known", handshake(X_Forwarded_Host="a", Pragma="no-cache")),
    ("4.2.2", "a page of the same origin", handshake(Origin="http://localhost")),
    ("4.2.2", "subprotocols, of which none is spoken", handshake(Sec_WebSocket_Protocol="chat, x")),
    ("9.1", "an extension that is not spoken", handshake(Sec_WebSocket_Extensions="x-mux; a=1")),
    ("9.1", "compression, which is off", handshake(Sec_WebSocket_Extensions="permessage-deflate")),
    ("Engine.IO", "more in the query", handshake(path=f"{SOCKET_IO}&t=abc")),
]
REFUSED: list[tuple[str, str, bytes, int]] = [
    ("4.2.1", "another method", handshake().replace(b"GET", b"POST", 1), 405),
    ("4.2.1", "a method in small letters", handshake().replace(b"GET", b"get", 1), 405),
    ("4.2.1", "HTTP/1.0", handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    ("4.2.1", "no Host", handshake(without="Host"), 400),
    ("4.2.1", "two of Host", handshake().replace(b"Upgrade:", b"Host: b\r\nUpgrade:", 1), 400),
    ("4.2.1", "no Upgrade", handshake(without="Upgrade"), 400),
    ("4.2.1", "another Upgrade", handshake(Upgrade="h2c"), 400),
    ("4.2.1", "an Upgrade that only holds the word", handshake(Upgrade="websocket2"), 400),
    ("4.2.1", "no Connection", handshake(without="Connection"), 400),
    ("4.2.1", "a Connection without the token", handshake(Connection="keep-alive"), 400),
    ("4.2.1", "no key", handshake(without="Sec-WebSocket-Key"), 400),
    ("4.2.1", "an empty key", handshake(Sec_WebSocket_Key=""), 400),
    (
        "4.2.1",
        "a key of 15 bytes",
        handshake(Sec_WebSocket_Key=base64.b64encode(bytes(15)).decode()),
        400,
    ),
    (
        "4.2.1",
        "a key of 17 bytes",
        handshake(Sec_WebSocket_Key=base64.b64encode(bytes(17)).decode()),
        400,
    ),
    ("4.2.1", "a key that is no base64", handshake(Sec_WebSocket_Key="*" * 22 + "=="), 400),
    ("11.3.1", "two keys", handshake(Sec_WebSocket_Key=f"{KEY}\r\nSec-WebSocket-Key: {KEY}"), 400),
    ("4.2.2", "no version", handshake(without="Sec-WebSocket-Version"), 426),
    ("4.2.2", "version 8", handshake(Sec_WebSocket_Version="8"), 426),
    ("4.2.2", "version 14", handshake(Sec_WebSocket_Version="14"), 426),
    ("4.2.2", "a list of versions", handshake(Sec_WebSocket_Version="13, 8"), 426),
    ("4.2.2", "a page of another origin", handshake(Origin="http://evil.example"), 400),
    ("4.2.2", "a page of no origin", handshake(Origin="null"), 400),
    ("4.2.2", "the origin of another scheme", handshake(Origin="https://localhost"), 400),
    (
        "4.2.2",
        "an origin that begins alike",
        handshake(Origin="http://localhost.evil.example"),
        400,
    ),
    ("4.1", "a body", handshake(Content_Length="4") + b"abcd", 400),
    ("4.1", "a frame before the answer", handshake() + frame(TEXT, b"40{}"), 400),
    ("4.1", "half a frame before the answer", handshake() + frame(TEXT, b"40{}")[:1], 400),
    ("4.1", "a body in chunks", handshake(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400),
    ("4.2.2", "another path", handshake(path="/socket.io/x?EIO=4&transport=websocket"), 404),
    ("Engine.IO", "no version", handshake(path="/socket.io/?transport=websocket"), 400),
    ("Engine.IO", "version 3", handshake(path="/socket.io/?EIO=3&transport=websocket"), 400),
    ("Engine.IO", "two versions", handshake(path=f"{SOCKET_IO}&EIO=3"), 400),
    ("Engine.IO", "another transport", handshake(path="/socket.io/?EIO=4&transport=tcp"), 400),
    ("Engine.IO", "a session that is not there", handshake(path=f"{SOCKET_IO}&sid=none"), 400),
]


def named(rows: list[tuple]) -> list[str]:
    return [f"{clause} {says}" for clause, says, *_ in rows]


@pytest.fixture(params=["whole", "in two parts"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def line(served: Server) -> Iterator[Line]:
    with Line(served) as made:
        yield made


def ask(line: Line, request: bytes, how: str) -> tuple[int, dict[str, str]]:
    """Send a request, and read the head of the answer."""
    if how == "whole":
        line.send(request)
    else:
        line.send_slowly(request[:30])
        line.send(request[30:])
    return line.read_head()


@pytest.mark.parametrize(("clause", "says", "request_"), ACCEPTED, ids=named(ACCEPTED))
def test_it_becomes_a_websocket(line, how, clause, says, request_):
    """The answer proves that the key was read, and offers nothing that was not spoken of."""
    status, headers = ask(line, request_, how)
    opcode, payload = line.read()
    line.send(close_frame(1000))

    assert status == 101
    assert headers == {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-accept": ACCEPT,
    }
    assert (opcode, payload[:2]) == (TEXT, b"0{")
    assert line.read_rest() == [(CLOSE, b"\x03\xe8")]


@pytest.mark.parametrize(("clause", "says", "request_", "status"), REFUSED, ids=named(REFUSED))
def test_it_is_refused(line, how, clause, says, request_, status):
    """By a status that says why; 426 with the version that would do (4.4)."""
    told, headers = ask(line, request_, how)

    assert told == status
    assert "sec-websocket-accept" not in headers
    assert headers.get("sec-websocket-version") == ("13" if status == 426 else None)
    assert headers.get("allow") == ("GET" if status == 405 else None)


def test_who_was_refused_may_ask_again_on_the_same_connection(line):
    """4.4: a client that was told the version."""
    line.send(handshake(Sec_WebSocket_Version="8"))
    _, headers = line.read_head()
    line.take(int(headers["content-length"]))
    line.upgrade()

    assert line.read()[1].startswith(b"0{")
