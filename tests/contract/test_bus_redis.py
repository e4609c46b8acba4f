"""The bus on Redis: every address, every way in which Redis fails, and what nobody understands."""

import contextlib
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis

from cluster.proxy import Proxy
from cluster.redis import RedisOptions, RedisServer
from cluster.redis_many import RedisCluster, RedisSentinel
from core.events import Control
from core.ids import new_id
from core.metrics import BUS_STRANGE
from realtime.bus import Hint
from realtime.bus_redis import VERSION, RedisBus
from realtime.client_redis import RedisAddress
from tests.contract.test_bus import Ear, make_hint
from tests.support import needs
from tests.support.wait import wait_until

pytestmark = pytest.mark.usefixtures("greenly")
PASSWORD = 'a "word" with \\ and %'
DEADLINE_S = 60.0
Pair = tuple[RedisBus, Ear]


@pytest.fixture
def make_pair() -> Iterator[Callable[..., list[Pair]]]:
    """`make_pair(address)` gives two nodes on it; each has joined channel:a."""
    made: list[RedisBus] = []

    def make(address: RedisAddress) -> list[Pair]:
        prefix = new_id()
        pair = [(RedisBus(address, f"node-{number}", prefix), Ear()) for number in range(2)]
        for bus, ear in pair:
            made.append(bus)
            bus.start(ear)
            bus.join("channel:a")
        return pair

    yield make
    for bus in made:
        bus.stop()


def is_carried(pair: list[Pair], hint: Hint) -> bool:
    pair[0][0].publish(hint)
    return hint in pair[1][1].hints


