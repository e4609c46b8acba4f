"""Servers with workers: gunicorn on a real Redis, four processes on one port."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.redis import RedisServer
from tests.conftest import copy_sqlite, sqlite_url
from tests.serving import books, ugly
from tests.support.server import Server
from tests.support.wait import wait_until

WORKERS = 4


def with_workers(redis: RedisServer, folder: Path, **settings: Any) -> dict[str, Any]:
    """Give the settings of a server with workers; what they count lies in the folder."""
    return {
        "TMPDIR": folder,
        "WORKERS": WORKERS,
        "REDIS_URL": redis.url,
        "REDIS_PREFIX": f"serving-{os.urandom(4).hex()}",
        "TRANSPORTS": "websocket",
        **settings,
    }


def workers_of(server: Server) -> list[int]:
    """Give the process ids of the workers that live."""
    done = subprocess.run(
        ["ps", "--ppid", str(server.pid), "-o", "pid=,stat="],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    return [int(pid) for pid, state in rows if not state.startswith("Z")]


def wait_for_workers(server: Server, number: int = WORKERS) -> list[int]:
    """Wait until so many have shown that they serve."""

    def served() -> list[int]:
        there = workers_of(server)
        files = server.folder.glob("fanfare-metrics-*/gauge_livesum_*")
        shown = {int(path.stem.rpartition("_")[2]) for path in files}
        return there if len(there) == number and set(there) <= shown else []

    return wait_until(served, deadline_s=60, every_s=0.1, what=f"{number} workers")


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated SQLite database for the servers with workers."""
    folder = tmp_path_factory.mktemp("serving")
    url = sqlite_url(folder / "fanfare.db")
    Server(url, instance=folder).migrate()
    return url


@pytest.fixture(scope="module")
def many(
    redis_server: RedisServer, migrated_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with four workers, for the tests of one file."""
    folder = tmp_path_factory.mktemp("many")
    settings = with_workers(redis_server, folder, MAX_CONNECTIONS_PER_USER=1000)
    with Server(migrated_database, instance=folder, migrate=False, **settings) as running:
        wait_for_workers(running)
        yield running


@pytest.fixture(params=["run.py", "worker"])
def scene_and_books(
    request: pytest.FixtureRequest, migrated_database: str, tmp_path: Path
) -> Iterator[tuple[ugly.Scene, books.Books]]:
    """A server, and the books of the process that serves."""
    url = copy_sqlite(migrated_database, tmp_path)
    file, redis_port = Path(url.removeprefix("sqlite:///")), 0
    settings: dict[str, Any] = {**books.SETTINGS, "CENSUS_FOLDER": tmp_path}
    if request.param == "worker":
        redis = request.getfixturevalue("redis_server")
        more = {"WORKERS": 1, "NODE_NAME": "leaks", "TRANSPORTS": "websocket,polling"}
        settings |= with_workers(redis, tmp_path, **more)
        redis_port = redis.port
    with Server(url, instance=tmp_path, migrate=False, **settings) as server:
        pid = wait_for_workers(server, 1)[0] if redis_port else server.pid
        yield ugly.set_scene(server, url), books.Books(server, pid, (file, redis_port))
