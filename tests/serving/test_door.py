"""The door: who says nothing yet is not let in, so that nobody has to wait for what they say."""

import socket
import time
from collections.abc import Iterator

import pytest

from realtime import green_server
from realtime.green_server import Listener

HEAD = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n\r\n"
# After a second the system lets in who is silent, too.
SOON_S = 0.5


class Doorman:
    """Takes nobody, and remembers what they said."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def __len__(self) -> int:
        return 0

    def greet(self, head: bytes) -> bytes | None:
        self.heard.append(head)
        return None

    def welcome(self, sock: socket.socket, greeting: bytes) -> None:
        raise NotImplementedError


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = green_server.listen("127.0.0.1", 0)
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
