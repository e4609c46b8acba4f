"""Sessions of Engine.IO over a WebSocket, with a gate that only writes down what it is asked."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import eventlet
import pytest
from eventlet.green import socket

from core.callers import Caller
from core.errors import UnauthorizedError
from realtime import green
from realtime import session as session_module
from realtime.connection import Carrier, Connection, ConnectionLimits
from realtime.engine import Engine
from realtime.frames import encode_text
from realtime.hub import Frame
from realtime.room import Room
from realtime.session import EngineTerms
from realtime.socketio_text import Sent
from realtime.transport import Transport
from realtime.writers import PlainWriter
from tests.realtime.test_frames import BINARY, CLOSE, TEXT, client_frame, close_frame
from tests.realtime.test_transport import real_connection

DEADLINE_S = 20
LIMITS = ConnectionLimits(max_queued_bytes=100_000, max_events_per_s=1000, max_subscriptions=10)


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    with eventlet.Timeout(DEADLINE_S):
        yield


class Gate:
    """Lets everybody in who says so."""

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.heard: list[tuple[str, Any]] = []
        self.lists: list[int] = []
        self.gone: list[str] = []
        self.looked: list[Connection] = []
        self.wait_s = 0.0

    def admit(self, carrier: Carrier, auth: object, name: str) -> Connection:
        eventlet.sleep(self.wait_s)
        if auth != {"token": "good"}:
            raise UnauthorizedError("No.")
        caller = Caller("u", "ada", "s", False, 2**53)
        connection = self.connections[name] = Connection(carrier, caller, LIMITS)
        return connection

    def find(self, name: str) -> Connection | None:
        return self.connections.get(name)

    def on_connected(self, connection: Connection) -> None:
        connection.emit("ready", {})
        connection.end_packet()

    def on_packets(self, connection: Connection, packets: Sequence[Sent]) -> None:
        self.lists.append(len(packets))
        for packet in packets:
            eventlet.sleep(self.wait_s)
            if packet.name == "fail":
                raise ZeroDivisionError
            self.heard.append((packet.name, packet.args))
            if packet.ack_id is not None:
                connection.ack(packet.ack_id, {"ok": True})

    def on_malformed(self, _connection: Connection, detail: str, _ack_id: str | None) -> None:
        self.heard.append(("malformed", detail))

    def on_gone(self, name: str) -> None:
        self.gone.append(name)
        del self.connections[name]

    def look_ahead(self, connection: Connection, _seconds: float) -> None:
        self.looked.append(connection)


class World:
    """An engine and its clients."""

    def __init__(self, *, ping_s: float = 60, timeout_s: float = 60, auth_s: float = 60) -> None:
        self.gate = Gate()
        terms = EngineTerms(ping_s, timeout_s, 10_000, 100_000, auth_s)
        self.engine = Engine(self.gate, terms, lambda: "n1.abc")
        self.clients: list[Client] = []

    def open(self) -> "Client":
        ours, theirs = real_connection()
        self.engine.open(ours, b"")
        client = Client(theirs)
        self.clients.append(client)
        client.opened = json.loads(client.read_text()[1:])
        return client

    def connected(self) -> "Client":
        client = self.open()
        client.send('40{"token":"good"}')
        client.read_text()
        client.read_text()
        return client

    def settle(self, condition: Any) -> None:
        while not condition():
            eventlet.sleep(0.001)


class Client:
    """Speaks Engine.IO by hand."""

    def __init__(self, sock: Any) -> None:
        self.sock = socket.socket(fileno=sock.detach())
        self.buffer = b""
        self.opened: dict[str, Any] = {}

    def send(self, *texts: str) -> None:
        self.sock.sendall(b"".join(client_frame(TEXT, text.encode()) for text in texts))

    def read(self) -> tuple[int, bytes]:
        opcode, size = self._take(2)
        if size == 126:
            size = int.from_bytes(self._take(2))
        return opcode & 0x0F, self._take(size)

    def read_text(self) -> str:
        opcode, payload = self.read()
        assert opcode == TEXT, payload
        return payload.decode()

    def read_end(self) -> list[str]:
        """Read up to the end, answering a close; give the texts."""
        texts: list[str] = []
        while True:
            try:
                opcode, payload = self.read()
            except EOFError:
                return texts
            if opcode == CLOSE:
                self.sock.sendall(close_frame(1000))
            else:
                texts.append(payload.decode())

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    for client in made.clients:
        client.sock.close()
    made.settle(lambda: not len(made.engine))


class TestHandshake:
    def test_the_open_packet_tells_the_terms(self, world):
        assert world.open().opened == {
            "sid": "n1.abc",
            "upgrades": [],
            "pingInterval": 60_000,
            "pingTimeout": 60_000,
            "maxPayload": 10_000,
        }

    def test_who_has_a_token_is_let_in_and_greeted(self, world):
        client = world.open()
        client.send('40{"token":"good"}')
        answer = client.read_text()

        assert answer.startswith('40{"sid":"')
        assert client.read_text() == '42["ready",{}]'

    def test_the_answer_leaves_together_with_what_follows_it(self, world, monkeypatch):
        client, written = world.open(), list[bytes]()
        monkeypatch.setattr(Transport, "write", lambda _, data: written.append(data))
        client.send('40{"token":"good"}')
        world.settle(lambda: written)

        (together,) = written
        assert together[2:].startswith(b'40{"sid":"')
        assert together.endswith(b'42["ready",{}]')

    def test_the_answer_comes_whatever_follows_it(self, world, monkeypatch):
        """Nothing, a goodbye, or an end: it comes first, and it comes once."""

        def leave(connection: Connection) -> None:
            connection.say_goodbye("internal", "Bye.", "later")

        follows = {
            "nothing": (lambda _connection: None, []),
            "a goodbye": (leave, ['42["bye"']),
            "an end": (lambda connection: connection._carrier.end(for_good=False), []),
            "an end for good": (lambda connection: connection._carrier.end(for_good=True), ["1"]),
        }
        for name, (what, wanted) in follows.items():
            monkeypatch.setattr(world.gate, "on_connected", what)
            client = world.open()
            client.send('40{"token":"good"}')
            texts = [client.read_text()] if name == "nothing" else client.read_end()

            assert texts[0].startswith('40{"sid":"'), name
            assert [text[:8] for text in texts[1:]] == wanted, name

    def test_nobody_writes_straight_to_who_was_not_answered(self, world, monkeypatch):
        """A room that it is in waits, or writes behind the answer."""
        room = Room(green.soon, PlainWriter())

        def enter(connection: Connection) -> None:
            room.let_in(connection)
            room.give(Frame("event", b"1"))
            eventlet.sleep(0.01)

        monkeypatch.setattr(world.gate, "on_connected", enter)
        client = world.open()
        client.send('40{"token":"good"}')

        assert client.read_text().startswith('40{"sid":"')
        assert client.read_text() == '42["event",1]'

    def test_who_was_answered_is_written_to_straight(self, world, monkeypatch):
        """Also by a room that it entered before it was."""
        room = Room(green.soon, PlainWriter())
        monkeypatch.setattr(world.gate, "on_connected", room.let_in)
        client = world.open()
        client.send('40{"token":"good"}')
        client.read_text()
        world.settle(lambda: room._direct)
        room.give(Frame("event", b"1"))

        assert client.read_text() == '42["event",1]'

    @pytest.mark.parametrize("hello", ["40", "40{}", "40/,{}", "40[]", "40/", "407"])
    def test_who_has_none_is_refused_in_words_that_clients_know(self, world, hello):
        """And may try again on the same connection."""
        client = world.open()
        client.send(hello)
        refusal = client.read_text()
        client.send('40{"token":"good"}')

        assert json.loads(refusal[2:]) == {
            "message": "No.",
            "data": {"code": "unauthorized", "detail": "No."},
        }
        assert client.read_text().startswith("40{")

    @pytest.mark.parametrize("namespace", ["/x", "/x/y", "/adm"])
    def test_another_namespace_is_refused_properly(self, world, namespace):
        """`44/x,{"message": …}`, as Socket.IO's own server does: before and after connecting."""
        stranger, client = world.open(), world.connected()
        for each in (stranger, client):
            each.send(f"40{namespace}?a=b,{{}}")

            assert each.read_text() == f'44{namespace},{{"message":"Invalid namespace"}}'

    @pytest.mark.parametrize("text", ["42[1]", "4x", "41", "4", "40{", '40"', "1"])
    def test_a_stranger_who_says_something_else_is_closed(self, world, text):
        client = world.open()
        client.send(text)

        assert client.read_end() in (["1"], [])

    def test_a_stranger_who_sends_bytes_is_closed(self, world):
        client = world.open()
        client.sock.sendall(client_frame(BINARY, b"x"))

        assert client.read_end() == ["1"]

    def test_a_stranger_who_says_nothing_is_closed_in_time(self):
        world = World(ping_s=0.2, auth_s=0.05)
        silent, known = world.open(), world.connected()

        assert silent.read_end()[-1] == "1"
        known.send('421["a"]')
        assert known.read_text() in ("2", '431[{"ok":true}]')
        known.sock.close()

    def test_a_stranger_may_ask_so_often(self, world):
        client = world.open()
        client.send(*["40{}"] * 30)

        assert len(client.read_end()) == session_module.MOST_TRIES + 1

    def test_who_goes_while_its_token_is_looked_up_is_forgotten(self, world):
        world.gate.wait_s = 0.05
        client = world.open()
        client.send('40{"token":"good"}')
        eventlet.sleep(0.01)
        client.sock.close()
        world.settle(lambda: world.gate.gone)

        assert world.gate.connections == {}


