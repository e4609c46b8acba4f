"""Fan-out: whatever blocks, comes and goes, each watcher gets each frame once, in order."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import room as room_module
from realtime.hub import ALWAYS, DirectWatcher, Frame, Hub

STREAM = "channel:a"
PLENTY = 10**9


class Loop:
    """Stands for the loop: what is to be called soon is called by `turn`."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def soon(self, work: Callable[[], object]) -> None:
        self.waiting.append(work)

    def turn(self) -> None:
        waiting, self.waiting = self.waiting, []
        for work in waiting:
            work()

    def settle(self) -> None:
        while self.waiting:
            self.turn()


class Client(DirectWatcher):
    """A connection whose system takes so many bytes, and keeps the rest."""

    def __init__(self, space: int = PLENTY) -> None:
        super().__init__()
        self.space = space
        self.taken = b""
        self.kept = b""
        self.writes = 0
        self.is_broken = self.is_closed = False

    def fileno(self) -> int:
        return 0

    @property
    def user_id(self) -> str:
        return "ada"

    def wants_presence(self, stream: str) -> bool:
        return True

    def _send(self, data: bytes) -> int:
        if self.is_broken:
            raise BrokenPipeError
        if not self.space:
            raise BlockingIOError
        sent = min(self.space, len(data))
        self.writes += 1
        self.space -= sent
        self.taken += data[:sent]
        return sent

    def sender(self) -> Callable[[bytes], int] | None:
        return None if self.kept or self.is_closed else self._send

    def take_over(self, data: bytes, sent: int) -> None:
        self.kept = data[sent:]
        self.on_blocked(is_blocked=True)

    def fail(self) -> None:
        self.is_closed = True
        self.on_blocked(is_blocked=True)

    def deliver(self, frame: Frame) -> None:
        if self.is_closed:
            return
        if self.kept:
            self.kept += frame.wire
            return
        sent = self._send(frame.wire) if self.space else 0
        if sent < len(frame.wire):
            self.take_over(frame.wire, sent)

    def deliver_signal(self, frame: Frame) -> None:
        self.deliver(frame)

    def drain(self, space: int) -> None:
        """Have the client read: so many bytes more fit."""
        self.space += space
        sent = min(self.space, len(self.kept))
        self.taken, self.kept = self.taken + self.kept[:sent], self.kept[sent:]
        self.space -= sent
        if sent and not self.kept:
            self.on_blocked(is_blocked=False)

    @property
    def got(self) -> bytes:
        return self.taken + self.kept


class Numbered(Client):
    """A connection that notes down when it is written to."""

    def __init__(self, number: int, written: list[int]) -> None:
        super().__init__()
        self.number = number
        self._written = written

    def fileno(self) -> int:
        return self.number

    def _send(self, data: bytes) -> int:
        self._written.append(self.number)
        return super()._send(data)


class Follower:
    """A watcher that is handed each frame by itself."""

    def __init__(self) -> None:
        self.user_id = "eve"
        self.got = b""

    def wants_presence(self, stream: str) -> bool:
        return False

    def deliver(self, frame: Frame) -> None:
        self.got += frame.wire

    def deliver_signal(self, frame: Frame) -> None:
        self.deliver(frame)


def event(number: int) -> Frame:
    return Frame("event", b'{"offset":%d}' % number, STREAM)


def signal(number: int) -> Frame:
    return Frame("signal", b'{"number":%d}' % number, STREAM)


def wires(*frames: Frame) -> bytes:
    return b"".join(frame.wire for frame in frames)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def hub(loop: Loop) -> Hub:
    return Hub(loop.soon)


def watch(hub: Hub, watcher: Any, offset: int = 0) -> Any:
    hub.hold(STREAM, watcher)
    hub.release(STREAM, watcher, offset)
    return watcher


