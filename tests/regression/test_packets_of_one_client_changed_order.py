"""Two POSTs that a polling client sent at once were handled at once, in whichever order.

"Events of one client are handled in the order in which they were sent": where the first one
waited for the database, the second was through before it.
"""

import json

from tests.regression.wires import Polling, call, read_all
from tests.support.client import registered


class TestPosts:
    def test_the_second_waits_for_the_first(self, stall):
        with (
            registered(stall.server.url) as ada,
            Polling(stall.server, ada.access_token) as polling,
        ):
            made = ada.post("/channels", {"name": "x", "kind": "public"}).json()
            wish = {"stream": f"channel:{made['id']}"}
            stall.lock("LOCK TABLE channels IN ACCESS EXCLUSIVE MODE")
            first = polling.post_later("421" + json.dumps(["subscribe", wish]))
            stall.wait_for_waiting(1)
            second = polling.post_later('422["nonsense",{}]')
            # The server has read the second one when it answers what came after it.
            for _ in range(5):
                call(stall.server, "GET", "/healthz")
            stall.release()
            for connection in (first, second):
                with connection:
                    read_all(connection)
            packets = polling.read_until('"bad_request"')

        acks = [packet[:3] for packet in packets if packet.startswith("43")]
        assert acks == ["431", "432"]
