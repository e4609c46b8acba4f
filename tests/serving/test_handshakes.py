"""Who may begin a session of Engine.IO here: by the transport, by the node, and not at the end."""

import json
import socket
import time
from contextlib import ExitStack
from typing import Any

import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st

from realtime import handshakes
from tests.regression.wires import DEADLINE_S, Polling, call, dial, open_websocket
from tests.support.client import registered

QUERY = "/socket.io/?EIO=4&transport=polling"


def ask(query: str, **terms) -> tuple[str, dict]:
    """Ask the guard alone: give the status and the body."""
    heard = []
    wanted = {"name": "n1", "serves_polling": True, "is_draining": lambda: False, **terms}
    wanted |= {"origins": [], "open": lambda *_: heard.append("opened")}
    app = handshakes.guard_handshakes(lambda *_: [b"{}"], handshakes.Terms(**wanted))
    environ = {"PATH_INFO": "/socket.io/", "QUERY_STRING": query, "REQUEST_METHOD": "GET"}
    body = b"".join(app(environ, lambda status, headers: heard.append(status)))
    return (heard or ["passed"])[0], json.loads(body)


class TestTheGuard:
    def test_a_session_of_another_node_is_refused_with_what_to_do(self):
        """By polling and by the upgrade of it."""
        for transport in ("polling", "websocket"):
            status, body = ask(f"EIO=4&transport={transport}&sid=n2.abc")

            assert status == "400 Bad Request"
            assert body["data"]["code"] == "bad_request"
            assert "route by the sid" in body["message"]

    def test_a_name_that_only_begins_alike_is_another(self):
        assert ask("EIO=4&transport=polling&sid=n12.abc")[0] == "400 Bad Request"
        assert ask("EIO=4&transport=polling&sid=n1.abc")[0] == "passed"

    def test_polling_is_what_is_meant_where_no_transport_is_named(self):
        assert ask("EIO=4", serves_polling=False)[0] == "400 Bad Request"

    def test_a_node_that_drains_begins_no_session_and_goes_on_with_those_there(self):
        status, body = ask("EIO=4&transport=polling", is_draining=lambda: True)

        assert status == "503 Service Unavailable"
        assert body["data"]["code"] == "draining"
        assert ask("EIO=4&transport=polling&sid=n1.a", is_draining=lambda: True)[0] == "passed"


class TestPollingWithAName:
    def test_the_sid_carries_the_node_and_the_session_works(self, start_server):
        server = start_server(NODE_NAME="node-7")
        with registered(server.url) as ada, Polling(server, ada.access_token) as session:
            assert session.sid.startswith("node-7.")
            upgraded = open_websocket(server, session.sid)
            upgraded.send("2probe")
            assert upgraded.recv() == "3probe"
            upgraded.shutdown()