class TestJoining:
    def test_what_comes_in_one_round_is_one_write(self, hub, loop):
        clients = [watch(hub, Client()) for _ in range(3)]
        frames = [event(number) for number in range(5)]
        for number, frame in enumerate(frames, 1):
            hub.fan_out(STREAM, number, frame)
        loop.settle()

        assert [client.got for client in clients] == [wires(*frames)] * 3
        assert [client.writes for client in clients] == [1] * 3

    def test_one_event_at_rest_waits_for_one_round_and_no_longer(self, hub, loop):
        client = watch(hub, Client())
        hub.fan_out(STREAM, 1, event(1))
        loop.turn()

        assert client.got == wires(event(1))
        assert loop.waiting == []

    def test_writes_have_a_size_and_the_next_one_its_own_round(self, hub, loop):
        client = watch(hub, Client())
        frames = [Frame("event", b'"%s"' % (b"x" * 10_000), STREAM) for _ in range(7)]
        for number, frame in enumerate(frames, 1):
            hub.fan_out(STREAM, number, frame)
        loop.settle()

        assert client.got == wires(*frames)
        assert client.writes == 3

    def test_what_would_wait_beyond_a_bound_is_written_at_once(self, hub):
        client = watch(hub, Client())
        frames = [Frame("event", b'"%s"' % (b"x" * 60_000), STREAM) for _ in range(20)]
        for number, frame in enumerate(frames, 1):
            hub.fan_out(STREAM, number, frame)

        assert client.got.startswith(wires(*frames[:17]))

    def test_others_are_handed_each_frame_at_once(self, hub):
        follower = watch(hub, Follower())
        hub.fan_out(STREAM, 1, event(1))

        assert follower.got == wires(event(1))


class TestManyWatchers:
    def test_others_have_a_turn_between_shares(self, hub, loop, monkeypatch):
        monkeypatch.setattr(room_module, "_SHARE", 10)
        clients = [watch(hub, Client()) for _ in range(25)]
        hub.fan_out(STREAM, 1, event(1))
        rounds = []
        while loop.waiting:
            loop.turn()
            rounds.append(sum(bool(client.got) for client in clients))

        assert rounds == [10, 20, 25]

    def test_order_holds_for_each_while_a_share_waits(self, hub, loop, monkeypatch):
        monkeypatch.setattr(room_module, "_SHARE", 10)
        clients = [watch(hub, Client()) for _ in range(25)]
        frames = [event(number) for number in range(4)]
        for number, frame in enumerate(frames, 1):
            hub.fan_out(STREAM, number, frame)
            loop.turn()
        loop.settle()

        assert {client.got for client in clients} == {wires(*frames)}

    def test_those_opened_side_by_side_are_written_to_side_by_side(
        self, hub, loop, monkeypatch, rng
    ):
        """In a room of many: what the kernel knows of them lies in that order."""
        monkeypatch.setattr(room_module, "_SHARE", 10)
        written: list[int] = []
        clients = [Numbered(number, written) for number in range(40)]
        for client in rng.sample(clients, 36):
            watch(hub, client)
        hub.fan_out(STREAM, 1, event(1))
        loop.settle()
        here = sorted(written)
        assert written == here

        few = [client for client in clients if not client.got][:2]
        assert [watch(hub, client, 1) for client in few] == few
        written.clear()
        hub.fan_out(STREAM, 2, event(2))
        loop.settle()
        assert written == here + [client.number for client in few], "two are no reason to sort"

        assert [watch(hub, client, 2) for client in clients if not client.got]
        written.clear()
        hub.fan_out(STREAM, 3, event(3))
        loop.settle()
        assert written == list(range(40))


