"""A server for the stock clients, and the people that they stand for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.clients.drivers import DRIVERS, Driver
from tests.support.client import RestClient, registered, unique
from tests.support.server import Server

# A log that is trimmed within a moment, and limits that a test can reach.
SETTINGS: dict[str, Any] = {
    "RETENTION_MAX_EVENTS": 20,
    "RETENTION_MIN_AGE_S": 0,
    "RETENTION_INTERVAL_S": 0.2,
    "MAX_SUBSCRIPTIONS": 5,
    "MAX_CONNECTIONS_PER_USER": 15,
    "AUTH_TIMEOUT_S": 1,
}
Connect = Callable[..., Driver]
# Each of Python's clients on one database: that the two databases are alike is proven elsewhere.
PAIRS = ("sync-sqlite", "async-postgres")


@pytest.fixture(scope="session", params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[type[Driver], str]:
    kind, _, backend = request.param.partition("-")
    return DRIVERS[kind], backend


@pytest.fixture(scope="session")
def walked_server(
    pair: tuple[type[Driver], str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server with a short log, for all tests of one of Python's clients."""
    folder = tmp_path_factory.mktemp("walked")
    url = None
    if pair[1] == "postgres":
        url = request.getfixturevalue("postgres").create_database()
    with Server(url, instance=folder, **SETTINGS) as server:
        yield server


@pytest.fixture
def make_client(
    pair: tuple[type[Driver], str], walked_server: Server
) -> Iterator[Callable[[], Driver]]:
    """Make stock clients that aren't connected; they are closed after the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(pair[0](walked_server.url))


@pytest.fixture
def connect(make_client: Callable[[], Driver]) -> Connect:
    """`connect(ada)` connects a stock client as a user; more goes to its connect."""

    def connected(person: RestClient, **more: Any) -> Driver:
        client = make_client()
        client.connect({"token": person.access_token}, **more)
        return client

    return connected


@pytest.fixture(scope="session")
def ada(walked_server: Server) -> Iterator[RestClient]:
    """A user whom the tests leave as she is."""
    with registered(walked_server.url) as person:
        yield person


@pytest.fixture(scope="session")
def bob(walked_server: Server) -> Iterator[RestClient]:
    """Another one."""
    with registered(walked_server.url) as person:
        yield person


@pytest.fixture
def make_person(walked_server: Server) -> Iterator[Callable[[], RestClient]]:
    """Register users for one test: to be logged out, thrown out and the like."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(registered(walked_server.url))


@pytest.fixture
def make_client_of(pair: tuple[type[Driver], str]) -> Iterator[Callable[[Server], Driver]]:
    """Make stock clients of a server of the test's own."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(pair[0](server.url))


@pytest.fixture(scope="session")
def restarted(
    pair: tuple[type[Driver], str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Server, RestClient]]:
    """A server to stop and start, and a user of it. Each test leaves it running."""
    url = None
    if pair[1] == "postgres":
        url = request.getfixturevalue("postgres").create_database()
    folder = tmp_path_factory.mktemp("restarted")
    with Server(url, instance=folder) as server, registered(server.url) as person:
        yield server, person


@pytest.fixture
def channel(ada: RestClient) -> dict[str, Any]:
    """A fresh public channel of Ada's."""
    return make_channel(ada)


def make_channel(owner: RestClient, **more: Any) -> dict[str, Any]:
    body = {"name": "Club", "kind": "public", "slug": unique("club"), **more}
    made = owner.post("/channels", body)
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return {**found, "stream": f"channel:{found['id']}"}


def say(person: RestClient, channel: dict[str, Any], *bodies: str) -> None:
    for body in bodies:
        made = person.post(f"/channels/{channel['id']}/messages", {"body": body})
        assert made.status_code == 201, made.text