class TestPackets:
    def test_they_are_handled_in_order_one_after_the_other(self, world):
        client = world.connected()
        world.gate.wait_s = 0.001
        client.send(*[f'42{n}["a",{n}]' for n in range(50)])
        acks = [client.read_text() for _ in range(50)]

        assert world.gate.heard == [("a", [n]) for n in range(50)]
        assert acks == [f'43{n}[{{"ok":true}}]' for n in range(50)]

    def test_those_that_wait_are_handed_over_together_up_to_a_bound(self, world):
        """What is no event stands between, and is handled in its turn."""
        client = world.connected()
        world.gate.wait_s = 0.001
        client.send('42["first"]')
        world.settle(lambda: world.gate.lists)
        client.send(*['42["a"]'] * 100, "42[7]", *['42["b"]'] * 3)
        world.settle(lambda: len(world.gate.heard) == 105)

        assert world.gate.lists == [1, 64, 36, 3]
        assert [name for name, _ in world.gate.heard[-4:]] == ["malformed", "b", "b", "b"]

    def test_what_is_no_event_is_known_to_wait_behind_events(self, world, monkeypatch):
        """Or a node that ends would say goodbye before it was answered."""
        client = world.connected()
        waits: list[bool] = []
        handle = world.gate.on_packets

        def look(connection: Connection, packets: Sequence[Sent]) -> None:
            handle(connection, packets)
            waits.append(connection._carrier.has_more())

        monkeypatch.setattr(world.gate, "on_packets", look)
        client.send('42["a"]', "42[7]")
        world.settle(lambda: len(world.gate.heard) == 2)

        assert waits == [True]

    def test_much_is_handed_over_in_parts(self, world, monkeypatch):
        monkeypatch.setattr(session_module, "_MOST_TOGETHER_BYTES", 500)
        client = world.connected()
        world.gate.wait_s = 0.001
        client.send('42["first"]')
        world.settle(lambda: world.gate.lists)
        client.send(*['42["a","' + "x" * 200 + '"]'] * 5)
        world.settle(lambda: len(world.gate.heard) == 6)

        assert world.gate.lists == [1, 3, 2]

    def test_a_flood_is_read_no_faster_than_it_is_handled(self, world):
        """What waits has a bound, however slow a handler is."""
        client = world.connected()
        world.gate.wait_s = 0.002
        session = next(iter(set().union(*world.engine._slots)))
        most = 0

        def flood() -> None:
            for n in range(0, 2000, 100):
                client.send(*[f'42["a",{m}]' for m in range(n, n + 100)])

        eventlet.spawn(flood)
        while len(world.gate.heard) < 500:
            most = max(most, len(session._waiting or ()))
            eventlet.sleep(0.001)
        world.gate.wait_s = 0
        world.settle(lambda: len(world.gate.heard) == 2000)

        assert most <= session_module._MOST_WAITING + 16_384 // len(
            client_frame(TEXT, b'42["a",0]')
        )
        assert world.gate.heard == [("a", [n]) for n in range(2000)]

    @pytest.mark.parametrize("text", ["42", "42[", '42{"a":1}', "42[]", "42[7]", "4213[]"])
    def test_what_is_no_event_is_told_as_such(self, world, text):
        client = world.connected()
        client.send(text, '421["on"]')

        assert client.read_text() == '431[{"ok":true}]'
        assert [name for name, _ in world.gate.heard] == ["malformed", "on"]

    def test_binary_events_are_refused_and_their_attachments_ignored(self, world):
        client = world.connected()
        client.send('451-7["a",{"_placeholder":true,"num":0}]')
        client.sock.sendall(client_frame(BINARY, b"\x00\x01"))
        client.send('421["on"]')

        assert client.read_text() == '431[{"ok":true}]'
        assert world.gate.heard == [("malformed", "Binary data is not taken."), ("on", [])]

    @pytest.mark.parametrize("text", ["0{}", "2", "2probe", "5", "6", "3"])
    def test_what_means_nothing_here_is_ignored(self, world, text):
        client = world.connected()
        client.send(text, '421["on"]')

        assert client.read_text() == '431[{"ok":true}]'

    @pytest.mark.parametrize("text", ["", "x", "é4", "7", "9", "٢"])
    def test_what_is_no_packet_of_engine_io_closes(self, world, text):
        client = world.connected()
        client.send(text)

        assert client.read() == (CLOSE, b"\x03\xeathis is no packet of Engine.IO")

    def test_a_packet_that_fails_past_the_gate_ends_its_session_alone(self, world):
        bad, good = world.connected(), world.connected()
        bad.send('42["fail"]')
        ended = bad.read_end()
        good.send('421["on"]')

        assert ended == []
        assert good.read_text() == '431[{"ok":true}]'


