"""A WebSocket on the loop, by a client that writes raw bytes, over a real pair of sockets.

Server and client are greenlets of one thread; a test that hangs is ended by the deadline.
"""

import socket as real_socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import eventlet
import pytest
from eventlet.green import socket

from realtime import frames, transport
from realtime.transport import Transport
from tests.realtime.test_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    client_frame,
    close_frame,
)

DEADLINE_S = 20
LIMIT = 1 << 20
# More than the buffers of both ends of a connection take together.
MUCH = bytes(8 << 20)


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    with eventlet.Timeout(DEADLINE_S):
        yield


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.blocked: list[bool] = []
        self.over: list[str] = []
        self.released = 0
        self.most = 10**9
        self.on_message: Callable[[Any], object] = bool

    def on_text(self, text: str) -> None:
        self.messages.append(text)
        self.on_message(text)

    def on_binary(self, data: bytes) -> None:
        self.messages.append(data)

    def is_full(self) -> bool:
        return len(self.messages) >= self.most

    def on_blocked(self, *, is_blocked: bool) -> None:
        self.blocked.append(is_blocked)

    def on_over(self, reason: str) -> None:
        self.over.append(reason)

    def on_released(self) -> None:
        self.released += 1


class Pair:
    """A transport, its owner, and the client at the other end."""

    def __init__(self) -> None:
        ours, theirs = real_connection()
        self.owner = Owner()
        self.transport = Transport(ours, self.owner, LIMIT)
        self.client = socket.socket(fileno=theirs.detach())
        self.buffer = b""

    def send(self, opcode: int, payload: bytes = b"", *, final: bool = True) -> None:
        self.client.sendall(client_frame(opcode, payload, final=final))

    def read(self) -> tuple[int, bytes]:
        """Read one frame of the server."""
        opcode, size = struct.unpack("!BB", self._take(2))
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return opcode & 0x0F, self._take(size)

    def read_close(self) -> int:
        """Read up to the close frame, and give its code."""
        while True:
            opcode, payload = self.read()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2])

    def is_at_end(self) -> bool:
        """Tell whether the server has ended the connection in order."""
        return not self.buffer and not self.client.recv(1)

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = self.client.recv(1 << 16)
            if not data:
                raise EOFError
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def settle(self, condition: Callable[[], object]) -> None:
        while not condition():
            eventlet.sleep(0.001)


def real_connection() -> tuple[real_socket.socket, real_socket.socket]:
    """Connect two sockets of TCP: those of a pair know no reset."""
    original = eventlet.patcher.original("socket")
    with original.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = original.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return server, client


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.transport.abort()
    made.client.close()


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, LIMIT])
    def test_of_every_size_they_come_and_go(self, pair, size):
        text = "x" * size
        pair.send(TEXT, text.encode())
        pair.settle(lambda: pair.owner.messages)
        pair.transport.write(frames.encode_text(text))

        assert pair.owner.messages == [text]
        assert pair.read() == (TEXT, text.encode())

    def test_many_in_one_segment_keep_their_order(self, pair):
        pair.client.sendall(b"".join(client_frame(TEXT, b"%d" % n) for n in range(1000)))
        pair.settle(lambda: len(pair.owner.messages) == 1000)

        assert pair.owner.messages == [str(n) for n in range(1000)]

    def test_byte_by_byte_they_are_whole(self, pair):
        for at in client_frame(TEXT, b"hello") + client_frame(BINARY, b"\x00\x01"):
            pair.client.sendall(bytes((at,)))
            eventlet.sleep(0)
        pair.settle(lambda: len(pair.owner.messages) == 2)

        assert pair.owner.messages == ["hello", b"\x00\x01"]

    def test_two_clients_in_mid_frame_do_not_share_what_they_sent(self, pair):
        other = Pair()
        first, second = client_frame(TEXT, b"first" * 50), client_frame(TEXT, b"second" * 50)
        for half in (slice(None, 9), slice(9, None)):
            pair.client.sendall(first[half])
            other.client.sendall(second[half])
            eventlet.sleep(0.01)
        pair.settle(lambda: pair.owner.messages and other.owner.messages)
        other.transport.abort()

        assert (pair.owner.messages, other.owner.messages) == (["first" * 50], ["second" * 50])

    def test_a_ping_between_fragments_is_answered_before_the_message_ends(self, pair):
        pair.send(TEXT, b"a", final=False)
        pair.send(PING, b"now")

        assert pair.read() == (PONG, b"now")
        pair.send(CONTINUATION, b"b")
        pair.settle(lambda: pair.owner.messages)
        assert pair.owner.messages == ["ab"]

    def test_a_flood_of_pings_is_answered_once_a_read(self, pair):
        """As the RFC allows. An answer to each would be thousands of writes for one read."""
        writes: list[int] = []
        write_now = Transport._write_now

        def count(transport: Transport, data: bytes) -> None:
            writes.append(len(data))
            write_now(transport, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transport, "_write_now", count)
            pair.client.sendall(b"".join(client_frame(PING, b"%d" % n) for n in range(2000)))
            last = b""
            while last != b"1999":
                last = pair.read()[1]

        assert len(writes) < 100

    def test_a_pong_that_nobody_asked_for_is_ignored(self, pair):
        pair.send(PONG, b"?")
        pair.send(TEXT, b"on")
        pair.settle(lambda: pair.owner.messages)

        assert pair.owner.messages == ["on"]


