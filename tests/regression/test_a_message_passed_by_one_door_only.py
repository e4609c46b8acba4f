"""A message of control characters was taken by REST and closed the socket that sent it.

As JSON each of them takes six bytes, and a packet could be no larger than four times a message.
"""

from tests.support.client import SocketClient, registered

BODY = "\x01" * 65_000


class TestControlCharacters:
    def test_they_pass_by_socket_and_come_to_readers(self, sturdy):
        with registered(sturdy.url) as ada, SocketClient(sturdy.url, ada.access_token) as client:
            lobby = ada.post("/channels", {"name": "x", "kind": "public"}).json()["id"]
            client.ok("subscribe", {"stream": f"channel:{lobby}"})
            client.ok("message.create", {"channel": lobby, "body": BODY}, timeout_s=30)
            event = client.wait_for_event("message.created", deadline_s=30)

        assert event["data"]["body"] == BODY
