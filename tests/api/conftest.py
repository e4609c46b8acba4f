"""A cast for the tests of the edge: people at the shared server, each there for the whole run."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import app
import config
from core.store.database import Database
from core.store.models import metadata
from tests.api.people import make_admin
from tests.support.client import RestClient, SocketClient, registered
from tests.support.server import Server

Connect = Callable[[RestClient], SocketClient]


@pytest.fixture(scope="session")
def admin(shared_server: Server) -> Iterator[RestClient]:
    """An administrator."""
    with make_admin(shared_server) as client:
        yield client


@pytest.fixture(scope="session")
def ada(shared_server: Server) -> Iterator[RestClient]:
    """Somebody with an account. Tests leave her account as it is."""
    with registered(shared_server.url) as client:
        yield client


@pytest.fixture(scope="session")
def ben(shared_server: Server) -> Iterator[RestClient]:
    """Somebody else."""
    with registered(shared_server.url) as client:
        yield client


@pytest.fixture(scope="session")
def eve(shared_server: Server) -> Iterator[RestClient]:
    """Somebody who is never a member of anything, unless a test says so."""
    with registered(shared_server.url) as client:
        yield client


@pytest.fixture
def newcomer(shared_server: Server) -> Iterator[RestClient]:
    """Somebody whose account may be changed or ended."""
    with registered(shared_server.url) as client:
        yield client


@pytest.fixture
def connect(shared_server: Server) -> Iterator[Connect]:
    """`connect(client)` opens a socket as that client, closed with the test."""
    with ExitStack() as stack:

        def open_socket(client: RestClient) -> SocketClient:
            socket = SocketClient(shared_server.url, client.access_token)
            return stack.enter_context(socket)

        yield open_socket


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[Database]:
    """A database of its own, for what is better asked of the services than of a server."""
    environment = {"ENVIRONMENT": "testing", "INSTANCE_PATH": str(tmp_path)}
    made = app.create_core(config.load(environment, dotenv=None))
    metadata.create_all(made.db.engine)
    yield made.db
    made.db.close()