class TestReadingOn:
    def test_a_full_owner_is_not_read_for_and_nothing_is_lost(self, pair):
        pair.owner.most = 1
        data = b"".join(client_frame(TEXT, b"%05d" % n + bytes(900)) for n in range(200))
        writer = eventlet.spawn(pair.client.sendall, data)
        pair.settle(lambda: pair.owner.messages)
        eventlet.sleep(0.05)
        early = len(pair.owner.messages)
        pair.owner.most = 10**9
        pair.transport.read_on()
        pair.settle(lambda: len(pair.owner.messages) == 200)
        writer.wait()

        assert early < 40  # what one read brought, no more
        assert [int(text[:5]) for text in pair.owner.messages] == list(range(200))

    def test_what_was_not_read_yet_is_known(self, pair):
        pair.owner.most = 0
        pair.send(TEXT, b"one")
        pair.settle(lambda: pair.owner.messages)
        pair.send(TEXT, b"two")
        pair.settle(pair.transport.has_unread)

        assert pair.owner.messages == ["one"]


class TestFaults:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (b"\x81\x01x", 1002),  # not masked
            (client_frame(TEXT, b"x", rsv=4), 1002),
            (client_frame(3), 1002),
            (client_frame(CONTINUATION, b"x"), 1002),
            (client_frame(PING, b"x", final=False), 1002),
            (client_frame(TEXT, b"\xff"), 1007),
            (client_frame(BINARY, bytes(LIMIT + 1))[:20], 1009),
            (client_frame(CLOSE, b"\x03"), 1002),
        ],
    )
    def test_the_close_frame_names_the_fault(self, pair, data, code):
        pair.client.sendall(data)

        assert pair.read_close() == code
        assert pair.owner.over == ["transport error"]

    def test_messages_in_front_of_a_fault_are_delivered_and_none_behind(self, pair):
        good, bad = client_frame(TEXT, b"good"), client_frame(3)
        pair.client.sendall(good + bad + client_frame(TEXT, b"late"))
        pair.read_close()

        assert pair.owner.messages == ["good"]

    def test_a_client_that_never_stops_after_its_fault_is_ended(self, pair):
        pair.client.sendall(client_frame(3))

        def flood() -> None:
            while True:
                pair.send(TEXT, bytes(10_000))

        with pytest.raises(OSError, match=r"reset|pipe"):
            flood()
        pair.settle(lambda: pair.owner.released)

    def test_an_owner_that_fails_ends_its_connection_alone(self, pair):
        other = Pair()

        def fail(_text: str) -> None:
            raise ZeroDivisionError

        pair.owner.on_message = fail
        pair.send(TEXT, b"x")
        pair.settle(lambda: pair.owner.released)
        other.send(TEXT, b"x")
        other.settle(lambda: other.owner.messages)
        other.transport.abort()

        assert pair.owner.over == ["transport error"]


