"""A body that was refused unread ended the connection behind an answer that did not say so.

The client sent its next request into the end of it, and was answered nothing.
"""

import http.client
import json

import pytest

from tests.support.client import registered

DEADLINE_S = 30
MIB = 1 << 20


def ask(
    connection: http.client.HTTPConnection, token: str | None, body: bytes
) -> tuple[int, str | None]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("PATCH", "/api/v1/me", body, headers)
    response = connection.getresponse()
    response.read()
    return response.status, response.getheader("Connection")


class TestTheAnswer:
    @pytest.fixture
    def connection(self, sturdy):
        made = http.client.HTTPConnection("127.0.0.1", sturdy.port, timeout=DEADLINE_S)
        yield made
        made.close()

    def test_it_says_that_the_connection_ends(self, sturdy, connection):
        """Announced, the body is refused before a byte of it has come."""
        with registered(sturdy.url) as ada:
            connection.putrequest("PATCH", "/api/v1/me")
            connection.putheader("Authorization", f"Bearer {ada.access_token}")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(64 * MIB))
            connection.endheaders()
            response = connection.getresponse()

        assert response.status == 413
        assert response.getheader("Connection") == "close"

    def test_it_goes_on_where_the_body_was_read(self, sturdy, connection):
        with registered(sturdy.url) as ada:
            body = json.dumps({"display_name": "x" * 100_000}).encode()
            first = ask(connection, ada.access_token, body)
            second = ask(connection, ada.access_token, b'{"display_name": "Ada"}')

        assert first == (422, None)
        assert second == (200, None)

    def test_it_goes_on_where_little_was_left_unread(self, sturdy, connection):
        """It is read and dropped: a connection is worth that much."""
        first = ask(connection, "nonsense", b"x" * 10_000)
        second = ask(connection, "nonsense", b"{}")

        assert first[1] is second[1] is None
        assert (first[0], second[0]) == (401, 401)
