"""A thousand connections of every ugly kind, and nothing of them is left.

For `run.py serve` and a worker of gunicorn. Counted from outside by the system, within by the
garbage collector, and as the server itself tells. What ends by a time has its time set short.
"""

import json
import os
import random
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import copy_sqlite
from tests.regression.wires import call
from tests.serving import ugly
from tests.serving.census import sitecustomize as census
from tests.serving.conftest import wait_for_workers, with_workers
from tests.support.client import RestClient
from tests.support.server import Server
from tests.support.wait import wait_until

NUMBER = 1000
FIRST = 3 * len(ugly.KINDS)  # what is made once, such as a pool, is made by them
DEADLINE_S = 90
SETTINGS = {
    # The ends that come by themselves come soon.
    "PING_INTERVAL_S": 1,
    "PING_TIMEOUT_S": 1,
    "AUTH_TIMEOUT_S": 1,
    "MAX_CONNECTIONS_PER_USER": 10_000,
    "LOG_LEVEL": "warning",
    "PYTHONPATH": Path(census.__file__).parent,
}
GREEN_SOCKET = "eventlet.greenio.base.GreenSocket"
GAUGES = re.compile(
    r"^fanfare_(connections|sessions|followers|greenlets|streams|present) (\S+)$", re.MULTILINE
)


class Books:
    """What a process holds."""

    def __init__(self, server: Server, pid: int, pools: tuple[Path, int]) -> None:
        """`pools` keep what they have opened: the database's file, and the port of Redis."""
        self._server, self._pid = server, pid
        self._database, self._redis_port = pools
        self._answer = server.folder / f"census-{pid}.json"

    def count(self) -> dict[str, float]:
        """Count everything."""
        living, (files, pooled) = self._living(), self._files()
        # As with the files: what a pool has opened, it keeps.
        living[GREEN_SOCKET] -= pooled
        return {**self._told(), **living, "files": files}

    def _told(self) -> dict[str, float]:
        text = call(self._server, "GET", "/metrics").text
        told = {name: float(value) for name, value in GAUGES.findall(text)}
        assert len(told) == 6, told
        return told

    def _living(self) -> dict[str, float]:
        self._answer.unlink(missing_ok=True)
        os.kill(self._pid, census.SIGNAL)
        wait_until(self._answer.exists, deadline_s=DEADLINE_S, what="the census")
        return dict(json.loads(self._answer.read_text()))

    def _files(self) -> tuple[int, int]:
        pooled = {f"socket:[{inode}]" for inode in self._sockets_of_redis()}
        opened = [file for file in self._opened() if not file.startswith(str(self._database))]
        number = sum(file in pooled for file in opened)
        return len(opened) - number, number

    def _opened(self) -> Iterator[str]:
        for path in Path(f"/proc/{self._pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since it was listed
                yield str(path.readlink())

    def _sockets_of_redis(self) -> Iterator[str]:
        for line in Path(f"/proc/{self._pid}/net/tcp").read_text().splitlines()[1:]:
            columns = line.split()
            if int(columns[2].partition(":")[2], 16) == self._redis_port:
                yield columns[9]


@pytest.fixture(params=["run.py", "worker"])
def scene_and_books(
    request: pytest.FixtureRequest, migrated_database: str, tmp_path: Path
) -> Iterator[tuple[ugly.Scene, Books]]:
    """A server, and the books of the process that serves."""
    url = copy_sqlite(migrated_database, tmp_path)
    file, redis_port = Path(url.removeprefix("sqlite:///")), 0
    settings: dict[str, Any] = {**SETTINGS, "CENSUS_FOLDER": tmp_path}
    if request.param == "worker":
        redis = request.getfixturevalue("redis_server")
        more = {"WORKERS": 1, "NODE_NAME": "leaks", "TRANSPORTS": "websocket,polling"}
        settings |= with_workers(redis, tmp_path, **more)
        redis_port = redis.port
    with Server(url, instance=tmp_path, migrate=False, **settings) as server:
        pid = wait_for_workers(server, 1)[0] if redis_port else server.pid
        yield ugly.set_scene(server, url), Books(server, pid, (file, redis_port))


def misbehave(scene: ugly.Scene, number: int, rng: random.Random) -> Iterator[socket.socket]:
    """Let so many come and go in their ways; give the sockets that are left open."""
    kinds = [ugly.KINDS[place % len(ugly.KINDS)] for place in range(number)]
    rng.shuffle(kinds)
    for kind in kinds:
        if left := kind(scene):
            yield left


def wait_until_it_rests(books: Books) -> dict[str, float]:
    """Wait until nobody is there, and two counts in a row are the same; give them."""
    seen = [books.count()]

    def rests() -> bool:
        seen.append(books.count())
        here = ("sessions", "followers", "present")
        return seen[-1] == seen[-2] and not any(seen[-1][name] for name in here)

    try:
        wait_until(rests, deadline_s=DEADLINE_S, every_s=1.5)
    except AssertionError as error:
        raise AssertionError(f"still there: {seen[-1]}") from error
    return seen[-1]


def wait_until_as_before(books: Books, before: dict[str, float]) -> None:
    """Wait until there is no more of anything than before."""
    more: dict[str, float] = {}

    def is_as_before() -> bool:
        more.clear()
        more.update({n: v for n, v in books.count().items() if v > before.get(n, 0)})
        return not more

    try:
        wait_until(is_as_before, deadline_s=DEADLINE_S, every_s=0.5)
    except AssertionError as error:
        raise AssertionError(f"left: {more}; before: {before}") from error


class TestNothingIsLeft:
    def test_after_a_thousand_ugly_ends_all_is_as_before(
        self, scene_and_books: tuple[ugly.Scene, Books], rng: random.Random
    ) -> None:
        """Though those who are half open stay so: the server alone knows that they are gone."""
        scene, books = scene_and_books
        for first in misbehave(scene, FIRST, rng):
            first.close()
        before = wait_until_it_rests(books)
        with ExitStack() as left:
            for connection in misbehave(scene, NUMBER, rng):
                left.enter_context(connection)
            wait_until_as_before(books, before)
            here = who_is_here(scene)
        failed = [line for line in scene.server.log.splitlines() if "Traceback" in line]

        assert here == []
        assert all(any(name in line for name in ugly.FAILURES) for line in failed)
        assert len(failed) >= (FIRST + NUMBER) // len(ugly.KINDS) * len(ugly.RAISING)


def who_is_here(scene: ugly.Scene) -> Any:
    """Ask for the people who are present in the channel."""
    person = RestClient(scene.server.url, token=scene.token)
    channel = scene.stream.removeprefix("channel:")
    with person:
        return person.get(f"/channels/{channel}/presence").json()["people"]
