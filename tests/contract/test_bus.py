"""What every bus does: it tells the other nodes of what is there.

Who gave a hint may hear it again (a node knows it by its offset), but no signal or control.

An implementation adds itself to `make_buses`. A bus may lose a hint, so these tests speak again
until they are heard; what must not be heard is known to be absent once a later word has come.
"""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from core.events import Control
from core.ids import new_id
from realtime.bus import Bus, Hint, SignalHint
from realtime.bus_memory import MemoryBus, MemoryExchange
from realtime.bus_redis import RedisBus
from realtime.client_redis import RedisAddress
from tests.support.wait import wait_until

MakeBuses = Callable[[int], list[Bus]]
SERVERS = {"redis": "redis_server", "redis-cluster": "redis_cluster"}


class Ear:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []
        self.signals: list[SignalHint] = []
        self.controls: list[Control] = []
        self.joined: list[str] = []

    def has_heard(self, word: Control) -> bool:
        return word in self.controls

    def on_joined(self, stream: str) -> None:
        self.joined.append(stream)

    def on_hint(self, hint: Hint) -> None:
        self.hints.append(hint)

    def on_signal(self, signal: SignalHint) -> None:
        self.signals.append(signal)

    def on_control(self, control: Control) -> None:
        self.controls.append(control)


def make_hint(offset: int = 1, stream: str = "channel:a", body: bytes = b'{"offset":1}') -> Hint:
    return Hint(stream, "epoch", offset, body)


@pytest.fixture(params=["memory", "redis", "redis-cluster"])
def make_buses(request: pytest.FixtureRequest) -> Iterator[MakeBuses]:
    """`make_buses(3)` gives the buses of three nodes that hear one another."""
    made: list[Bus] = []

    def of_memory(count: int) -> list[Bus]:
        exchange = MemoryExchange()
        return [MemoryBus(exchange) for _ in range(count)]

    def of_redis(count: int) -> list[Bus]:
        address = RedisAddress(request.getfixturevalue(SERVERS[request.param]).url)
        prefix = new_id()
        return [RedisBus(address, f"node-{number}", prefix) for number in range(count)]

    def make(count: int) -> list[Bus]:
        made.extend((of_memory if request.param == "memory" else of_redis)(count))
        return made[-count:]

    if request.param != "memory":
        request.getfixturevalue("greenly")
    yield make
    for bus in made:
        bus.stop()


@pytest.fixture
def nodes(make_buses: MakeBuses) -> list[tuple[Bus, Ear]]:
    """Three nodes; each has joined channel:a."""
    pairs = [(bus, Ear()) for bus in make_buses(3)]
    for bus, ear in pairs:
        bus.start(ear)
        bus.join("channel:a")
    wait_until(lambda: all(bus.is_up() for bus, _ in pairs), what="the buses")
    settle(pairs)
    return pairs


def settle(nodes: list[tuple[Bus, Ear]]) -> None:
    """Wait until what was joined and left before is so: only then is silence a proof.

    Streams are taken up in order, but on a cluster by several servers: so by many streams.
    """
    marks = [f"channel:mark-{number}" for number in range(32)]
    for bus, ear in nodes:
        if isinstance(bus, MemoryBus):
            continue
        ear.joined.clear()
        for mark in marks:
            bus.join(mark)
        wait_until(partial(set(marks).issubset, ear.joined), what="subscriptions")
        for mark in marks:
            bus.leave(mark)


def flush(nodes: list[tuple[Bus, Ear]]) -> None:
    """Have every node heard by every other one."""
    for bus, ear in nodes:
        word = Control("user_disabled", user_id=new_id())
        bus.control(word)
        for _, other in nodes:
            if other is not ear:
                wait_until(partial(other.has_heard, word), what="a control")


