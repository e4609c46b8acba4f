"""The twins that write one event to many sockets: what each has to do, on sockets of TCP."""

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eventlet
import pytest
from eventlet.patcher import original

from realtime import native, writers
from realtime.hub import Frame, Hub
from realtime.room import DirectWatcher
from realtime.transport import Transport
from realtime.writers import FAILED, NativeWriter, PlainWriter, Writer
from tests.support import needs

DEADLINE_S = 60
STREAM = "channel:a"
# More than the buffers of both ends of a connection take together.
MUCH = bytes(16 << 20)
MAX_MESSAGE_BYTES = 1 << 20

Ends = tuple[Any, Any]


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The helper in C, built for these tests alone."""
    needs.require_compiler()
    return native.build(tmp_path_factory.mktemp("helper"))


@pytest.fixture(params=["plain", "native"])
def writer(request) -> Writer:
    if request.param == "plain":
        return PlainWriter()
    return NativeWriter(request.getfixturevalue("helper"))


@pytest.fixture
def connect() -> Iterator[Callable[[], Ends]]:
    """Make connections: our end, which never waits, and the client's."""
    sockets = original("socket")
    made: list[Any] = []
    with sockets.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def one() -> Ends:
            theirs = sockets.create_connection(listener.getsockname())
            ours, _ = listener.accept()
            ours.setblocking(False)
            theirs.settimeout(DEADLINE_S)
            made.extend((ours, theirs))
            return ours, theirs

        yield one
    for end in made:
        end.close()


