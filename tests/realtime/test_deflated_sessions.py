"""Connections that agreed to compression, over a real pair of sockets, by a client of raw bytes."""

import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest

from realtime import deflate
from realtime.deflate import WINDOW_BITS, Packing, agree
from realtime.deflated_transport import DeflatedTransport, make_transport
from realtime.frames import encode_text
from realtime.hub import Frame
from realtime.transport import Transport
from realtime.websocket import WebSocket, WebSocketApp, answer_handshake, is_deflated
from realtime.wire import Polled
from tests.realtime.test_deflate import inflate, packed_frame, raw_frame, squeezed
from tests.realtime.test_engine import LIMITS, Client, World
from tests.realtime.test_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame
from tests.realtime.test_transport import LIMIT, Owner, Pair, real_connection
from tests.realtime.test_websocket import GREEN, HANDSHAKE, serve_app
from tests.realtime.test_websocket import Client as WebSocketClient

__all__ = ["serve_app"]  # a fixture
DEADLINE_S = 60
PACKING = Packing(6, 200)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
YES = answer_handshake(KEY, agree("permessage-deflate; client_max_window_bits") or "")
NO = answer_handshake(KEY)


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    with eventlet.Timeout(DEADLINE_S):
        yield


class DeflatedPair(Pair):
    """A transport whose client agreed to compression, its owner, and that client."""

    def __init__(self) -> None:
        super().__init__()
        self.transport.abort()
        self.client.close()
        ours, theirs = real_connection()
        self.owner = Owner()
        self.transport = make_transport(ours, self.owner, LIMIT, PACKING)
        self.client = eventlet.green.socket.socket(fileno=theirs.detach())


@pytest.fixture
def pair() -> Iterator[DeflatedPair]:
    made = DeflatedPair()
    yield made
    made.transport.abort()
    made.client.close()


