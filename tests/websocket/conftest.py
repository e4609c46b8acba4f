"""A server of each kind, and the doors to it by which a WebSocket comes to be."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import sqlite_url
from tests.serving.conftest import wait_for_workers, with_workers
from tests.support.client import RestClient, registered
from tests.support.server import Server
from tests.websocket.line import Door

MAX_PACKET_BYTES = 102_400  # the least that goes with the events below
SETTINGS: dict[str, Any] = {
    "MAX_EVENT_BYTES": 16_384,
    "MAX_PACKET_BYTES": MAX_PACKET_BYTES,
    "MAX_CONNECTIONS_PER_USER": 10_000,
    "MAX_EVENTS_PER_S": 10_000,
    "SQLITE_SYNCHRONOUS": "OFF",
}


@pytest.fixture(scope="package")
def started() -> Iterator[dict[str, Server]]:
    """The servers that run: each starts once, whatever order pytest takes the tests in."""
    servers: dict[str, Server] = {}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture(scope="package", params=["run.py", "worker"])
def served(
    request: pytest.FixtureRequest,
    started: dict[str, Server],
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    """A server as `run.py serve` starts it, or one worker of gunicorn."""
    kind = str(request.param)
    if kind not in started:
        folder = tmp_path_factory.mktemp("websocket")
        settings = dict(SETTINGS)
        if kind == "worker":
            redis = request.getfixturevalue("redis_server")
            more = {"WORKERS": 1, "NODE_NAME": "frames", "TRANSPORTS": "websocket,polling"}
            settings |= with_workers(redis, folder, **more)
        url = sqlite_url(folder / "fanfare.db")
        started[kind] = Server(url, instance=folder, **settings)
        started[kind].start()
        if kind == "worker":
            wait_for_workers(started[kind], 1)
    return started[kind]


@pytest.fixture(scope="package")
def people() -> dict[str, RestClient]:
    """Those who have registered, by the address of the server."""
    return {}


@pytest.fixture(scope="package")
def ada(served: Server, people: dict[str, RestClient]) -> RestClient:
    """A user with a channel, `said`."""
    if served.url not in people:
        with registered(served.url) as client:
            made = client.post("/channels", {"name": "Said", "kind": "public", "slug": "said"})
            assert made.status_code == 201, made.text
        people[served.url] = client
    return people[served.url]


@pytest.fixture(scope="package", params=["direct", "upgraded"])
def door(request: pytest.FixtureRequest, served: Server, ada: RestClient) -> Door:
    """A way in: both kinds of WebSocket keep every clause."""
    return Door(served, str(ada.access_token), is_upgraded=request.param == "upgraded")


@pytest.fixture(scope="package")
def direct(served: Server, ada: RestClient) -> Door:
    """A WebSocket from the start."""
    return Door(served, str(ada.access_token), is_upgraded=False)
