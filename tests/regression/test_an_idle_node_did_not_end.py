"""SIGTERM was noticed only when something else woke the loop, and a node that ended let people in.

Python ran the handler within the wait for sockets and went on waiting: an idle node outlived the
ten seconds that a container gets. Clients that came back at once, as stock ones do, were greeted
by the node that was about to go.
"""

import json
import socket
import subprocess
import sys

import pytest

from realtime import green_door
from tests.regression.wires import dial, open_websocket
from tests.support.client import registered
from tests.support.tree import ROOT

# A loop that nothing wakes: a node has clocks that tick by now, which would hide the fault.
SLEEPER = """
import signal, sys
from realtime import green
green.patch()
green.on_signals({signal.SIGTERM: lambda: green.exit_now(7)})
print("asleep", flush=True)
green.sleep(600)
"""


class TestEnd:
    def test_a_loop_that_sleeps_is_woken_by_a_signal(self):
        process = subprocess.Popen(
            [sys.executable, "-c", SLEEPER], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "asleep\n"
            process.terminate()

            assert process.wait(timeout=60) == 7

    def test_an_idle_node_ends_and_who_was_sent_away_finds_the_door_closed(self, start_own):
        server = start_own()
        with registered(server.url) as ada:
            token = ada.access_token
        opened = open_websocket(server)
        opened.send("40" + json.dumps({"token": token}))
        while '"ready"' not in str(opened.recv()):
            pass
        server.begin_stop()
        while '"bye"' not in str(opened.recv()):
            pass
        with pytest.raises(ConnectionRefusedError):
            dial(server)
        opened.shutdown()

        assert server.wait(deadline_s=30) == 0

    def test_a_closed_door_refuses(self):
        listener = green_door.listen("127.0.0.1", 0)
        address = listener.getsockname()
        listener.stop_accepting()

        with pytest.raises(ConnectionRefusedError), socket.create_connection(address, timeout=30):
            pass
