"""Who may begin a session of Engine.IO here: by the transport, by the node, and not at the end."""

import json
from typing import Any

import pytest
import socketio

from realtime import handshakes
from tests.regression.wires import Polling, call, open_websocket
from tests.support.client import registered

QUERY = "/socket.io/?EIO=4&transport=polling"


def ask(query: str, **terms) -> tuple[str, dict]:
    """Ask the guard alone: give the status and the body."""
    heard = []
    wanted = {"name": "n1", "serves_polling": True, "is_draining": lambda: False, **terms}
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
