"""A connection could unsubscribe from its user's own stream, which nothing watches again.

It then heard of no new channel, no notification and no lost access, though every connection is
promised its own stream.
"""

from tests.support.client import SocketClient, registered


class TestOwnStream:
    def test_it_can_not_be_left(self, sturdy):
        with registered(sturdy.url) as ada, SocketClient(sturdy.url, ada.access_token) as client:
            refusals = [
                client.refusal("unsubscribe", {"stream": stream})["code"]
                for stream in ("user:me", f"user:{ada.id}")
            ]
            ada.post("/channels", {"name": "x", "kind": "private"})
            client.wait_for_event("member.joined", stream=f"user:{ada.id}", deadline_s=30)

        assert refusals == ["forbidden", "forbidden"]