def read(client: Any, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = client.recv(1 << 20)
        assert more, f"the end, after {len(data)} bytes of {size}"
        data += more
    return bytes(data)


def is_silent(client: Any) -> bool:
    client.setblocking(False)
    try:
        return not client.recv(1)
    except BlockingIOError:
        return True


class TestWriting:
    @pytest.mark.parametrize("count", [1, 2, 70])
    def test_each_gets_all_once(self, writer, connect, count):
        ends = [connect() for _ in range(count)]
        handles = {at: writer.handle(ours.send) for at, (ours, _) in enumerate(ends)}

        assert writer.write(handles, b"first|") == []
        assert writer.write(handles, b"second") == []
        for _, client in ends:
            assert read(client, 12) == b"first|second"
            assert is_silent(client)

    def test_in_order_are_the_same_by_when_they_were_opened(self, writer, connect, rng):
        ends = [connect()[0] for _ in range(20)]
        handles = {end.fileno(): writer.handle(end.send) for end in rng.sample(ends, 20)}
        ordered = writer.in_order(handles)

        assert ordered == handles
        assert list(ordered) == sorted(handles) != list(handles)

    def test_nobody_is_written_to(self, writer):
        assert writer.write({}, b"words") == []

    def test_bytes_of_any_kind_pass(self, writer, connect):
        ours, client = connect()
        data = bytes(range(256)) + bytes(10)

        assert writer.write({0: writer.handle(ours.send)}, data) == []
        assert read(client, len(data)) == data

    def test_who_takes_a_part_says_how_much_and_the_others_get_all(self, writer, connect):
        (slow, slow_client), (quick, quick_client) = connect(), connect()
        handles = {name: writer.handle(s.send) for name, s in (("slow", slow), ("quick", quick))}
        ((who, took),) = writer.write({"slow": handles["slow"]}, MUCH)

        assert (who, 0 < took < len(MUCH)) == ("slow", True)
        assert writer.write(handles, b"more") == [("slow", 0)]
        assert read(quick_client, 4) == b"more"
        assert len(read(slow_client, took)) == took
        assert is_silent(slow_client)

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_who_fails_is_told_of_and_the_others_get_all(self, writer, connect, place):
        ends = [connect() for _ in range(3)]
        handles = {at: writer.handle(ours.send) for at, (ours, _) in enumerate(ends)}
        # What is written now can't leave, for our side has said that it writes no more.
        ends[place][0].shutdown(socket.SHUT_WR)

        assert writer.write(handles, b"words") == [(place, FAILED)]
        for at, (_, client) in enumerate(ends):
            if at != place:
                assert read(client, 5) == b"words"

    def test_a_closed_descriptor_is_a_failure_and_no_more(self, writer, connect):
        (gone, _), (ours, client) = connect(), connect()
        handles = {"gone": writer.handle(gone.send), "here": writer.handle(ours.send)}
        gone.close()

        assert writer.write(handles, b"words") == [("gone", FAILED)]
        assert read(client, 5) == b"words"


class Session(DirectWatcher):
    """A connection's owner, as far as rooms and transports ask."""

    def __init__(self, sock: Any) -> None:
        super().__init__()
        self.is_gone = False
        self.transport = Transport(sock, self, MAX_MESSAGE_BYTES)

    @property
    def user_id(self) -> str:
        return "ada"

    def wants_presence(self, stream: str) -> bool:
        return False

    def sender(self) -> Any:
        return self.transport.sender()

    def take_over(self, data: bytes, sent: int) -> None:
        self.transport.take_over(data, sent)

    def fail(self) -> None:
        self.transport.abort()

    def deliver(self, frame: Frame) -> None:
        self.transport.write(frame.wire)

    def deliver_signal(self, frame: Frame) -> None:
        self.deliver(frame)

    def on_text(self, text: str) -> None:
        pass

    def on_binary(self, data: bytes) -> None:
        pass

    def is_full(self) -> bool:
        return False

    def on_over(self, _reason: str) -> None:
        pass

    def on_released(self) -> None:
        self.is_gone = True


class Client:
    """Somebody in the room, and what they must have been sent."""

    def __init__(self, hub: Hub, session: Session, end: Any) -> None:
        self.session, self.end = session, end
        self.wanted: list[bytes] = []
        self.got = bytearray()
        self.end.setblocking(False)
        hub.hold(STREAM, self.session)
        hub.release(STREAM, self.session, 0)

    def read(self) -> None:
        try:
            while data := self.end.recv(1 << 20):
                self.got += data
        except BlockingIOError:
            pass

    def has_all(self) -> bool:
        self.read()
        return len(self.got) >= sum(map(len, self.wanted))


class TestDescriptorsThatAreUsedAgain:
    @pytest.fixture
    def sessions(self) -> Iterator[list[Session]]:
        """All that are made, ended at the end."""
        made: list[Session] = []
        yield made
        for session in made:
            session.transport.abort()

    def test_nobody_is_sent_what_was_for_another(self, writer, connect, sessions, rng):
        """Connections end in every way between events, and new ones take their descriptors."""
        hub = Hub(writer=writer)
        clients: list[Client] = []
        numbers: list[int] = []
        with eventlet.Timeout(DEADLINE_S):
            for step in range(600):
                for _ in range(rng.randint(0, 2)):
                    ours, theirs = connect()
                    numbers.append(ours.fileno())
                    sessions.append(Session(ours))
                    clients.append(Client(hub, sessions[-1], theirs))
                pad = b"x" * rng.randint(0, 9000)
                frame = Frame("event", b'{"step":%d,"pad":"%s"}' % (step, pad))
                for one in clients:
                    one.wanted.append(frame.wire)
                hub.fan_out(STREAM, step + 1, frame)
                self._end_some(clients, hub, rng)
                if rng.random() < 0.5:
                    eventlet.sleep(0)
                for one in clients:
                    if rng.random() < 0.7:
                        one.read()
            for one in clients:
                while not one.has_all():
                    eventlet.sleep(0.001)

        assert len(set(numbers)) < len(numbers), "no descriptor was used again"
        for one in clients:
            assert bytes(one.got) == b"".join(one.wanted)

    def _end_some(self, clients: list[Client], hub: Hub, rng: random.Random) -> None:
        while clients and rng.random() < 0.5:
            one = clients.pop(rng.randrange(len(clients)))
            way = rng.choice(["abort", "close", "client", "drop"])
            if way == "abort":
                one.session.transport.abort()
            elif way == "close":
                one.session.transport.close()
            elif way == "client":
                one.end.close()
            else:
                hub.drop(STREAM, one.session)
                one.session.transport.abort()
            if way in ("abort", "drop"):
                one.end.close()


class TestChoice:
    def test_without_the_helper_the_plain_one_does_it(self, monkeypatch, tmp_path):
        monkeypatch.setattr(native, "library", lambda: tmp_path / "none.so")

        assert isinstance(writers.choose(native_wanted=True), PlainWriter)

    def test_one_that_cannot_be_loaded_is_not_needed(self, monkeypatch, tmp_path):
        """Of another C library, or cut off."""
        broken = tmp_path / "native.so"
        broken.write_bytes(b"no library")
        monkeypatch.setattr(native, "library", lambda: broken)

        assert isinstance(writers.choose(native_wanted=True), PlainWriter)

    def test_where_it_was_built_it_is_used_unless_it_is_not_wanted(self, monkeypatch, helper):
        monkeypatch.setattr(native, "library", lambda: helper)

        assert isinstance(writers.choose(native_wanted=True), NativeWriter)
        assert isinstance(writers.choose(native_wanted=False), PlainWriter)


class TestBuilding:
    @pytest.fixture
    def source(self, monkeypatch, tmp_path) -> Path:
        """A source of the test's own."""
        needs.require_compiler()
        copy = tmp_path / "native.c"
        copy.write_bytes(native._SOURCE.read_bytes())
        monkeypatch.setattr(native, "_SOURCE", copy)
        return copy

    def test_the_helper_of_another_source_is_not_used(self, source, tmp_path):
        first = native.build(tmp_path)
        source.write_text(source.read_text() + "/* newer */\n")

        assert not native.library(tmp_path).exists()
        assert native.build(tmp_path) != first
        assert not first.exists()

    def test_what_the_compiler_refuses_is_said(self, source, tmp_path):
        source.write_text("int wrong(void) { return nothing; }")

        with pytest.raises(native.BuildError, match="nothing"):
            native.build(tmp_path)

        assert list(tmp_path.iterdir()) == [source]

    def test_without_a_compiler_it_says_what_to_install(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(native, "library", lambda _folder: tmp_path / "none.so")
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CC", raising=False)

        assert native.main() == 1
        assert "gcc libc6-dev" in capsys.readouterr().err
