"""Three nodes that live as long as the run, and three of a module's own, to be broken."""

from collections.abc import Iterator

import pytest

from cluster.postgres import Postgres
from cluster.redis import RedisServer
from tests.nodes.world import Trio
from tests.support import needs
from tests.support.client import RestClient, registered


@pytest.fixture(scope="session")
def three_nodes(
    postgres: Postgres, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trio]:
    """Three nodes that no test breaks."""
    folder = tmp_path_factory.mktemp("three-nodes")
    with Trio(postgres.create_database(), redis_server, folder) as trio:
        yield trio


@pytest.fixture(scope="session")
def ada(three_nodes: Trio) -> Iterator[RestClient]:
    """Somebody who owns the rooms, on the first node."""
    with registered(three_nodes.urls[0]) as client:
        yield client


@pytest.fixture(scope="session")
def bob(three_nodes: Trio) -> Iterator[RestClient]:
    """Somebody else, on the second node."""
    with registered(three_nodes.urls[1]) as client:
        yield client


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL that a module may break. It syncs: what was acked outlives a crash."""
    with Postgres(fsync=True) as server:
        yield server


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """A Redis that a module may break."""
    needs.require_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def breakable(
    own_postgres: Postgres, own_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trio]:
    """Three nodes that a module breaks, one thing after the other: each test leaves them whole."""
    folder = tmp_path_factory.mktemp("breakable")
    with Trio(own_postgres.create_database(), own_redis, folder) as trio:
        yield trio
