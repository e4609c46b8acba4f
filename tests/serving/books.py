"""What a process of the server holds: counted from outside by the system, within by the collector.

And as the server itself tells. A test of leaks counts before and after, and finds no more.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.regression.wires import call
from tests.serving.census import sitecustomize as census
from tests.serving.ugly import Scene
from tests.support.client import RestClient
from tests.support.server import Server
from tests.support.wait import wait_until

DEADLINE_S = 90
SETTINGS: dict[str, Any] = {
    # The ends that come by themselves come soon.
    "PING_INTERVAL_S": 1,
    "PING_TIMEOUT_S": 1,
    "AUTH_TIMEOUT_S": 1,
    "MAX_CONNECTIONS_PER_USER": 20_000,
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

    def resident_kib(self) -> int:
        """Tell how much memory it takes, of which nothing lies elsewhere."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

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


# Engine.IO's loop over its sessions keeps the last one that it saw, which may have been upgraded.
SPARE = {GREEN_SOCKET: 1, "realtime.websocket.WebSocket": 1}


def wait_until_as_before(books: Books, before: dict[str, float]) -> None:
    """Wait until there is no more of anything than before."""
    more: dict[str, float] = {}

    def is_as_before() -> bool:
        more.clear()
        counted = books.count().items()
        more.update({n: v for n, v in counted if v > before.get(n, 0) + SPARE.get(n, 0)})
        return not more

    try:
        wait_until(is_as_before, deadline_s=DEADLINE_S, every_s=0.5)
    except AssertionError as error:
        raise AssertionError(f"left: {more}; before: {before}") from error


def who_is_here(scene: Scene) -> Any:
    """Ask for the people who are present in the channel."""
    person = RestClient(scene.server.url, token=scene.token)
    channel = scene.stream.removeprefix("channel:")
    with person:
        return person.get(f"/channels/{channel}/presence").json()["people"]
