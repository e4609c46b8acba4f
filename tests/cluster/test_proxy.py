"""The proxy of the chaos tests breaks what it is told to break, and mends it again."""

import contextlib
import socket
import threading

import pytest

from cluster.proxy import Proxy
from tests.support.wait import wait_until


@pytest.fixture
def echo():
    """The address of a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(one):
        with one, contextlib.suppress(ConnectionError):
            while piece := one.recv(65_536):
                one.sendall(piece)

    def accept():
        while True:
            try:
                one, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(one,), daemon=True).start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    acceptor.join()
    listener.close()


@pytest.fixture
def proxy(echo):
    with Proxy(echo) as running:
        yield running


@pytest.fixture
def client(proxy):
    with dial(proxy) as connected:
        yield connected


def dial(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=30)


def ask(client, words):
    client.sendall(words)
    return read(client, len(words))


def read(client, count):
    got = b""
    while len(got) < count:
        piece = client.recv(count - len(got))
        assert piece, "the connection ended"
        got += piece
    return got


class TestProxy:
    def test_it_passes_everything_on(self, client, rng):
        """In both directions, whole and in order, however much there is."""
        words = rng.randbytes(3_000_000)
        got = []
        reader = threading.Thread(target=lambda: got.append(read(client, len(words))))
        reader.start()
        client.sendall(words)
        reader.join()

        assert got == [words]

    def test_an_end_is_passed_on(self, proxy, client):
        assert ask(client, b"seen") == b"seen"
        client.shutdown(socket.SHUT_WR)

        assert client.recv(1) == b""
        wait_until(lambda: proxy.connections == 0, deadline_s=30)

    def test_cut_it_hears_nothing_and_gets_all_when_it_is_healed(self, proxy, client):
        """As TCP does over a cable that is plugged in again."""
        assert ask(client, b"before") == b"before"
        proxy.cut()
        client.sendall(b"meanwhile")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(30)
        proxy.heal()

        assert read(client, 9) == b"meanwhile"

    def test_cut_it_takes_connections_that_hear_nothing(self, proxy):
        proxy.cut()
        with dial(proxy) as late:
            late.sendall(b"late")
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.recv(1)
            late.settimeout(30)
            proxy.heal()

            assert read(late, 4) == b"late"

    @pytest.mark.parametrize("first", ["open", "cut"])
    def test_refused_it_breaks_what_is_open_and_lets_nobody_in(self, proxy, client, first):
        assert ask(client, b"before") == b"before"
        if first == "cut":
            proxy.cut()
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        assert proxy.connections == 0

        proxy.heal()
        with dial(proxy) as again:
            assert ask(again, b"after") == b"after"

    def test_reset_breaks_what_is_open_alone(self, proxy, client):
        assert ask(client, b"before") == b"before"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)

        with dial(proxy) as again:
            assert ask(again, b"after") == b"after"

    def test_late_it_is_late(self, proxy, client):
        """At least as late as was asked; how much later is the machine's affair."""
        proxy.delay_s = 0.2
        client.sendall(b"late")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(30)

        assert read(client, 4) == b"late"

    def test_a_target_that_is_away_ends_the_connection(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            nobody = listener.getsockname()
        with Proxy(nobody) as proxy, dial(proxy) as client:
            assert client.recv(1) == b""
