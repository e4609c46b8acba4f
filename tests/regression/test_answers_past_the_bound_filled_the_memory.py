"""Memory grew for as long as a client sent and did not read, signed in or not.

Asking for another namespace was answered by the library itself, past the bound on what may wait
for a connection. A session may now ask a few times, and the queue itself has a last bound.
Signals shared the bound with events to the last byte: a burst of them cut their readers off.
"""

import json
from types import SimpleNamespace

import eventlet
from engineio import packet

from realtime.connection import Connection, ConnectionLimits
from realtime.green import ByteQueue
from realtime.hub import Frame
from realtime.wire import Polled
from tests.regression.wires import open_websocket, read_to_the_end
from tests.support.client import registered

ROOM = 1000
LIMITS = ConnectionLimits(max_queued_bytes=ROOM, max_events_per_s=50, max_subscriptions=1)


class FakeSocket:
    """An Engine.IO socket for which something waits."""

    def __init__(self, queued_bytes: int) -> None:
        self.closed = self.closing = False
        self.upgraded = True
        self.queue = SimpleNamespace(queued_bytes=queued_bytes, put=lambda _end: None)
        self.sent: list[str] = []

    def send(self, sent: packet.Packet) -> None:
        self.sent.append(str(sent.data))


class TestAnswers:
    def test_asking_for_other_namespaces_is_answered_a_few_times(self, sturdy):
        """And the connection lives on."""
        with registered(sturdy.url) as ada:
            opened = open_websocket(sturdy)
            opened.send("40" + json.dumps({"token": ada.access_token}))
            for _ in range(300):
                opened.send("40/x,")
            opened.send('427["nonsense",{}]')
            answers: list[str] = []
            while not answers or not answers[-1].startswith("437"):
                answers.append(str(opened.recv()))
            opened.shutdown()

        assert len([answer for answer in answers if answer.startswith("44/x")]) <= 20

    def test_a_stranger_who_goes_on_asking_is_closed(self, sturdy):
        opened = open_websocket(sturdy)
        for _ in range(30):
            opened.send("40/x,")
        answers = read_to_the_end(opened)
        opened.shutdown()

        assert len([answer for answer in answers if answer.startswith("44")]) <= 20

    def test_a_queue_takes_no_more_than_its_bound_whoever_fills_it(self):
        overflows: list[bool] = []
        queue = ByteQueue()
        queue.max_bytes = 10_000
        queue.on_overflow = lambda: overflows.append(True)
        for _ in range(1000):
            queue.put(packet.Packet(packet.NOOP))
        eventlet.sleep(0)

        assert queue.qsize() < 100
        assert overflows


class TestSignals:
    def test_half_of_the_room_is_kept_for_events(self):
        socket = FakeSocket(ROOM // 2)
        connection = Connection(Polled(socket), None, LIMITS)  # type: ignore[arg-type] # nobody asks who
        connection.deliver_signal(Frame.of("signal", 1))
        connection.deliver(Frame.of("event", 2))

        assert socket.sent == ['2["event",2]']

    def test_one_that_does_not_fit_is_dropped_and_cuts_nobody_off(self):
        socket = FakeSocket(ROOM // 2 - 1)
        connection = Connection(Polled(socket), None, LIMITS)  # type: ignore[arg-type] # nobody asks who
        connection.deliver_signal(Frame.of("signal", "x" * ROOM))

        assert socket.sent == []
        assert not connection.is_ending

    def test_below_it_they_pass(self):
        socket = FakeSocket(ROOM // 2 - 1)
        connection = Connection(Polled(socket), None, LIMITS)  # type: ignore[arg-type] # nobody asks who
        connection.deliver_signal(Frame.of("signal", 1))

        assert socket.sent == ['2["signal",1]']
