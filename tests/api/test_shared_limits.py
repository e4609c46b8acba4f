"""Guesses at a password are counted over all nodes, and by each node alone where Redis is away."""

from typing import Any

import pytest
import redis
from limits.errors import StorageError

from api.limits import RateLimits
from api.limits_redis import make_store
from cluster.ports import free_port
from cluster.redis import RedisServer
from core.errors import RateLimitedError
from core.ids import new_id
from realtime.client_redis import RedisAddress

MOST = 10  # logins of one name and address in a minute


@pytest.fixture
def own_redis():
    """A Redis to end."""
    with RedisServer() as server:
        yield server


def make_node(server: RedisServer, prefix: str = "test") -> RateLimits:
    def store() -> Any:
        return make_store(lambda: redis.Redis.from_url(server.url, socket_timeout=2), prefix)

    return RateLimits(is_on=True, events_per_s=1, make_store=store)


def guess(node: RateLimits, name: str, who: str = "ada") -> bool:
    """Guess once; tell whether one more was allowed."""
    try:
        node.take(name, who)
    except RateLimitedError:
        return False
    return True


class TestManyNodes:
    def test_many_nodes_are_not_many_tries(self, redis_server):
        prefix = new_id()
        nodes = [make_node(redis_server, prefix) for _ in range(3)]
        allowed = [guess(nodes[number % 3], "login") for number in range(MOST + 3)]

        assert allowed == [True] * MOST + [False] * 3

    def test_others_are_not_held_up(self, redis_server):
        prefix = new_id()
        nodes = [make_node(redis_server, prefix) for _ in range(2)]
        for _ in range(MOST):
            guess(nodes[0], "login", "bob")

        assert guess(nodes[1], "login", "ada")
        assert not guess(nodes[1], "login", "bob")

    def test_writes_are_counted_by_each_node(self, redis_server):
        prefix = new_id()
        nodes = [make_node(redis_server, prefix) for _ in range(2)]

        assert [guess(nodes[0], "write") for _ in range(11)] == [True] * 10 + [False]
        assert guess(nodes[1], "write")

    def test_without_redis_each_node_counts_alone(self, own_redis):
        """Neither everybody is let in, nor nobody."""
        nodes = [make_node(own_redis) for _ in range(2)]
        assert [guess(node, "login") for node in nodes] == [True, True]
        own_redis.kill()

        assert [guess(nodes[0], "login") for _ in range(MOST)] == [True] * (MOST - 1) + [False]
        assert guess(nodes[1], "login")

    def test_a_redis_that_was_away_at_the_start_is_used_once_it_is_there(self, own_redis):
        own_redis.stop()
        node, prefix = make_node(own_redis), "test"
        assert guess(node, "login")
        own_redis.start()
        node._paused_until_s = 0
        other = make_node(own_redis, prefix)
        for _ in range(MOST):
            guess(other, "login")

        assert not guess(node, "login")


FAILURES = [
    redis.ConnectionError("away"),
    redis.exceptions.RedisClusterException("none of its nodes answers"),
    ConnectionResetError(),
]


class TestTheStore:
    """However it fails, a login is answered."""

    @pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
    def test_one_that_can_not_be_made_is_done_without(self, failure):
        def fail() -> Any:
            raise failure

        with pytest.raises(StorageError):
            make_store(fail, "test")
        assert guess(RateLimits(is_on=True, events_per_s=1, make_store=as_store(fail)), "login")

    @pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
    def test_one_that_fails_later_is_done_without(self, redis_server, monkeypatch, failure):
        client = redis.Redis.from_url(redis_server.url)
        node = RateLimits(is_on=True, events_per_s=1, make_store=as_store(lambda: client))
        assert guess(node, "login")

        def fail(*_args: Any) -> Any:
            raise failure

        monkeypatch.setattr(client, "evalsha", fail)

        assert guess(node, "login")
        assert node._paused_until_s > 0

    def test_a_cluster_that_is_away_is_done_without(self):
        """With its own client, and at an address where nobody listens."""
        address = RedisAddress(f"cluster://127.0.0.1:{free_port()}")
        node = RateLimits(is_on=True, events_per_s=1, make_store=as_store(address.client))

        assert [guess(node, "login") for _ in range(MOST + 1)] == [True] * MOST + [False]


def as_store(make_client: Any) -> Any:
    return lambda: make_store(make_client, new_id())
