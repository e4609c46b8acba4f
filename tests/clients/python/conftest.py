"""A server for our own client, the people behind it, and clients that end with their test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fanfare_client import AsyncFanfare, Timing
from tests.clients.conftest import make_channel
from tests.support.client import RestClient, registered
from tests.support.server import Server

T = TypeVar("T")
DOORS = ["socket", "sse", "poll"]
DEADLINE_S = 60.0
# Waits that would make the tests slow are short; budgets, which only bad networks use up, are long.
QUICK = Timing(
    socket_s=30,
    sse_s=30,
    poll_s=30,
    ack_s=30,
    wait_s=5,
    request_s=30,
    probe_s=0.2,
    backoff_s=0.05,
    backoff_most_s=0.4,
    steady_s=0.5,
)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for many tests, with a log that is long enough for them all."""
    with Server(instance=tmp_path_factory.mktemp("served"), MAX_EVENTS_PER_S=100_000) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server to stop and start."""
    with Server(instance=tmp_path / "own") as server:
        yield server


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ada(served: Server) -> Iterator[RestClient]:
    with registered(served.url) as person:
        yield person


@pytest.fixture
def channel(ada: RestClient) -> dict[str, Any]:
    """A fresh public channel of Ada's."""
    return make_channel(ada)


@asynccontextmanager
async def client_of(
    person: RestClient, *, url: str | None = None, **more: Any
) -> AsyncIterator[AsyncFanfare]:
    """Give a connected client of a user."""
    more = {"token": person.access_token, "timing": QUICK, "trust_env": False, **more}
    async with AsyncFanfare(url or person.url, **more) as client:
        yield client


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine; a hang is a failure."""

    async def bounded() -> T:
        async with asyncio.timeout(DEADLINE_S):
            return await work

    return asyncio.run(bounded())


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait for a condition inside a coroutine."""
    try:
        async with asyncio.timeout(DEADLINE_S / 2):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None