class TestEnds:
    @pytest.mark.parametrize("text", ["41", "1"])
    def test_a_goodbye_of_the_client_ends_the_session(self, world, text):
        client = world.connected()
        client.send(text)
        client.read_end()
        world.settle(lambda: world.gate.gone)

        assert len(world.engine) == 0

    @pytest.mark.parametrize(("retry", "last"), [("now", []), ("never", ["1"])])
    def test_a_goodbye_of_ours_says_whether_to_come_back(self, world, retry, last):
        client = world.connected()
        (connection,) = world.gate.connections.values()
        connection.say_goodbye("draining", "Bye.", retry)
        texts = client.read_end()

        assert [text[:9] for text in texts] == ['42["bye",', *last]
        world.settle(lambda: world.gate.gone)

    def test_who_does_not_read_is_cut_off_and_its_bytes_given_back(self, world):
        client = world.connected()
        (connection,) = world.gate.connections.values()
        frame = Frame("event", b'"%s"' % (b"x" * 50_000))
        for _ in range(1000):
            connection.deliver(frame)
            if connection.is_ending:
                break
        queued = connection._carrier.queued_bytes
        connection.abort()

        assert connection.is_ending
        assert queued <= LIMITS.max_queued_bytes + 1000
        assert connection._carrier.queued_bytes == 0
        client.sock.close()

    def test_leaving_closes_strangers_and_waits_for_the_others(self, world):
        stranger, client = world.open(), world.connected()
        first = world.engine.leave()
        ended = stranger.read_end()
        (connection,) = world.gate.connections.values()
        connection.say_goodbye("draining", "Bye.", "later")
        client.read_end()
        world.settle(world.engine.leave)

        assert (first, ended) == (False, [])

    def test_who_says_hello_while_we_leave_is_not_let_in(self, world):
        client = world.open()
        world.engine.is_leaving = True
        client.send('40{"token":"good"}')
        eventlet.sleep(0.02)
        world.engine.leave()

        assert client.read_end() == []
        assert world.gate.connections == {}


