"""One server without limits for all of these tests, on each database, and a few people on it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import copy_sqlite
from tests.delivery.world import Core
from tests.support.client import RestClient, registered
from tests.support.server import Server

UNLIMITED: dict[str, Any] = {
    "MAX_EVENTS_PER_S": 1_000_000,
    "MAX_CONNECTIONS_PER_USER": 10_000,
    "SQLITE_SYNCHRONOUS": "OFF",
}


@pytest.fixture(scope="session")
def busy_url(migrated: str, request, tmp_path_factory) -> str:
    """The database of `busy_server`."""
    if migrated.startswith("sqlite"):
        return copy_sqlite(migrated, tmp_path_factory.mktemp("busy"))
    url: str = request.getfixturevalue("postgres").create_database(template=migrated)
    return url


@pytest.fixture(scope="session")
def busy_server(busy_url: str, tmp_path_factory) -> Iterator[Server]:
    """A server that lets each client do as much as it can."""
    folder = tmp_path_factory.mktemp("busy-instance")
    with Server(busy_url, instance=folder, migrate=False, **UNLIMITED) as running:
        yield running


@pytest.fixture(scope="session")
def busy_core(busy_url: str, busy_server: Server) -> Iterator[Core]:
    """The services on the database of `busy_server`, beside it."""
    with Core(busy_url) as made:
        yield made


@pytest.fixture(scope="session")
def ada(busy_server: Server) -> Iterator[RestClient]:
    """Somebody who owns the rooms."""
    with registered(busy_server.url) as client:
        yield client


@pytest.fixture(scope="session")
def bob(busy_server: Server) -> Iterator[RestClient]:
    """Somebody else."""
    with registered(busy_server.url) as client:
        yield client


@pytest.fixture
def core(database_url: str) -> Iterator[Core]:
    """The services on a fresh database."""
    with Core(database_url) as made:
        yield made