class TestFailures:
    def test_one_that_blocks_or_breaks_holds_nobody_up(self, hub, loop):
        good, slow, broken, last = (watch(hub, Client()) for _ in range(4))
        slow.space = 3
        broken.is_broken = True
        hub.fan_out(STREAM, 1, event(1))
        loop.settle()

        assert good.got == last.got == slow.got == wires(event(1))
        assert (len(slow.taken), broken.is_closed) == (3, True)

    def test_who_takes_nothing_is_written_to_again_once_it_does(self, hub, loop):
        slow = watch(hub, Client(space=0))
        hub.fan_out(STREAM, 1, event(1))
        loop.settle()
        hub.fan_out(STREAM, 2, event(2))
        slow.drain(PLENTY)
        hub.fan_out(STREAM, 3, event(3))
        loop.settle()

        assert slow.taken == wires(event(1), event(2), event(3))
        assert slow.writes == 1

    def test_a_fault_in_one_round_does_not_end_the_next(self, hub, loop):
        """A fault of ours, where the loop would print it and go on without the room."""

        class Bad(Client):
            def fail(self) -> None:
                raise ZeroDivisionError

        client, bad = watch(hub, Client()), watch(hub, Bad())
        bad.is_broken = True
        for number in (1, 2):
            hub.fan_out(STREAM, number, event(number))
            loop.settle()

        assert client.got == wires(event(1), event(2))


class TestSeams:
    def test_who_comes_while_frames_wait_gets_no_frame_twice(self, hub, loop):
        early = watch(hub, Client())
        hub.fan_out(STREAM, 1, event(1))
        late = watch(hub, Client(), offset=1)
        hub.fan_out(STREAM, 2, event(2))
        loop.settle()
        hub.fan_out(STREAM, 3, event(3))
        loop.settle()

        assert early.got == wires(event(1), event(2), event(3))
        assert late.got == wires(event(2), event(3))

    def test_who_stepped_aside_is_written_to_with_the_others_again(self, hub, loop):
        watch(hub, Client())
        hub.fan_out(STREAM, 1, event(1))
        late = watch(hub, Client(), offset=1)
        loop.settle()
        for number in range(2, 12):
            hub.fan_out(STREAM, number, event(number))
        loop.settle()

        assert late.got == wires(*map(event, range(2, 12)))
        assert late.writes == 1

    def test_who_leaves_while_frames_wait_is_given_them(self, hub, loop):
        client = watch(hub, Client())
        hub.fan_out(STREAM, 1, event(1))
        hub.drop(STREAM, client)
        hub.fan_out(STREAM, 2, event(2))
        loop.settle()

        assert client.got == wires(event(1))

    def test_the_maker_of_a_signal_gets_it_not_and_all_around_it(self, hub, loop):
        maker, other = watch(hub, Client()), watch(hub, Client())
        hub.fan_out(STREAM, 1, event(1))
        hub.fan_out_signal(STREAM, signal(1), but=maker)
        hub.fan_out(STREAM, 2, event(2))
        loop.settle()

        assert maker.got == wires(event(1), event(2))
        assert other.got == wires(event(1), signal(1), event(2))

    def test_who_comes_while_much_waits_misses_nothing(self, hub, loop, monkeypatch):
        """Beyond the bound all is written at once, and then they are like the others."""
        monkeypatch.setattr(room_module, "_MOST_WAITING_BYTES", 40)
        early = watch(hub, Client())
        frames = [event(number) for number in range(1, 9)]
        for number, frame in enumerate(frames[:2], 1):
            hub.fan_out(STREAM, number, frame)
        late = watch(hub, Client(), 2)
        for number, frame in enumerate(frames[2:], 3):
            hub.fan_out(STREAM, number, frame)
        loop.settle()

        assert early.got == wires(*frames)
        assert late.got == wires(*frames[2:])

    def test_who_blocks_when_much_is_written_at_once_gets_nothing_twice(self, hub, monkeypatch):
        monkeypatch.setattr(room_module, "_MOST_WAITING_BYTES", 40)
        monkeypatch.setattr(room_module, "_MOST_JOINED_BYTES", 20)
        slow = watch(hub, Client(space=len(event(1).wire) + 3))
        frames = [event(number) for number in range(1, 9)]
        for number, frame in enumerate(frames, 1):
            hub.fan_out(STREAM, number, frame)

        assert slow.got == wires(*frames)

    def test_the_maker_of_a_signal_that_blocks_gets_the_rest_in_order(self, hub, loop, monkeypatch):
        monkeypatch.setattr(room_module, "_MOST_JOINED_BYTES", 40)
        maker = watch(hub, Client(space=3))
        frames = [event(number) for number in range(1, 9)]
        hub.fan_out_signal(STREAM, signal(0), but=maker)
        for number, frame in enumerate(frames, 1):
            hub.fan_out(STREAM, number, frame)
        loop.settle()

        assert maker.got == wires(*frames)

    def test_a_frame_that_is_no_event_goes_to_who_is_held(self, hub, loop):
        client = Client()
        hub.hold(STREAM, client)
        hub.fan_out(STREAM, ALWAYS, event(9))
        hub.release(STREAM, client, 5)
        loop.settle()

        assert client.got == wires(event(9))


