"""One client's packets: handled in the order of their sending, and each one acked."""

import contextlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask_socketio import SocketIO

from core.callers import Caller
from core.errors import NotFoundError
from realtime.connection import Connection, ConnectionLimits
from realtime.gateway import Gateway, GatewayLimits, Parts
from realtime.handlers import HANDLERS
from realtime.hub import Hub
from realtime.presence import Presence, PresenceLimits
from realtime.presence_memory import MemoryPresence
from realtime.socketio_text import Sent
from realtime.wire import Polled
from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.support.client import RestClient


class TestOrder:
    def test_a_hundred_publishes_sent_in_one_go_are_logged_in_that_order(self, busy_server, ada):
        """The trap: a server that handles one client's packets side by side."""
        room = Room(ada)
        with RawSocket(busy_server.url, ada.access_token) as connection:
            sent = []
            for number in range(100):
                if number % 2:
                    message = {"channel": room.id, "body": str(number)}
                    sent.append(connection.send("message.create", message))
                else:
                    event = {"stream": room.stream, "type": "test.made", "data": str(number)}
                    sent.append(connection.send("publish", event))
            acks = [connection.read_ack(ack_id) for ack_id in sent]

        log = room.log()[2:]
        said = [event["data"] if event["type"] == "test.made" else None for event in log]
        assert [ack["position"]["offset"] for ack in acks] == list(range(3, 103))
        assert said[::2] == [str(number) for number in range(0, 100, 2)]
        bodies = [event["data"]["body"] for event in log[1::2]]
        assert bodies == [str(number) for number in range(1, 100, 2)]

    def test_acks_come_in_the_order_of_the_packets(self, busy_server, ada):
        """Whatever each takes: a slow write, a quick refusal, a page of the log."""
        room = Room(ada)
        room.publish(50)
        packets: list[tuple[str, Any]] = [
            ("message.create", {"channel": room.id, "body": "slow"}),
            ("nonsense", {}),
            ("subscribe", {"stream": room.stream, "after": room.position(0)}),
            ("unsubscribe", {"stream": room.stream}),
            ("typing", {"channel": room.id}),
            ("read", {"channel": room.id, "offset": 3}),
            ("resume", {"positions": {room.stream: room.position(0)}}),
        ] * 5

        with RawSocket(busy_server.url, ada.access_token) as connection:
            sent = [connection.send(name, argument) for name, argument in packets]
            connection.read_ack(sent[-1])

        assert [ack_id for ack_id, _ in connection.named("ack")] == sent

    def test_an_unsubscribe_right_behind_a_subscribe_ends_it(self, busy_server, ada):
        room = Room(ada)
        with RawSocket(busy_server.url, ada.access_token) as connection:
            connection.send("subscribe", {"stream": room.stream})
            connection.ok("unsubscribe", {"stream": room.stream})
            room.publish(1)
            connection.packets.clear()
            connection.call("typing", {"channel": room.id})

        assert connection.named("event") == []


MALFORMED = {
    "broken JSON": '42{id}["subscribe",{"stream":',
    "no JSON": "42{id}[nonsense",
    "no event": "42{id}[]",
    "no name": "42{id}[1,2]",
    "an unknown event": '42{id}["no.such.event",{}]',
    "a reserved event": '42{id}["connect",{}]',
    "no argument": '42{id}["subscribe"]',
    "two arguments": '42{id}["subscribe",{},{}]',
    "no object": '42{id}["subscribe","channel:lobby"]',
    "a list": '42{id}["publish",[]]',
    "null": '42{id}["publish",null]',
    "a missing field": '42{id}["subscribe",{}]',
    "an unknown field": '42{id}["subscribe",{"stream":"channel:a","x":1}]',
    "a wrong type": '42{id}["subscribe",{"stream":7}]',
    "a huge offset": '42{id}["read",{"channel":"a","offset":1e400}]',
    "nothing there": '42{id}["subscribe",{"stream":"channel:none"}]',
    "NUL": '42{id}["subscribe",{"stream":"channel:\\u0000"}]',
    "half a surrogate": '42{id}["message.create",{"channel":"a","body":"\\ud800"}]',
    "a binary event": '451-{id}["publish",{"_placeholder":true,"num":0}]',
    "deep": "42{id}" + "[" * 5000,
    "deep and whole": '42{id}["publish",' + "[" * 5000 + "]" * 5000 + "]",
}