class TestHints:
    def test_the_other_nodes_hear_a_hint_as_it_was_given(self, nodes):
        """Byte by byte: a node passes the wire form on, and never makes it again."""
        body = '{"data":"ä\\u0000 \\u2028 🎺"}'.encode()
        hint = make_hint(2**53, body=body)

        nodes[0][0].publish(hint)
        flush(nodes)

        assert [ear.hints for _, ear in nodes[1:]] == [[hint], [hint]]

    def test_a_large_hint_is_carried(self, nodes):
        hint = make_hint(body=b'"' + b"x" * 300_000 + b'"')

        nodes[0][0].publish(hint)
        flush(nodes)

        assert nodes[1][1].hints == [hint]

    def test_only_nodes_that_joined_a_stream_hear_of_it(self, nodes):
        nodes[1][0].leave("channel:a")
        nodes[1][0].join("channel:b")
        settle(nodes)

        nodes[0][0].publish(make_hint())
        nodes[0][0].publish(make_hint(stream="channel:b"))
        flush(nodes)

        assert [hint.stream for hint in nodes[1][1].hints] == ["channel:b"]
        assert [hint.stream for hint in nodes[2][1].hints] == ["channel:a"]

    def test_a_node_tells_of_streams_that_it_did_not_join(self, nodes):
        """A call of REST may publish to a stream that nobody watches there."""
        nodes[0][0].leave("channel:a")
        settle(nodes)

        nodes[0][0].publish(make_hint())
        flush(nodes)

        assert nodes[1][1].hints == [make_hint()]

    def test_joining_twice_does_not_double_what_is_heard(self, nodes):
        nodes[1][0].join("channel:a")
        settle(nodes)

        nodes[0][0].publish(make_hint())
        flush(nodes)

        assert nodes[1][1].hints == [make_hint()]

    def test_leaving_what_was_never_joined_is_no_error(self, nodes):
        nodes[0][0].leave("channel:unknown")

    def test_who_leaves_and_joins_again_hears_again(self, nodes):
        nodes[1][0].leave("channel:a")
        nodes[1][0].join("channel:a")
        settle(nodes)

        nodes[0][0].publish(make_hint())
        flush(nodes)

        assert nodes[1][1].hints == [make_hint()]

    def test_a_name_is_no_pattern(self, nodes):
        """`channel:*` is a name like another, whatever the carrier takes for a wild card."""
        nodes[1][0].leave("channel:a")
        nodes[1][0].join("channel:*")
        nodes[1][0].join("channel:?")
        settle(nodes)

        nodes[0][0].publish(make_hint())
        flush(nodes)

        assert nodes[1][1].hints == []


class TestSignals:
    def test_the_other_nodes_that_joined_hear_a_signal(self, nodes):
        signal = SignalHint("channel:a", b'{"type":"typing"}')
        nodes[2][0].leave("channel:a")
        settle(nodes)

        nodes[0][0].signal(signal)
        flush(nodes)

        assert [ear.signals for _, ear in nodes] == [[], [signal], []]

    def test_a_signal_of_presence_is_still_one_when_it_is_heard(self, nodes):
        """Or the hearers would give it to watchers who did not ask for it."""
        signals = [SignalHint("channel:a", b"{}", presence) for presence in (True, False)]

        for signal in signals:
            nodes[0][0].signal(signal)
        flush(nodes)

        assert nodes[1][1].signals == signals


class TestControls:
    @pytest.mark.parametrize(
        "control",
        [
            Control("session_revoked", user_id="u", session_id="s"),
            Control("user_disabled", user_id="u"),
            Control("access_lost", user_id="u", stream="channel:z"),
            Control("stream_closed", stream="channel:z"),
        ],
        ids=lambda control: control.kind,
    )
    def test_every_other_node_hears_a_control(self, nodes, control):
        """Whatever it has joined: a session may be open anywhere."""
        nodes[0][0].control(control)
        flush(nodes)

        assert [control in ear.controls for _, ear in nodes] == [False, True, True]


class TestBeforeTheStart:
    def test_a_bus_that_was_not_started_takes_everything_in_silence(self, make_buses):
        """What a node says while it starts is lost, as any hint may be, and raises nothing."""
        (bus,) = make_buses(1)

        bus.join("channel:a")
        bus.publish(make_hint())
        bus.signal(SignalHint("channel:a", b"{}"))
        bus.control(Control("user_disabled", user_id="u"))
        bus.leave("channel:a")

    def test_what_was_joined_before_the_start_is_heard_after_it(self, make_buses):
        speaker, hearer = make_buses(2)
        ears = [Ear(), Ear()]
        hearer.join("channel:a")
        speaker.start(ears[0])
        hearer.start(ears[1])
        wait_until(lambda: speaker.is_up() and hearer.is_up(), what="the buses")
        settle([(hearer, ears[1])])

        speaker.publish(make_hint())
        flush([(speaker, ears[0]), (hearer, ears[1])])

        assert ears[1].hints == [make_hint()]
