"""The bad proxies of the tests pass everything on, but for the fault that is switched on."""

import socket
import threading
from contextlib import closing

import pytest

from tests.support.bad_proxies import BadProxy
from tests.support.wait import wait_until

UPGRADE = (
    b"GET /socket.io/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
END = b"\r\n\r\n"


class Origin:
    """A server of the test's own hand: `take()` gives the next connection that it got."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(30)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.taken = []

    def take(self):
        connection, _address = self.listener.accept()
        connection.settimeout(30)
        self.taken.append(connection)
        return connection

    def close(self):
        for one in [*self.taken, self.listener]:
            one.close()


@pytest.fixture
def origin():
    with closing(Origin()) as made:
        yield made


@pytest.fixture
def proxy(origin):
    with BadProxy(origin.url) as running:
        yield running


@pytest.fixture
def dial(proxy):
    """Open connections to the proxy, and say something on them."""
    opened = []

    def dial(words):
        opened.append(socket.create_connection(("127.0.0.1", proxy.port), timeout=30))
        opened[-1].sendall(words)
        return opened[-1]

    yield dial
    for one in opened:
        one.close()


def read_to(connection, mark):
    got = b""
    while not got.endswith(mark):
        piece = connection.recv(65_536)
        assert piece, f"the connection ended after {got!r}"
        got += piece
    return got


def is_silent(connection):
    """Whether nothing comes for a moment: what a fault keeps back must not be there."""
    connection.settimeout(0.2)
    try:
        return not connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(30)


@pytest.fixture
def upgraded(dial, origin):
    """Both ends of a WebSocket that has shaken hands."""
    client = dial(UPGRADE)
    server = origin.take()
    read_to(server, END)
    server.sendall(SWITCHED)
    read_to(client, END)
    return client, server


@pytest.fixture
def streaming(dial, origin):
    """Both ends of a stream of server-sent events whose head was sent."""
    client = dial(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: x\r\n\r\n")
    server = origin.take()
    read_to(server, END)
    server.sendall(STREAM)
    return client, server


class TestWithoutAFault:
    def test_a_request_and_its_answer_pass(self, proxy, dial, origin, rng):
        """Whole, with their bodies, and with a word that the connection is for this one alone."""
        sent, answered = rng.randbytes(300_000), rng.randbytes(2_000_000)
        head = b"POST /api/v1/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n"
        client = dial(head + sent)
        server = origin.take()
        got = read_to(server, sent[-100:])
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + answered
        speaker = threading.Thread(target=server.sendall, args=(answer,))
        speaker.start()
        heard = read_to(client, answered[-100:])
        speaker.join()

        assert b"Connection: close" in got.partition(END)[0]
        assert b"Connection: close" in heard.partition(END)[0]
        assert got.partition(END)[2] == sent
        assert heard.partition(END)[2] == answered
        assert proxy.requests == ["POST /api/v1/publish"]

    def test_frames_pass_either_way(self, upgraded):
        client, server = upgraded
        client.sendall(b"up")
        server.sendall(b"down")

        assert (read_to(server, b"up"), read_to(client, b"down")) == (b"up", b"down")

    def test_a_stream_passes_piece_by_piece(self, streaming):
        client, server = streaming
        read_to(client, END)
        server.sendall(b"one")

        assert read_to(client, b"one") == b"one"

    def test_whoever_goes_is_gone_for_the_other_side(self, proxy, streaming):
        """A waiting poll that is given up must not live on at the server."""
        client, server = streaming
        client.close()

        assert server.recv(1) == b""
        wait_until(lambda: proxy.open() == 0, deadline_s=30)

    def test_cut_ends_what_is_open_on_that_path_alone(self, proxy, upgraded, streaming):
        (socket_end, _), (stream_end, server) = upgraded, streaming
        read_to(stream_end, END)
        assert proxy.open("/socket.io/") == proxy.open("/api/") == 1
        proxy.cut("/socket.io/")
        server.sendall(b"on")

        assert socket_end.recv(1) == b""
        assert read_to(stream_end, b"on") == b"on"


class TestFaults:
    def test_an_upgrade_is_refused_and_other_requests_pass(self, proxy, dial, origin):
        proxy.refuse_upgrades = True
        refused = dial(UPGRADE)
        passed = dial(b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n")
        server = origin.take()

        assert read_to(refused, END).startswith(b"HTTP/1.1 403 ")
        assert read_to(server, END).startswith(b"GET /api/v1/me ")
        assert proxy.refused == 1
        passed.close()

    def test_frames_are_swallowed_after_the_handshake(self, proxy, upgraded):
        """Also when the fault begins later; a socket that lost a byte stays deaf."""
        client, server = upgraded
        client.sendall(b"before")
        read_to(server, b"before")
        proxy.swallow_frames = True
        client.sendall(b"up")
        wait_until(lambda: proxy.swallowed == 2, deadline_s=30)
        proxy.heal()
        client.sendall(b"late")
        server.sendall(b"down")

        assert is_silent(server)
        assert is_silent(client)

    def test_a_stream_is_kept_back_after_its_head(self, proxy, streaming):
        """Until the fault ends; nothing of it is lost."""
        client, server = streaming
        read_to(client, END)
        proxy.buffer_sse = True
        server.sendall(b"one")
        wait_until(lambda: proxy.buffered == 3, deadline_s=30)

        assert is_silent(client)
        proxy.heal()
        server.sendall(b"two")
        assert read_to(client, b"two") == b"onetwo"

    def test_a_stream_that_ends_is_given_whole(self, proxy, streaming):
        client, server = streaming
        proxy.buffer_sse = True
        server.sendall(b"all")
        server.close()

        assert read_to(client, b"all").partition(END)[2] == b"all"
