"""Greenlets in a test: while the tested code waits the test goes on, and the other way round."""

import sys
from collections.abc import Iterator

import eventlet
import eventlet.green.socket
import pytest

from cluster.redis import find_redis
from cluster.redis_many import RedisCluster
from tests.support import needs


@pytest.fixture
def greenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Redis's connections, and `wait_until`, let greenlets run.

    A server makes the whole standard library do so; a test run must not.
    """
    for name in ("redis.connection", "redis._parsers.hiredis"):
        monkeypatch.setattr(sys.modules[name], "socket", eventlet.green.socket)
    monkeypatch.setattr("tests.support.wait.time.sleep", eventlet.sleep)


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """A real Redis Cluster of three servers."""
    needs.require(find_redis((7, 0)), "no redis-server 7 on PATH: a cluster has no sharded Pub/Sub")
    with RedisCluster() as cluster:
        yield cluster
