"""A frame that Engine.IO can't read left its session in the books until its pings were missed.

The library failed outside of its own `try`: only the TCP side was closed, with a traceback in the
log each time, also before anybody had signed in. Twenty such frames locked a user out.
"""

import json

import pytest

from tests.regression.wires import open_websocket, read_to_the_end, wait_until_nobody_is_connected
from tests.support.client import registered

FRAMES = {"empty": "", "no type": "x", "deep": "4" + "[" * 100_000, "no base64": "b!!!"}
CONNECTS = ["40{", "40[", '40"x"', "40" + "[" * 50_000, "40-", '40{"token":1}', "401[]", "40/"]


class TestMalformedFrame:
    @pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
    def test_nothing_is_left_of_its_connection(self, sturdy, frame):
        with registered(sturdy.url) as ada:
            opened = open_websocket(sturdy)
            opened.send("40" + json.dumps({"token": ada.access_token}))
            while '"ready"' not in str(opened.recv()):
                pass
            before = len(sturdy.log)
            opened.send(frame)
            opened.shutdown()
            wait_until_nobody_is_connected(sturdy)

        lines = sturdy.log[before:].splitlines()
        assert len([line for line in lines if "disconnected" not in line]) <= 1, lines
        assert "Traceback" not in sturdy.log[before:]

    @pytest.mark.parametrize("packet", CONNECTS, ids=lambda packet: packet[:16])
    def test_a_strangers_is_refused_without_a_traceback(self, sturdy, packet):
        before = len(sturdy.log)
        opened = open_websocket(sturdy)
        opened.send(packet)
        opened.send("4x")
        answers = read_to_the_end(opened)
        opened.shutdown()

        assert all(answer.startswith("44") for answer in answers if answer != "1"), answers
        assert "Traceback" not in sturdy.log[before:]