MOST = 5
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, MOST - 1)),
        st.tuples(st.just("signal"), st.integers(0, MOST - 1)),
        st.tuples(st.just("turn"), st.just(0)),
        st.tuples(st.sampled_from(["hold", "release", "drop", "stall", "tiny"]), st.integers(0, 4)),
        st.tuples(st.sampled_from(["drain", "answer"]), st.integers(0, MOST - 1)),
    ),
    max_size=60,
)


class Model:
    """What each client has to get: all that was published while it watched, signals but its own."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.hub = Hub(self.loop.soon)
        self.clients = [self.make_client(which) for which in range(MOST)]
        self.wanted = [b"" for _ in self.clients]
        self.watching: set[int] = set()
        self.held: dict[int, int] = {}
        self.answers = [b"" for _ in self.clients]
        self.top = 0
        for which in range(MOST):
            self.hold(which)
            self.release(which)

    def make_client(self, _which: int) -> Client:
        return Client()

    def step(self, name: str, which: int) -> None:
        getattr(self, name)(which)

    def publish(self, _which: int) -> None:
        self.top += 1
        frame = event(self.top)
        for number in self.watching | self.held.keys():
            self.wanted[number] += frame.wire
        self.hub.fan_out(STREAM, self.top, frame)

    def signal(self, which: int) -> None:
        frame = signal(self.top)
        for number in self.watching - {which}:
            self.wanted[number] += frame.wire
        self.hub.fan_out_signal(STREAM, frame, but=self.clients[which])

    def turn(self, _which: int) -> None:
        self.loop.turn()

    def hold(self, which: int) -> None:
        self.watching.discard(which)
        if which not in self.held:
            self.hub.hold(STREAM, self.clients[which])
            self.held[which] = self.top

    def release(self, which: int) -> None:
        if which in self.held:
            self.hub.release(STREAM, self.clients[which], self.held.pop(which))
            self.watching.add(which)

    def drop(self, which: int) -> None:
        if which not in self.held:
            self.watching.discard(which)
            self.hub.drop(STREAM, self.clients[which])

    def stall(self, which: int) -> None:
        self.clients[which].space = 0

    def tiny(self, which: int) -> None:
        self.clients[which].space = 7

    def drain(self, which: int) -> None:
        self.clients[which].drain(PLENTY)

    def answer(self, which: int) -> None:
        """Send something to one alone: it may come before or after what comes from the room."""
        self.answers[which] = Frame("answer", b'"%d"' % which).wire
        self.clients[which].deliver(Frame("answer", b'"%d"' % which))

    def got(self) -> list[bytes]:
        """What came from the room; what is torn is found, too."""
        pairs = zip(self.clients, self.answers, strict=True)
        return [client.got.replace(answer or b"-", b"") for client, answer in pairs]


class TestRandomly:
    @pytest.fixture(autouse=True, params=["usual bounds", "tiny bounds"])
    def small_shares(self, request, monkeypatch):
        monkeypatch.setattr(room_module, "_SHARE", 2)
        if request.param == "tiny bounds":
            monkeypatch.setattr(room_module, "_MOST_JOINED_BYTES", 20)
            monkeypatch.setattr(room_module, "_MOST_WAITING_BYTES", 50)

    @settings(max_examples=400, deadline=None)
    @given(steps=STEPS)
    def test_each_gets_all_of_its_time_once_and_in_order(self, steps):
        model = Model()
        for name, which in steps:
            model.step(name, which)
        for which in list(model.held):
            model.release(which)
        model.loop.settle()

        assert model.got() == model.wanted