class TestClose:
    @pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
    def test_the_clients_close_is_answered_with_its_code(self, pair, code):
        pair.client.sendall(close_frame(code))

        assert pair.read_close() == code
        assert pair.is_at_end()
        assert pair.owner.over == ["transport close"]

    def test_a_close_without_a_code_is_answered_without_one(self, pair):
        pair.send(CLOSE)

        assert pair.read() == (CLOSE, b"")

    def test_ours_ends_once_the_client_answers(self, pair):
        pair.transport.write(frames.encode_text("last"))
        pair.transport.close(1000, "bye")
        told = [pair.read(), pair.read()]
        released_early = pair.owner.released
        pair.client.sendall(close_frame(1000))
        pair.settle(lambda: pair.owner.released)

        assert told == [(TEXT, b"last"), (CLOSE, b"\x03\xe8bye")]
        assert pair.is_at_end()
        assert (released_early, pair.owner.over) == (0, ["transport close"])

    def test_ours_ends_soon_where_nobody_answers(self, pair, monkeypatch):
        monkeypatch.setattr(transport, "_CLOSE_TIMEOUT_S", 0.05)
        pair.transport.close()
        pair.settle(lambda: pair.owner.released)

        assert pair.owner.over == ["transport close"]

    def test_it_waits_for_what_was_written_before(self, pair):
        pair.transport.write(frames.encode_binary(MUCH))
        pair.transport.close()

        assert pair.read() == (BINARY, MUCH)
        assert pair.read_close() == 1000

    def test_it_does_not_wait_for_ever(self, pair, monkeypatch):
        monkeypatch.setattr(transport, "_DRAIN_TIMEOUT_S", 0.05)
        pair.transport.write(frames.encode_binary(MUCH))
        pair.transport.close()
        pair.settle(lambda: pair.owner.released)

        assert pair.transport.queued_bytes == 0

    @pytest.mark.parametrize("by", ["us", "the client", "a fault"])
    def test_who_writes_directly_hears_of_it_before(self, pair, by):
        """Else an event would follow the close frame, or meet a closed socket."""
        seen: list[bool] = []

        def hear(*, is_blocked: bool) -> None:
            seen.append(pair.transport.is_open)
            if len(seen) == 1:
                pair.transport.write(frames.encode_text("waiting"))

        pair.owner.on_blocked = hear
        if by == "us":
            pair.transport.close()
        else:
            pair.client.sendall(close_frame(1000) if by == "the client" else client_frame(3))

        assert pair.read() == (TEXT, b"waiting")
        assert pair.read()[0] == CLOSE
        assert seen[0] is True

    @pytest.mark.parametrize("by", ["us", "the client", "a fault"])
    def test_a_client_that_is_gone_before_is_no_failure(self, pair, by):
        """What was to leave before the close frame finds it out."""
        logged: list[str] = []

        def hear(*, is_blocked: bool) -> None:
            pair.transport.abort("transport error")

        pair.owner.on_blocked = hear
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transport._log, "exception", logged.append)
            if by == "us":
                pair.transport.close()
            else:
                pair.client.sendall(close_frame(1000) if by == "the client" else client_frame(3))
            pair.settle(lambda: pair.owner.released)
            eventlet.sleep(0.01)

        assert logged == []
        assert pair.owner.over == ["transport error"]

    def test_nothing_follows_it(self, pair):
        pair.transport.close()
        pair.transport.write(frames.encode_text("late"))

        assert pair.read()[0] == CLOSE
        pair.client.sendall(close_frame(1000))
        assert pair.is_at_end()

    def test_messages_behind_it_are_not_delivered(self, pair):
        pair.transport.close()
        pair.send(TEXT, b"late")
        pair.client.sendall(close_frame(1000))
        pair.settle(lambda: pair.owner.released)

        assert pair.owner.messages == []

    def test_a_client_that_vanishes_is_noticed(self, pair):
        pair.client.close()
        pair.settle(lambda: pair.owner.released)

        assert pair.owner.over == ["transport close"]
        assert not pair.transport.is_open

    def test_a_message_may_close_from_within(self, pair):
        pair.owner.on_message = lambda _text: pair.transport.close()
        pair.client.sendall(client_frame(TEXT, b"one") + client_frame(TEXT, b"two"))

        assert pair.read_close() == 1000
        assert pair.owner.messages == ["one"]


