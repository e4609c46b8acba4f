"""A client that was gone already left a traceback in the log, as often as it liked.

By a reset before its handshake was looked at, while what it had sent was refused as no request,
and in front of a close frame, where what waited to be written met the reset first.
"""

import threading

import pytest

from tests.regression.wires import call, dial
from tests.serving.ugly import reset
from tests.support.client import registered
from tests.websocket.line import PING, TEXT, Door, close_frame, frame, handshake

TIMES = 60
# A reset is seen where a reply is under way: some of each get there.
REQUESTS = {
    "nothing": b"",
    "a handshake": handshake(),
    "half a handshake": handshake()[:60],
    "no request": b"GET / HTTP/1.1\r\nContent-Length: x\r\nX",
    "two lines that are none": b"nonsense\r\n\r\nnonsense\r\n\r\n",
}


class TestReset:
    @pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
    def test_who_is_gone_before_the_answer_is_no_failure(self, sturdy, request_):
        before = len(sturdy.log)
        for number in range(TIMES):
            connection = dial(sturdy)
            connection.sendall(request_)
            if number % 2:
                reset(connection)
            else:
                connection.close()
        call(sturdy, "GET", "/healthz")

        assert "Traceback" not in sturdy.log[before:]
        assert "level='error'" not in sturdy.log[before:]

    def test_who_is_gone_before_the_close_frame_is_no_failure(self, sturdy):
        """A watcher of a busy stream breaks the protocol and is gone, with events on their way."""
        ada = registered(sturdy.url)
        door = Door(sturdy, str(ada.access_token), is_upgraded=False)
        made = ada.post("/channels", {"name": "Busy", "kind": "public"}).json()
        stream = f"channel:{made['id']}"
        before = len(sturdy.log)
        stop = threading.Event()
        publisher = threading.Thread(target=publish, args=(ada, stream, stop))
        publisher.start()
        try:
            for end in (close_frame(1000), frame(3), frame(TEXT, b"x")) * 5:
                line = door.open()
                line.say(f'421["subscribe",{{"stream":"{stream}"}}]')
                line.hear_ack(1)
                line.send(frame(PING), end)
                reset(line.sock)
        finally:
            stop.set()
            publisher.join()
            ada.close()

        assert "Traceback" not in sturdy.log[before:]


def publish(who, stream: str, stop: threading.Event) -> None:
    event = {"stream": stream, "type": "test.moved", "data": "x" * 1000, "ephemeral": True}
    while not stop.is_set():
        assert who.post("/publish", {"events": [event] * 50}).status_code == 200