class TestAcks:
    @pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
    def test_whatever_is_wrong_is_acked_with_a_code(self, busy_server, ada, text):
        """And the connection goes on."""
        with RawSocket(busy_server.url, ada.access_token) as connection:
            connection.send_text(text.replace("{id}", "77"))
            ack = connection.read_ack(77)
            fine = connection.call("unsubscribe", {"stream": "channel:none"})

        assert ack["ok"] is False
        assert ack["error"]["code"] in ("bad_request", "invalid", "not_found", "too_large")
        assert ack["error"]["detail"]
        assert ack["error"]["retryable"] is False
        assert fine["error"]["code"] == "not_found"

    def test_a_packet_that_asks_for_no_ack_gets_none_and_takes_effect(self, busy_server, ada):
        room = Room(ada)
        made = {"stream": room.stream, "type": "test.made", "data": 1}
        with RawSocket(busy_server.url, ada.access_token) as connection:
            reader = Reader(room.stream)
            reader.subscribe(connection)
            connection.send_text("42" + json.dumps(["publish", made]))
            connection.send_text('42["nonsense"')
            reader.read_to(connection, 3)
            connection.call("nonsense", {})

        assert len(connection.named("ack")) == 2

    def test_an_ack_that_the_server_did_not_ask_for_is_ignored(self, busy_server, ada):
        with RawSocket(busy_server.url, ada.access_token) as connection:
            connection.send_text("437[1]")
            connection.send_text("43[]")

            assert connection.call("nonsense", {})["ok"] is False


class TestTogether:
    def test_publishes_that_wait_share_transactions(self, busy_server, ada):
        room = Room(ada)
        before = rounds(ada)
        with RawSocket(busy_server.url, ada.access_token) as connection:
            event = {"stream": room.stream, "type": "test.made", "data": "x" * 50}
            sent = [connection.send("publish", event) for _ in range(200)]
            for ack_id in sent:
                connection.read_ack(ack_id)

        assert rounds(ada) - before <= 100

    def test_one_that_is_refused_takes_nothing_from_the_others(self, busy_server, ada):
        """Each way to be refused: by the schema, by the size, by the rights, by a key."""
        room = Room(ada)
        good = {"stream": room.stream, "type": "test.made", "data": 1}
        used = {**good, "key": "once"}
        asked = [
            (good, None),
            ({**good, "type": "No Type"}, "invalid"),
            (used, None),
            ({**good, "data": "x" * 70_000}, "too_large"),
            ({**good, "stream": "channel:nowhere"}, "not_found"),
            ({**used, "data": 2}, "conflict"),
            (used, None),
            (good, None),
        ]
        with RawSocket(busy_server.url, ada.access_token) as connection:
            sent = [connection.send("publish", event) for event, _ in asked]
            acks = [connection.read_ack(ack_id) for ack_id in sent]

        codes = [None if ack["ok"] else ack["error"]["code"] for ack in acks]
        offsets = [ack["position"]["offset"] for ack in acks if ack["ok"]]
        assert codes == [code for _, code in asked]
        assert offsets == [3, 4, 4, 5]
        assert [ack["replayed"] for ack in acks if ack["ok"]] == [False, False, True, False]

    def test_a_signal_between_two_events_keeps_its_place(self, busy_server, ada, bob):
        room = Room(ada, [bob])
        with (
            RawSocket(busy_server.url, bob.access_token) as his,
            RawSocket(busy_server.url, ada.access_token) as hers,
        ):
            his.ok("subscribe", {"stream": room.stream})
            for number in range(30):
                event = {"stream": room.stream, "type": "test.made", "data": number}
                hers.send("publish", {**event, "ephemeral": number % 3 == 1})
            his.read_until(lambda packet: packet[1]["data"] == 29)

        told = [data["data"] for name, data in his.packets if name in ("event", "signal")]
        assert told == list(range(30))