class TestAbort:
    def test_the_client_sees_a_reset(self, pair):
        pair.transport.abort("gone")
        eventlet.hubs.trampoline(pair.client, read=True)

        with pytest.raises(ConnectionResetError):
            pair.client.fd.recv(1)
        assert (pair.owner.over, pair.owner.released) == (["gone"], 1)

    def test_whatever_follows_is_harmless(self, pair):
        pair.transport.abort()
        pair.transport.abort()
        pair.transport.write(b"late")
        pair.transport.take_over(b"late", 0)
        pair.transport.close()
        pair.transport.read_on()
        eventlet.sleep(0.01)

        assert pair.transport.is_gone
        assert pair.transport.sender() is None
        assert (len(pair.owner.over), pair.owner.released) == (1, 1)

    def test_a_message_may_abort_from_within(self, pair):
        pair.owner.on_message = lambda _text: pair.transport.abort()
        pair.client.sendall(client_frame(TEXT, b"one") + client_frame(TEXT, b"two"))
        pair.settle(lambda: pair.owner.released)

        assert pair.owner.messages == ["one"]


class TestBlocked:
    def test_what_waits_leaves_whole_and_in_order(self, pair):
        sent = [frames.encode_binary(MUCH[:300_000] + b"%d" % n) for n in range(20)]
        for frame in sent:
            pair.transport.write(frame)
        waited = pair.transport.queued_bytes
        got = [pair.read() for _ in sent]

        assert waited > 0
        assert [payload[300_000:] for _, payload in got] == [b"%d" % n for n in range(20)]
        pair.settle(lambda: pair.owner.blocked == [True, False])
        assert pair.transport.queued_bytes == 0

    def test_a_part_that_somebody_else_sent_is_gone_on_with(self, pair):
        frame = frames.encode_text("hello")
        send = pair.transport.sender()
        sent = send(frame[:4])
        pair.transport.take_over(frame, sent)
        pair.transport.write(frames.encode_text("there"))

        assert pair.transport.sender() is None
        assert [pair.read(), pair.read()] == [(TEXT, b"hello"), (TEXT, b"there")]

    def test_the_newest_ping_is_answered_between_two_frames(self, pair):
        """A client that waits for its pong must not wait for all that it has not read."""
        first, second = MUCH, MUCH[:1000]
        pair.transport.write(frames.encode_binary(first))
        pair.transport.write(frames.encode_binary(second))
        pair.send(PING, b"old")
        pair.send(PING, b"new")
        pair.send(TEXT, b"read on")
        pair.settle(lambda: pair.owner.messages)
        got = [pair.read() for _ in range(3)]

        assert [(opcode, len(payload)) for opcode, payload in got] == [
            (BINARY, len(first)),
            (PONG, 3),
            (BINARY, len(second)),
        ]
        assert got[1][1] == b"new"

    def test_the_system_holds_little_of_what_is_not_taken(self, pair):
        """Else ten thousand slow clients would hold gigabytes where no bound of ours reaches."""
        held = pair.transport._sock.getsockopt(real_socket.SOL_SOCKET, real_socket.SO_SNDBUF)

        assert held <= 2 * 65_536
