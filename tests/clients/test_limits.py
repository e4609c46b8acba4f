"""What one client may not do, and what many may: the limits of the socket door."""

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.wire import SocketIo
from tests.clients.conftest import make_channel
from tests.support.client import RefusedError, SocketClient, registered
from tests.support.server import Server

MANY = 1_100  # more than eventlet accepts, and select can hold, by default
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory):
    """A server whose limits are within reach."""
    with Server(
        instance=tmp_path_factory.mktemp("strict"),
        MAX_CONNECTIONS_PER_USER=2,
        MAX_EVENTS_PER_S=5,
        MAX_SUBSCRIPTIONS=2,
        AUTH_TIMEOUT_S=0.5,
    ) as server:
        yield server


@pytest.fixture
def person(strict_server):
    with registered(strict_server.url) as made:
        yield made


class TestConnectionsOfAUser:
    def test_one_too_many_is_refused_until_another_ends(self, strict_server, person):
        def connect():
            return SocketClient(strict_server.url, person.access_token).connect()

        first, second = connect(), connect()
        with pytest.raises(RefusedError) as refused:
            connect()
        first.drop()
        third = second.wait_for(lambda _: attempt(connect), what="a free place")
        for client in (second, third):
            client.close()

        assert refused.value.code == "too_many_connections"

    def test_others_are_not_concerned(self, strict_server, person):
        with (
            SocketClient(strict_server.url, person.access_token),
            SocketClient(strict_server.url, person.access_token),
            registered(strict_server.url) as other,
            SocketClient(strict_server.url, other.access_token) as client,
        ):
            assert client.ready["user"]["id"] == other.id


def attempt(connect):
    with contextlib.suppress(RefusedError):
        return connect()
    return None


class TestSubscriptions:
    def test_one_too_many_is_refused_and_the_others_stay(self, strict_server, person):
        """The own stream comes on top, and one that is watched already costs nothing."""
        streams = [make_channel(person)["stream"] for _ in range(3)]
        with SocketClient(strict_server.url, person.access_token) as client:
            for stream in streams[:2]:
                client.ok("subscribe", {"stream": stream})
            error = client.refusal("subscribe", {"stream": streams[2]})
            client.ok("subscribe", {"stream": streams[0]})
            person.post(f"/channels/{streams[0].partition(':')[2]}/messages", {"body": "still"})
            client.wait_for_event("message.created", stream=streams[0])

        assert error["code"] == "too_many_subscriptions"


class TestPacketsASecond:
    def test_too_fast_is_refused_with_the_time_to_wait_and_the_connection_stays(
        self, strict_server, person
    ):
        acks: list[dict] = []
        with SocketClient(strict_server.url, person.access_token) as client:
            for _ in range(30):
                client.send("subscribe", {"stream": "user:me"}, acks.append)
            client.wait_for(lambda _: len(acks) == 30, deadline_s=30, what="all 30 acks")
            client.wait_for(
                lambda it: it.call("subscribe", {"stream": "user:me"})["ok"],
                deadline_s=30,
                what="a turn",
            )
        refused = [ack["error"] for ack in acks if not ack["ok"]]

        assert [ack for ack in acks if ack["ok"]]
        assert {error["code"] for error in refused} == {"rate_limited"}
        assert all(error["retryable"] and error["retry_after"] > 0 for error in refused)


def read_to_the_end(stranger):
    """Return all that comes; who doesn't answer the close frame is reset in the end."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := stranger.recv(4096):
            received += data
    return received


class TestStrangers:
    def test_who_does_not_authenticate_is_shown_out(self, strict_server):
        with socket.create_connection(("127.0.0.1", strict_server.port), timeout=30) as stranger:
            stranger.sendall(UPGRADE)

            assert read_to_the_end(stranger).startswith(b"HTTP/1.1 101 ")

    def test_who_authenticates_stays(self, strict_server, person):
        """The timer of the handshake doesn't end a connection that was accepted."""
        with (
            socket.create_connection(("127.0.0.1", strict_server.port), timeout=30) as stranger,
            SocketClient(strict_server.url, person.access_token) as client,
        ):
            stranger.sendall(UPGRADE)  # came later, so its end is after the client's timer
            read_to_the_end(stranger)

            assert client.ok("subscribe", {"stream": "user:me"})


class TestMany:
    def test_more_than_a_thousand_idle_connections_are_accepted(self, start_server):
        """All are greeted and hear the same event; a default of 1,024 would leave some waiting."""
        server = start_server(MAX_CONNECTIONS_PER_USER=MANY)
        with registered(server.url) as person, contextlib.ExitStack() as stack:
            channel = make_channel(person)

            def open_one(_number):
                client = SocketIo(("127.0.0.1", server.port), str(person.access_token))
                stack.callback(client.close)
                client.call("subscribe", {"stream": channel["stream"]})
                return client

            with ThreadPoolExecutor(16) as pool:
                clients = list(pool.map(open_one, range(MANY)))
            made = person.post(f"/channels/{channel['id']}/messages", {"body": "to all"}).json()
            for client in clients:
                while not client.events:
                    client.receive()

            assert len(clients) == MANY
            assert {client.events[0]["offset"] for client in clients} == {made["offset"]}