class TestPings:
    def test_the_wheel_stands_still_while_nobody_is_there(self):
        """An idle node sleeps, and keeps no session for having been a stranger."""
        world = World(ping_s=0.2)
        for _ in range(2):
            client = world.connected()
            client.sock.close()
            world.settle(lambda: not world.engine._is_turning)

            assert not world.engine._strangers
        assert world.connected().read_text() == "2"
        world.clients[-1].sock.close()

    def test_everybody_is_pinged_and_looked_after_once_an_interval(self):
        world = World(ping_s=0.25)
        clients = [world.connected() for _ in range(5)]
        for _ in range(3):
            for client in clients:
                assert client.read_text() == "2"
                client.send("3")
        looked = {id(connection) for connection in world.gate.looked}

        assert looked == {id(connection) for connection in world.gate.connections.values()}
        assert all(client.buffer == b"" for client in clients)
        for client in clients:
            client.sock.close()

    def test_pings_are_spread_over_the_interval(self):
        """All at once, ten thousand of them would hold the loop up."""
        world = World(ping_s=1)
        for _ in range(5):
            world.connected()
            eventlet.sleep(0.1)
        used = [slot for slot in world.engine._slots if slot]

        assert len(used) >= 3
        for client in world.clients:
            client.sock.close()

    def test_who_does_not_answer_is_closed_and_who_does_is_not(self):
        world = World(ping_s=0.1, timeout_s=0.15)
        dead, alive = world.connected(), world.connected()

        def answer() -> None:
            while True:
                if alive.read_text() == "2":
                    alive.send("3")

        task = eventlet.spawn(answer)
        texts = dead.read_end()
        eventlet.sleep(0.3)

        assert texts == ["2"]
        assert len(world.gate.connections) == 1
        task.kill()
        alive.sock.close()

    def test_a_ping_waits_for_a_client_that_does_not_read(self):
        world = World(ping_s=0.1, timeout_s=30)
        client = world.connected()
        (connection,) = world.gate.connections.values()
        big = encode_text(b"4" + b"x" * 60_000)
        carrier: Any = connection._carrier
        carrier.transport.write(big * 20)
        eventlet.sleep(0.5)
        waiting = connection._carrier.queued_bytes
        eventlet.sleep(0.5)

        assert connection._carrier.queued_bytes <= waiting + 10
        client.sock.close()