class Deflating(Client):
    """A client that inflates what it reads, and tells which frames were compressed."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.compressed: list[bool] = []

    def read_head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._take(1)
        return head

    def read(self) -> tuple[int, bytes]:
        first, size = self._take(2)
        if size == 126:
            size = int.from_bytes(self._take(2))
        payload = self._take(size)
        self.compressed.append(first & 0x40 != 0)
        if self.compressed[-1]:
            payload = zlib.decompress(payload + b"\x00\x00\xff\xff\x03\x00", -WINDOW_BITS)
        return first & 0x0F, payload


class DeflatedWorld(World):
    """An engine that compresses; `answer` is what the next client was agreed with."""

    def __init__(self) -> None:
        super().__init__()
        self.engine.terms = replace(self.engine.terms, packing=PACKING)
        self.answer = YES

    def open(self) -> Deflating:
        ours, theirs = real_connection()
        self.engine.open(ours, self.answer)
        client = Deflating(theirs)
        self.clients.append(client)
        client.read_head()
        client.opened = json.loads(client.read_text()[1:])
        client.compressed.clear()
        return client

    def session_of(self, client: Client) -> Any:
        assert client in self.clients
        (connection,) = self.gate.connections.values()
        return connection._carrier


@pytest.fixture
def world() -> Iterator[DeflatedWorld]:
    made = DeflatedWorld()
    yield made
    for client in made.clients:
        client.sock.close()
    made.settle(lambda: not len(made.engine))


class TestWhatIsAgreed:
    def test_the_answer_tells(self):
        assert is_deflated(YES)
        assert not is_deflated(NO)

    def test_without_it_nothing_is_compressed_nor_taken(self, world):
        world.answer = NO
        client = world.connected()
        (connection,) = world.gate.connections.values()
        connection.emit("event", "x" * 1000)
        client.read_text()
        client.sock.sendall(packed_frame(b'421["on"]'))

        assert not any(client.compressed)
        assert client.read() == (CLOSE, b"\x03\xeaa frame has reserved bits or an unknown opcode")

    def test_where_compression_is_off_an_answer_changes_nothing(self, world):
        """The engine has the last word, so that nothing is compressed without its settings."""
        world.engine.terms = replace(world.engine.terms, packing=None)
        client = world.connected()

        assert type(world.session_of(client).transport) is Transport

    def test_others_pay_nothing_for_it(self):
        """No field more: who agreed has a kind of its own."""
        plain = Pair()
        held = set(Transport.__slots__)
        plain.transport.abort()

        assert type(plain.transport) is Transport
        assert not held & set(DeflatedTransport.__slots__)
        assert not hasattr(plain.transport, "__dict__")


class TestWriting:
    def test_what_is_large_is_compressed_and_what_is_small_is_not(self, world):
        client = world.connected()
        (connection,) = world.gate.connections.values()
        client.compressed.clear()
        connection.emit("event", "x" * 1000)
        connection.ack("7", {"ok": True})
        connection.ack("8", {"ok": True, "events": ["y" * 300]})
        texts = [client.read_text() for _ in range(3)]

        assert client.compressed == [True, False, True]
        assert texts[0] == '42["event","%s"]' % ("x" * 1000)
        assert texts[1:] == ['437[{"ok":true}]', '438[{"ok":true,"events":["%s"]}]' % ("y" * 300)]

    def test_pings_and_the_end_are_never_compressed(self, world):
        client = world.connected()
        client.sock.sendall(client_frame(PING, b"?"))
        pong = client.read()
        (connection,) = world.gate.connections.values()
        connection.say_goodbye("draining", "Bye.", "never")
        client.read_end()

        assert pong == (PONG, b"?")
        assert not any(client.compressed[-2:])

    def test_who_does_not_read_is_cut_off_at_the_bound_in_bytes_that_would_be_sent(self, world):
        client = world.connected()
        (connection,) = world.gate.connections.values()
        noise = random.Random(1)
        most = 0
        for _ in range(10_000):
            connection.deliver(Frame("event", b'"%s"' % noise.randbytes(4000).hex().encode()))
            most = max(most, connection._carrier.queued_bytes)
            if connection.is_ending:
                break
        connection.abort()

        assert connection.is_ending
        assert LIMITS.max_queued_bytes // 2 < most <= LIMITS.max_queued_bytes + 1000
        client.sock.close()

    def test_what_waits_leaves_whole_and_in_order(self, world):
        client = world.connected()
        (connection,) = world.gate.connections.values()
        transport = world.session_of(client).transport
        noise = random.Random(2)
        sent = []
        while transport.queued_bytes < LIMITS.max_queued_bytes // 2:
            sent.append(noise.randbytes(1500).hex())
            connection.emit("event", sent[-1])
        got = [json.loads(client.read_text()[2:])[1] for _ in sent]

        assert got == sent
        assert all(client.compressed[-len(sent) :])


class TestReading:
    def test_a_compressed_packet_is_a_packet(self, world):
        client = world.connected()
        client.sock.sendall(packed_frame(b'421["on",{"text":"%s"}]' % (b"x" * 500)))

        assert client.read_text() == '431[{"ok":true}]'
        assert world.gate.heard == [("on", [{"text": "x" * 500}])]

    def test_byte_by_byte_in_fragments_with_a_ping_between(self, pair):
        data = squeezed(b"hello " * 50)
        wire = (
            client_frame(TEXT, data[:5], final=False, rsv=4)
            + client_frame(PING, b"now")
            + client_frame(CONTINUATION, data[5:])
            + packed_frame(b"\x00\x01", BINARY)
        )
        for at in range(len(wire)):
            pair.client.sendall(wire[at : at + 1])
            eventlet.sleep(0)
        pair.settle(lambda: len(pair.owner.messages) == 2)

        assert pair.read() == (PONG, b"now")
        assert pair.owner.messages == ["hello " * 50, b"\x00\x01"]

    def test_two_clients_in_mid_message_do_not_share_what_they_sent(self, pair):
        other = DeflatedPair()
        texts = (b"first " * 99, b"second " * 99)
        for half in (slice(None, 9), slice(9, None)):
            for each, text in zip((pair, other), texts, strict=True):
                each.client.sendall(packed_frame(text)[half])
            eventlet.sleep(0.01)
        pair.settle(lambda: pair.owner.messages and other.owner.messages)
        other.transport.abort()

        assert (pair.owner.messages, other.owner.messages) == (["first " * 99], ["second " * 99])

    def test_at_rest_a_connection_holds_no_reader(self, pair):
        pair.client.sendall(packed_frame(b"x" * 5000))
        pair.settle(lambda: pair.owner.messages)

        assert pair.transport._reader is None

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (raw_frame(b"\xff"), 1007),
            (packed_frame(b"\xff"), 1007),
            (packed_frame(bytes(LIMIT + 1)), 1009),
            (client_frame(PING, b"x", rsv=4), 1002),
            (client_frame(TEXT, b"x", rsv=2), 1002),
        ],
    )
    def test_the_close_frame_names_the_fault(self, pair, data, code):
        pair.client.sendall(data)

        assert pair.read_close() == code


class TestBombs:
    def test_what_waits_for_a_slow_handler_has_a_bound_in_bytes(self, world):
        """A kilobyte becomes a megabyte: 64 packets would be too many."""
        client = world.connected()
        session = world.session_of(client)
        most_packet = world.engine.terms.max_packet_bytes
        world.gate.wait_s = 0.001
        packet = packed_frame(b'42["a","%s"]' % (b"x" * (most_packet - 100)))
        eventlet.spawn(client.sock.sendall, packet * 2000)
        most = 0
        while len(world.gate.heard) < 600:
            most = max(most, sum(map(len, session._waiting or ())))
            eventlet.sleep(0)
        a_read = deflate.READ_BYTES // len(packet) + 1

        assert most <= (a_read + 1) * most_packet

    def test_who_makes_much_of_little_is_read_slowly(self, pair, monkeypatch):
        monkeypatch.setattr(deflate, "_MOST_INFLATED_PER_S", 1)
        packet = packed_frame(b"x" * 60_000)
        pair.client.sendall(packet * 500)
        pair.settle(lambda: pair.owner.messages)
        pair.transport.read_on()
        eventlet.sleep(0.05)
        early = len(pair.owner.messages)
        monkeypatch.setattr(deflate, "_MOST_INFLATED_PER_S", 1 << 40)
        pair.transport._end_rest()
        pair.settle(lambda: len(pair.owner.messages) == 500)

        assert early <= deflate.READ_BYTES // len(packet) + 1

    def test_it_is_read_on_after_a_while(self, pair):
        pair.client.sendall(packed_frame(b"x" * 60_000) * 200)
        pair.settle(lambda: len(pair.owner.messages) == 200)

        assert {len(message) for message in pair.owner.messages} == {60_000}

    def test_who_sends_much_that_is_much_is_not_held_up(self, pair, monkeypatch):
        monkeypatch.setattr(deflate, "_MOST_INFLATED_PER_S", 1)
        texts = [random.Random(n).randbytes(500).hex().encode() for n in range(300)]
        pair.client.sendall(b"".join(map(packed_frame, texts)))
        pair.settle(lambda: len(pair.owner.messages) == 300)

        assert pair.owner.messages == [text.decode() for text in texts]

    def test_a_rest_outlasts_no_connection(self, pair, monkeypatch):
        monkeypatch.setattr(deflate, "_MOST_INFLATED_PER_S", 10 << 20)
        pair.client.sendall(packed_frame(b"x" * 60_000) * 200)
        pair.settle(lambda: pair.owner.messages)
        pair.transport.abort()
        eventlet.sleep(0.3)

        assert pair.transport.is_gone
        assert pair.transport._reading is None

    def test_who_rests_still_ends_in_order(self, pair, monkeypatch):
        monkeypatch.setattr(deflate, "_MOST_INFLATED_PER_S", 1 << 20)
        pair.client.sendall(packed_frame(b"x" * 100_000))
        pair.settle(lambda: pair.owner.messages)
        pair.transport.write(encode_text("last"))
        pair.transport.close()

        assert pair.read() == (TEXT, b"last")
        assert pair.read_close() == 1000
        pair.client.close()
        pair.settle(lambda: pair.owner.released)


OFFER = {**HANDSHAKE, "Sec-WebSocket-Extensions": "permessage-deflate"}


def upgrade(serve_app: Any, handler: Any, *, packing: Packing | None = PACKING) -> WebSocketClient:
    """Open a WebSocket as Engine.IO serves it after an upgrade, with an offer to compress."""
    engine = SimpleNamespace(max_http_buffer_size=10_000)
    address = serve_app(WebSocketApp(GREEN, handler, engine, packing=packing))
    client = WebSocketClient(address, upgrade=False)
    status, client.headers, _ = client.ask(OFFER)
    assert status.startswith("HTTP/1.1 101 ")
    return client


def echo(ws: WebSocket) -> None:
    while (message := ws.wait()) is not None:
        ws.send(message)


def read_frame(client: WebSocketClient) -> bytes:
    head = client.read(2)
    if head[1] == 126:
        head += client.read(2)
        return head + client.read(int.from_bytes(head[2:]))
    return head + client.read(head[1])


class TestUpgraded:
    def test_they_speak_compressed_where_that_was_agreed_on(self, serve_app):
        client = upgrade(serve_app, echo)
        client.sock.sendall(packed_frame(b"x" * 500) + packed_frame(b"short"))

        assert client.headers["sec-websocket-extensions"] == agree("permessage-deflate")
        assert inflate(read_frame(client), WINDOW_BITS) == b"x" * 500
        assert read_frame(client) == encode_text("short")

    def test_off_the_offer_is_not_answered(self, serve_app):
        client = upgrade(serve_app, echo, packing=None)
        client.sock.sendall(packed_frame(b"x" * 500))

        assert "sec-websocket-extensions" not in client.headers
        assert read_frame(client)[2:4] == (1002).to_bytes(2)

    def test_what_is_shared_is_compressed_once_whoever_takes_it(self, serve_app, monkeypatch):
        """By connections that were WebSockets from the start, and by those that were upgraded."""
        packed: list[bytes] = []
        pack = Packing.pack

        def count(packing: Packing, text: bytes) -> bytes:
            packed.append(text)
            return pack(packing, text)

        monkeypatch.setattr(Packing, "pack", count)
        frame = Frame("event", b'"%s"' % (b"x" * 1000))
        sent: list[Any] = []
        polled, upgraded = (
            Polled(SimpleNamespace(send=sent.append, websocket=SimpleNamespace(packing=each)))
            for each in (None, PACKING)
        )
        polled.send_frame(frame)
        packed_for_polls = len(packed)
        upgraded.send_frame(frame)
        upgraded.send_frame(frame)
        frame.packed(PACKING)

        def send_all(ws: WebSocket) -> None:
            for packet in sent:
                ws.send(packet.encode())

        client = upgrade(serve_app, send_all)
        frames = [read_frame(client) for _ in sent]

        assert frames == [frame.packed(PACKING)] * 3
        assert (packed_for_polls, len(packed)) == (0, 1)

    def test_what_was_queued_before_the_upgrade_leaves_after_it(self, serve_app):
        frame = Frame("event", b'"%s"' % (b"x" * 1000))
        sent: list[Any] = []
        Polled(SimpleNamespace(send=sent.append)).send_frame(frame)
        client = upgrade(serve_app, lambda ws: ws.send(sent[0].encode()))

        assert inflate(read_frame(client), WINDOW_BITS) == b'42["event","%s"]' % (b"x" * 1000)

    def test_the_limit_holds_for_what_a_message_is_inflated_to(self, serve_app):
        client = upgrade(serve_app, echo)
        client.sock.sendall(packed_frame(b"x" * 10_001))

        assert read_frame(client)[2:4] == (1009).to_bytes(2)

    def test_who_makes_much_of_little_is_read_slowly(self, serve_app, monkeypatch):
        monkeypatch.setattr(deflate, "_MOST_INFLATED_PER_S", 1 << 16)  # some seconds
        heard: list[Any] = []

        def listen(ws: WebSocket) -> None:
            while (message := ws.wait()) is not None:
                heard.append(message)

        client = upgrade(serve_app, listen)
        packet = packed_frame(b"x" * 9_000)
        client.sock.sendall(packet * 1000)
        while not heard:
            eventlet.sleep(0.001)
        eventlet.sleep(0.1)
        client.sock.close()

        assert len(heard) <= deflate.READ_BYTES // len(packet) + 1
