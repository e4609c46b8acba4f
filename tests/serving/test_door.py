"""The door: who says nothing yet is not let in, so that nobody has to wait for what they say."""

import socket
import time
from collections.abc import Iterator

import pytest

from realtime import green_door
from realtime.green_door import Listener

HEAD = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n\r\n"
# After a second the system lets in who is silent, too.
SOON_S = 0.5


class Doorman:
    """Takes nobody, or everybody, and remembers what they said."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.answer: bytes | None = None
        self.welcomed: list[socket.socket] = []

    def __len__(self) -> int:
        return 0

    def greet(self, head: bytes) -> bytes | None:
        self.heard.append(head)
        return self.answer

    def welcome(self, sock: socket.socket, greeting: bytes) -> None:
        self.welcomed.append(sock)
        sock.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = green_door.listen("127.0.0.1", 0)
    yield made
    made._own.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_DEFER_ACCEPT"), reason="the system can't")
class TestTheDoor:
    def test_who_is_let_in_has_spoken(self, listener):
        """So a handshake, the first that a client sends, is there whole: it needs no greenlet."""
        doorman = Doorman()
        listener.welcome(doorman, lambda: True)
        for _ in range(20):
            begun_s = time.monotonic()
            with socket.create_connection(listener.address) as client:
                silent = listener._take(listener._own)
                in_time = time.monotonic() - begun_s < SOON_S
                client.sendall(HEAD)
                spoken = silent or listener._take(listener._own)
            assert spoken is not None
            spoken[0].close()
            if in_time:
                break

        assert silent is None
        assert doorman.heard[-1] == HEAD


@pytest.fixture
def open_door() -> Iterator[tuple[Listener, Doorman]]:
    """A door that lets in who is silent, too: as any does in a flood, or on another system."""
    made = green_door.listen("127.0.0.1", 0)
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        made._own.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
    doorman = Doorman()
    doorman.answer = b"welcome"
    made.welcome(doorman, lambda: True)
    yield made, doorman
    made._own.close()


class TestWhoIsSilent:
    def test_who_speaks_while_others_come_in_is_a_guest_like_them(self, open_door):
        listener, doorman = open_door
        with socket.create_connection(listener.address) as client:
            listener._take(listener._own)
            silent = len(listener._silent)
            client.sendall(HEAD)
            listener._look_again()

        assert silent == 1
        assert (len(doorman.welcomed), listener._silent, len(listener._left)) == (1, [], 0)

    def test_who_stays_silent_is_left_to_the_server(self, open_door):
        listener, doorman = open_door
        with socket.create_connection(listener.address):
            listener._take(listener._own)
            listener._look_again()
            taken, _ = listener.accept()
            taken.close()

        assert (len(doorman.welcomed), listener._silent, len(listener._left)) == (0, [], 0)

    def test_nobody_is_forgotten_where_the_door_closes(self, open_door):
        listener, _doorman = open_door
        with socket.create_connection(listener.address):
            listener._take(listener._own)
            listener.stop_accepting()

            assert len(listener._left) == 1
            listener._left.pop()[0].close()

    def test_a_crowd_of_them_is_listened_to_before_more_are_let_in(self, open_door):
        """They have no place yet among those who are counted."""
        listener, doorman = open_door
        clients = [socket.create_connection(listener.address) for _ in range(70)]
        last = socket.create_connection(listener.address)
        taken, _ = listener.accept()

        assert len(listener._left) + 1 == 64
        for one in (taken, last, *clients, *(green for green, _ in listener._left)):
            one.close()
        assert doorman.welcomed == []
