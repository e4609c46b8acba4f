"""A WebSocket that a polling client tried in vain took the polling session with it.

Behind something that lets the handshake through and breaks the frames, stock clients lost their
session at each try and came back for ever, though polling worked. Only a session that lives on
its WebSocket ends with it.
"""

import pytest

from tests.regression.wires import Polling, call, open_websocket, read_to_the_end
from tests.support.client import registered

PROBES = {"none": None, "a wrong one": "2nope", "garbage": "x", "no upgrade after it": "2probe"}


class TestFailedUpgrade:
    @pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES.keys())
    def test_polling_goes_on(self, sturdy, probe):
        with registered(sturdy.url) as ada, Polling(sturdy, ada.access_token) as polling:
            opened = open_websocket(sturdy, polling.sid)
            if probe is not None:
                opened.send(probe)
            opened.send_close()
            read_to_the_end(opened)
            opened.shutdown()
            call(sturdy, "GET", "/healthz")

            assert polling.post('427["nonsense",{}]').status_code == 200
            assert polling.read_until("437")[-1].startswith("437")