def wait_until_carried(pair: list[Pair], offset: int = 1) -> None:
    """Speak until it is heard: a hint may be lost, but not for ever."""
    hint = make_hint(offset)
    wait_until(
        partial(is_carried, pair, hint), deadline_s=DEADLINE_S, every_s=0.1, what=f"hint {offset}"
    )


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that a test may break."""
    needs.require_redis()
    with RedisServer() as server:
        yield server


class TestAddresses:
    def test_a_socket_of_this_machine(self, make_pair):
        needs.require_redis()
        with RedisServer(RedisOptions(unix=True, password=PASSWORD)) as server:
            wait_until_carried(make_pair(RedisAddress(server.url)))

    def test_a_password(self, make_pair):
        needs.require_redis()
        with RedisServer(RedisOptions(password=PASSWORD)) as server:
            wait_until_carried(make_pair(RedisAddress(server.url)))

    def test_valkey_speaks_the_same(self, make_pair, own_redis):
        url = own_redis.url.replace("redis", "valkey", 1)

        wait_until_carried(make_pair(RedisAddress(url)))

    def test_sentinels_and_after_the_master_died(self, make_pair):
        binary = needs.require_redis((7, 0))
        with RedisSentinel(RedisOptions(password=PASSWORD), sentinels=2, binary=binary) as many:
            pair = make_pair(RedisAddress(many.url))
            wait_until_carried(pair)
            many.master.kill()
            many.wait_for_failover()

            wait_until_carried(pair, 2)


class TestFailures:
    def test_killed_and_started_again(self, make_pair, own_redis):
        pair = make_pair(RedisAddress(own_redis.url))
        wait_until_carried(pair)

        own_redis.kill()
        wait_until(lambda: not pair[0][0].is_up(), deadline_s=DEADLINE_S, what="it is noticed")
        own_redis.start()

        wait_until_carried(pair, 2)

    def test_frozen_it_is_noticed_though_no_connection_breaks(self, make_pair, own_redis):
        pair = make_pair(RedisAddress(own_redis.url))
        wait_until_carried(pair)

        with own_redis.frozen():
            wait_until(lambda: not pair[0][0].is_up(), deadline_s=DEADLINE_S, what="it is noticed")

        wait_until_carried(pair, 2)

    def test_a_subscription_that_has_gone_deaf_is_made_again(self, make_pair, own_redis):
        """Connections stand, commands are answered, and nothing is heard."""
        pair = make_pair(RedisAddress(own_redis.url))
        wait_until_carried(pair)
        hearers = [
            line.split()[0].removeprefix("id=")
            for line in own_redis.cli("CLIENT", "LIST", "TYPE", "PUBSUB").splitlines()
        ]
        assert len(hearers) == 2

        for hearer in hearers:
            own_redis.cli("CLIENT", "KILL", "ID", hearer)

        wait_until_carried(pair, 2)

    def test_not_there_at_the_start(self, make_pair):
        needs.require_redis()
        with RedisServer() as server:
            server.stop()
            pair = make_pair(RedisAddress(server.url))
            assert not pair[0][0].is_up()
            server.start()

            wait_until_carried(pair)

    def test_after_more_failures_than_a_pool_counts_connections(self, make_pair, own_redis):
        """A pool that refuses to make its 101st connection would leave the node deaf for ever."""
        with Proxy(("127.0.0.1", own_redis.port)) as proxy:
            pair = make_pair(RedisAddress(f"redis://{proxy.address}/0"))
            wait_until_carried(pair)
            for link in pair[1][0]._links.values():
                for _ in range(120):
                    link._connect().disconnect()
            proxy.reset()

            wait_until_carried(pair, 2)

    def test_a_cluster_that_is_away_for_a_while(self, make_pair):
        """At the start and later: the wiring goes on until it is back."""
        binary = needs.require_redis((7, 0))
        with RedisCluster(binary=binary) as cluster:
            for server in cluster.servers:
                server.stop()
            assert not RedisAddress(cluster.url).check()
            pair = make_pair(RedisAddress(cluster.url))
            wait_until(lambda: not pair[0][0]._must_rewire, what="the first try")
            for server in cluster.servers:
                server.start()
            cluster.wait_until_ready()
            wait_until_carried(pair)
            for server in cluster.servers:
                server.kill()
            wait_until(lambda: not pair[0][0].is_up(), deadline_s=DEADLINE_S, what="it is noticed")
            for server in cluster.servers:
                server.start()
            cluster.wait_until_ready()

            wait_until_carried(pair, 2)


def control_of(body: bytes) -> bytes:
    return struct.pack("!BBBQ", VERSION, 2, 1, 0) + b"x" + body


GARBAGE = {
    "nothing": b"",
    "a part of the head": b"\x01\x00",
    "another version": struct.pack("!BBBQ", VERSION + 1, 0, 0, 0),
    "another kind": struct.pack("!BBBQ", VERSION, 9, 0, 0),
    "an epoch that is no text": struct.pack("!BBBQ", VERSION, 0, 1, 0) + b"\xff{}",
    "a control that is no JSON": control_of(b"{"),
    "a control that is a list": control_of(b"[1]"),
    "a control of an unknown kind": control_of(b'{"kind":"dance","user_id":"u"}'),
    "a control with a list for a name": control_of(b'{"kind":"user_disabled","user_id":[]}'),
}


class TestGarbage:
    @pytest.mark.parametrize("name", GARBAGE)
    def test_what_nobody_understands_is_counted_and_dropped(self, make_pair, redis_server, name):
        """The connection stands, and what comes after it is heard."""
        pair = make_pair(RedisAddress(redis_server.url))
        wait_until_carried(pair)
        bus, ear = pair[1]
        heard, counted = list(ear.controls), BUS_STRANGE._value.get()
        ears: list[Any] = [link._ears for link in bus._links.values()]
        channel = bus._control if name.startswith("a control") else bus._channel("channel:a")

        with contextlib.closing(redis.Redis.from_url(redis_server.url)) as stranger:
            stranger.publish(channel, GARBAGE[name])
        wait_until_carried(pair, 2)

        assert BUS_STRANGE._value.get() == counted + 2  # both nodes
        assert ear.controls == heard
        assert [link._ears for link in bus._links.values()] == ears

    def test_what_a_newer_node_says_in_addition_is_passed_over(self, make_pair, redis_server):
        """Old and new nodes live side by side while a deployment rolls."""
        pair = make_pair(RedisAddress(redis_server.url))
        wait_until_carried(pair)
        said = control_of(b'{"kind":"user_disabled","user_id":"u","id":7,"mood":"fine"}')

        with contextlib.closing(redis.Redis.from_url(redis_server.url)) as stranger:
            stranger.publish(pair[1][0]._control, said)
        wait_until_carried(pair, 2)

        assert pair[1][1].controls == [Control("user_disabled", user_id="u", id=7)]
