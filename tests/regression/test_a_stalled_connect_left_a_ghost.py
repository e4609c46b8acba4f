"""A connection that ended while its token was looked up stayed in the books for ever.

The database stalled for longer than a stranger may take; the session was closed, found nothing
to let go of, and then the look-up came back and registered it. Twenty such ghosts locked a user
out until the server was started again.
"""

import json

from tests.regression.wires import (
    metric,
    open_websocket,
    read_to_the_end,
    wait_until_nobody_is_connected,
)
from tests.support.client import SocketClient, registered

NUMBER = 5


class TestStalledConnect:
    def test_who_left_meanwhile_is_not_counted(self, stall):
        with registered(stall.server.url) as ada:
            stall.lock("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
            sockets = [open_websocket(stall.server) for _ in range(NUMBER)]
            for opened in sockets:
                opened.send("40" + json.dumps({"token": ada.access_token}))
            stall.wait_for_waiting(1)  # for all of them, who are looked up together
            for opened in sockets:
                read_to_the_end(opened)
                opened.shutdown()
            stall.release()
            stall.wait_for_waiting(0)
            with SocketClient(stall.server.url, ada.access_token):
                counted = metric(stall.server, "fanfare_connections")

        assert counted == 1
        wait_until_nobody_is_connected(stall.server)
