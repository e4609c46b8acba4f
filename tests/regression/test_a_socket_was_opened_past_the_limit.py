"""Sockets were opened where the proxy's limit on new ones, and our own rules, didn't look.

Engine.IO served all that begins with /socket.io/: `/socket.io/../x` is another place to nginx,
which counted nobody there. And with a second `transport` in the query neither the refusal of
polling nor the judgement of a WebSocket's handshake was asked.
"""

import contextlib
import http.client

import pytest

from realtime.handshakes import Terms, guard_handshakes
from tests.regression.wires import DEADLINE_S

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
PATHS = [
    "/socket.io/../x",
    "/socket.io/%2e%2e/api/v1/me",
    "/socket.io//",
    "/socket.io/x",
    "/socket.io/.",
    "/socket.io",
]


def judge(query: str, headers: dict[str, str] | None = None, *, serves_polling: bool = True) -> str:
    """Ask the guard alone."""
    heard: list[str] = []
    terms = Terms("n1", serves_polling, lambda: False, [], lambda *_: heard.append("opened"))
    app = guard_handshakes(lambda *_: [b"passed"], terms)
    environ = {"PATH_INFO": "/socket.io/", "QUERY_STRING": query, "REQUEST_METHOD": "GET"}
    app({**environ, **(headers or {})}, lambda status, _headers: heard.append(status))
    return (heard or ["passed"])[0]


class TestOtherPaths:
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("transport", ["websocket", "polling"])
    def test_nothing_begins_there(self, sturdy, path, transport):
        """For stock clients there is one path, and a proxy may go by it."""
        headers = UPGRADE if transport == "websocket" else {}
        connection = http.client.HTTPConnection("127.0.0.1", sturdy.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", f"{path}?EIO=4&transport={transport}", headers=headers)
            answer = connection.getresponse()

            assert answer.status == 404
            assert "not_found" in answer.read().decode()


class TestTwoTransports:
    @pytest.mark.parametrize("second", ["polling", "websocket", "x"])
    def test_polling_is_refused_where_it_is_not_served(self, second):
        query = f"EIO=4&transport=polling&transport={second}"

        assert judge(query, serves_polling=False) == "400 Bad Request"

    @pytest.mark.parametrize("second", ["polling", "websocket", "x"])
    def test_the_handshake_of_a_websocket_is_judged(self, second):
        query = f"EIO=4&transport=websocket&transport={second}"
        headers = {"HTTP_HOST": "x", "HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"}

        assert judge(query, headers) == "426 Upgrade Required"