def rounds(who: RestClient) -> float:
    """How many transactions of publishes there were."""
    lines = who.raw("GET", "/metrics").text.splitlines()
    return float(
        next(line.split()[1] for line in lines if line.startswith("fanfare_rounds_total "))
    )


class FakeSocket:
    """An Engine.IO socket that keeps what is sent."""

    def __init__(self) -> None:
        self.closed = self.closing = False
        self.queue = SimpleNamespace(queued_bytes=0)
        self.sent: list[str] = []

    def send(self, packet: Any) -> None:
        self.sent.append(packet.data)

    def close(self, _wait: bool = True) -> None:
        self.closed = True


class FakeNode:
    """A node that watches for nobody, and can't reach its log."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.watched: list[Any] = []

    def tell_controls_to(self, _listener: Any) -> None:
        """Nothing is ever lost here."""

    def subscribe(self, watcher: Any, *_more: Any, **_prepare: Any) -> None:
        self.watched.append(watcher)

    def unsubscribe(self, watcher: Any, _stream: str) -> bool:
        if watcher in self.watched:
            self.watched.remove(watcher)
        return True


def emit_nothing(signal: Any, but: Any = None) -> None:
    """Nobody watches here."""


class TestTheGateway:
    @pytest.fixture
    def socket(self) -> FakeSocket:
        return FakeSocket()

    @pytest.fixture
    def connection(self, socket: FakeSocket) -> Connection:
        caller = Caller("u", "ada", "s", True, 2**53)
        return Connection(Polled(socket), caller, ConnectionLimits(2**20, 1000, 10))

    def make_gateway(self, connection: Connection, handlers: Any, db: Any = None) -> Gateway:
        limits = GatewayLimits(ConnectionLimits(2**20, 1000, 10), 10, 65_536, 10, 2**20, 25, 20)
        nobody = Presence(MemoryPresence(), emit_nothing, PresenceLimits())
        parts: Any = Parts(db, FakeNode(), nobody, None, None, None, "node", limits)  # type: ignore[arg-type]
        gateway = Gateway(SocketIO(Flask(__name__), async_mode="threading"), parts, handlers)
        gateway.connections.add("sid", connection)
        return gateway

    @pytest.mark.parametrize(
        "error", [ValueError("secret"), KeyError("secret"), RecursionError(), NotFoundError("no")]
    )
    def test_a_handler_that_fails_is_acked_and_its_reason_stays_inside(
        self, connection, socket, error
    ):
        """A bug of ours must not leave a client waiting for ever, nor tell it anything."""

        def fail(*_arguments: Any) -> None:
            raise error

        handlers: dict[str, Any] = {"typing": fail}
        gateway = self.make_gateway(connection, handlers)

        gateway.on_packets(connection, [Sent("typing", [{"channel": "a"}], "5")])

        assert len(socket.sent) == 1
        assert socket.sent[0].startswith("35[")
        ack = json.loads(socket.sent[0][2:])[0]
        wanted = "not_found" if isinstance(error, NotFoundError) else "internal"
        assert ack["error"]["code"] == wanted
        assert "secret" not in socket.sent[0]

    @pytest.mark.parametrize("name", ["subscribe", "resume"])
    def test_who_is_gone_while_access_is_judged_is_not_watched_for(self, connection, socket, name):
        """Nobody would ever unsubscribe it: the node would fan out to a dead connection."""
        gateway: Any = None

        class Database:
            @contextlib.contextmanager
            def read(self) -> Iterator[Any]:
                yield _NoRows()
                connection.is_ending = socket.closed = True
                gateway.on_gone("sid")

        gateway = self.make_gateway(connection, HANDLERS, Database())
        argument: Any = {"stream": "user:me"}
        if name == "resume":
            argument = {"positions": {"user:me": {"offset": 0, "epoch": "e"}}}

        gateway.on_packets(connection, [Sent(name, [argument], "5")])

        assert gateway.parts.node.watched == []


class _NoRows:
    """A connection to a database that holds nothing."""

    def execute(self, *_arguments: Any) -> "_NoRows":
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def all(self) -> list[Any]:
        return []

    def one_or_none(self) -> None:
        return None