class TestPollingThatIsNotServed:
    @pytest.fixture
    def server(self, start_server):
        return start_server(TRANSPORTS="websocket")

    def test_the_answer_says_what_to_do(self, server):
        answer = call(server, "GET", QUERY)

        assert answer.status_code == 400
        assert answer.headers["Content-Type"] == "application/json"
        for word in ("websocket", "TRANSPORTS", "NODE_NAME"):
            assert word in answer.json()["message"]

    def test_a_stock_client_tells_it_as_a_connect_error(self, server):
        told: list[dict[str, Any]] = []
        client = socketio.Client(reconnection=False, handle_sigint=False)
        client.on("connect_error", told.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            client.connect(server.url, transports=["polling"])

        assert told[0]["data"]["code"] == "bad_request"
        assert "websocket" in told[0]["message"]


USUAL = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"
    b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def usual_with(header: bytes) -> bytes:
    return USUAL[:-2] + header + b"\r\n\r\n"


NOBODY: Any = []


def quick(**terms) -> handshakes.QuickHandshakes:
    """Stand in front of nobody."""
    wanted: dict[str, Any] = {"name": "n1", "serves_polling": True, "origins": []}
    wanted |= {"is_draining": lambda: False}
    wanted |= {"open": None, **terms}
    return handshakes.QuickHandshakes(handshakes.Terms(**wanted), NOBODY, lambda app: app)


class TestTheQuickWay:
    @pytest.mark.parametrize(
        "head",
        [
            USUAL,
            usual_with(b"User-Agent: Mozilla/5.0 (X11; Linux) Chrome/140"),
            usual_with(b"Origin: http://localhost"),
            usual_with(b"Cookie: a=b; c=d"),
            usual_with(b"X-Empty:"),
        ],
    )
    def test_a_usual_handshake_is_answered(self, head):
        greeting = quick().greet(head) or b""

        assert greeting.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in greeting

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            USUAL[:-1],  # not all is here yet
            USUAL + b"x",  # more than a head is here
            USUAL + USUAL,
            USUAL.replace(b"GET", b"get"),
            USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"),
            USUAL.replace(b" HTTP/1.1", b""),
            USUAL.replace(b"/socket.io/?", b"/socket.io//?"),
            USUAL.replace(b"EIO=4", b"EIO=4&a=\x00"),
            USUAL.replace(b"EIO=4", b"EIO=4&a=\t"),
            USUAL.replace(b"/socket.io/?", b"/socket.io/../x?"),
            USUAL.replace(b"/socket.io/?", b"/%73ocket.io/?"),
            USUAL.replace(b"\r\n", b"\n"),
            USUAL.replace(b"Host: localhost\r\n", b""),
            USUAL.replace(b"Host:", b"Host :"),
            USUAL.replace(b"Upgrade: w", b"Upgrade:\r\n w"),
            usual_with(b"Host: elsewhere"),
            usual_with(b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="),
            usual_with(b"X_Forwarded_For: 10.0.0.1"),
            usual_with(b"Content-Length: 5"),
            usual_with(b"Transfer-Encoding: chunked"),
            usual_with("X: ä".encode()),
            usual_with(b"X: a\x00b"),
            USUAL.replace(b"13", b"8"),
            USUAL.replace(b"transport=websocket", b"transport=polling"),
            USUAL.replace(b"EIO=4", b"EIO=3"),
            USUAL.replace(b"EIO=4", b"EIO=4&sid=n1.abc"),
            USUAL.replace(b"EIO=4&", b"EIO=4&transport=polling&"),
            usual_with(b"Origin: http://evil.example"),
        ],
    )
    def test_all_else_is_left_to_the_server(self, head):
        assert quick().greet(head) is None

    def test_a_node_that_drains_leaves_all_to_the_server(self):
        assert quick(is_draining=lambda: True).greet(USUAL) is None

    def test_pages_of_allowed_origins_pass(self):
        head = usual_with(b"Origin: https://app.example")

        assert quick(origins=["https://app.example"]).greet(head) is not None

    @given(
        head=st.binary()
        | st.builds(
            lambda at, junk: USUAL[:at] + junk + USUAL[at:],
            st.integers(0, len(USUAL)),
            st.binary(max_size=5),
        )
    )
    def test_no_bytes_raise(self, head):
        greeting = quick().greet(head)

        assert greeting is None or greeting.startswith(b"HTTP/1.1 101 ")


class TestBothWays:
    @pytest.mark.parametrize("cut", [len(USUAL), 1, 20, len(USUAL) - 1])
    def test_a_session_begins_however_the_handshake_comes(self, shared_server, cut):
        """Whole it may leave before the HTTP server sees it; in two parts it can't."""
        with dial(shared_server) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in filter(None, (USUAL[:cut], USUAL[cut:])):
                connection.sendall(part)
                time.sleep(0.05)  # the parts are to be read one by one
            received = b""
            while b'"sid"' not in received:
                received += connection.recv(4096)

        assert received.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")

    def test_a_page_of_another_origin_is_refused_with_a_reason(self, shared_server):
        with dial(shared_server) as connection:
            connection.sendall(usual_with(b"Origin: http://evil.example"))
            answer = connection.recv(65_536)

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"CORS_ORIGINS" in answer

    def test_sockets_count_toward_the_connections_that_a_process_takes(self, start_server):
        """They have left the HTTP server, which counts no more than its own."""
        server = start_server(WORKER_CONNECTIONS=64)
        with ExitStack() as stack:
            opened = [stack.enter_context(dial(server)) for _ in range(64)]
            for one in opened:
                one.sendall(USUAL)
                assert one.recv(4096).startswith(b"HTTP/1.1 101 ")
            late = stack.enter_context(dial(server))
            late.sendall(USUAL)
            late.settimeout(0.5)
            with pytest.raises(TimeoutError):
                late.recv(4096)
            opened.pop().close()
            late.settimeout(DEADLINE_S)

            assert late.recv(4096).startswith(b"HTTP/1.1 101 ")
