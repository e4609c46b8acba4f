"""What was no request was answered without a status line, or with a bare 500.

A wrong request line got the standard library's page with nothing before it, which no client can
read. A WebSocket's handshake without `Connection: upgrade` made Engine.IO answer with packets.
"""

import json

import pytest

from tests.regression.wires import ask, statuses

LINES = [b"GET", b"GET / HTTP/9.9", b"\x16\x03\x01\x02\x00", b"GET / a b c"]
HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class TestNoRequest:
    @pytest.mark.parametrize("line", LINES, ids=repr)
    def test_a_malformed_line_is_answered_as_a_problem(self, sturdy, line):
        head, _, body = ask(sturdy, line + b"\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
        (status,) = statuses(head + b"\r\n")

        assert 400 <= status <= 505
        assert b"application/problem+json" in head
        assert b"Connection: close" in head
        assert json.loads(body)["status"] == status

    def test_a_handshake_without_its_connection_header_is_refused(self, sturdy):
        before = len(sturdy.log)
        head = HANDSHAKE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        answer = ask(sturdy, head)

        assert statuses(answer) == [400]
        assert "Traceback" not in sturdy.log[before:]
