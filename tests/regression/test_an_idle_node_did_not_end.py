"""SIGTERM was noticed only when something else woke the loop, and a node that ended let people in.

Python ran the handler within the wait for sockets and went on waiting: an idle node outlived the
ten seconds that a container gets. Clients that came back at once, as stock ones do, were greeted
by the node that was about to go.
"""

import json
import socket
from pathlib import Path

import pytest

from realtime import green_server
from tests.regression.wires import dial, open_websocket
from tests.support.client import registered
from tests.support.wait import wait_until

# Nothing of these wakes the loop by itself.
NEVER = {
    "COMPARE_INTERVAL_S": 60,
    "RETENTION_INTERVAL_S": 3600,
    "PING_INTERVAL_S": 600,
    "PING_TIMEOUT_S": 600,
    "AUTH_TIMEOUT_S": 300,
}


def wait_until_asleep(server) -> None:
    """Wait until nothing has woken the loop for half a second."""
    seen = [""]

    def is_asleep() -> bool:
        status = Path(f"/proc/{server.pid}/status").read_text()
        seen.append(next(line for line in status.splitlines() if line.startswith("voluntary_")))
        return seen[-1] == seen[-2]

    wait_until(is_asleep, deadline_s=30, every_s=0.5, what="the loop to sleep")


class TestEnd:
    def test_an_idle_node_ends_and_who_was_sent_away_finds_the_door_closed(self, start_own):
        server = start_own(**NEVER)
        with registered(server.url) as ada:
            token = ada.access_token
        opened = open_websocket(server)
        # Shorter than what wakes the loop anyhow: the end of a silent HTTP connection, at 30 s.
        opened.settimeout(20)
        opened.send("40" + json.dumps({"token": token}))
        while '"ready"' not in str(opened.recv()):
            pass
        wait_until_asleep(server)
        server.begin_stop()
        while '"bye"' not in str(opened.recv()):
            pass
        with pytest.raises(ConnectionRefusedError):
            dial(server)
        opened.shutdown()

        assert server.wait(deadline_s=30) == 0

    def test_a_closed_door_refuses(self):
        listener = green_server.listen("127.0.0.1", 0)
        address = listener.getsockname()
        listener.stop_accepting()

        with pytest.raises(ConnectionRefusedError), socket.create_connection(address, timeout=30):
            pass
