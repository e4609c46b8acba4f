"""What a measurement stands on: a pinned server with users, channels and messages, and the load."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from benchmarks.machine import Cores, pinned
from cluster.postgres import Postgres
from tests.support.client import RestClient, registered
from tests.support.server import ROOT, Server

Json = dict[str, Any]
USERS = 64
CHANNELS = 8
MESSAGES = 200  # in the channel that is read
# Limits that protect a node from one client would only measure themselves here.
SETTINGS: dict[str, Any] = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "benchmarks-only-0123456789-abcdefghijklmnop",
    "MAX_EVENTS_PER_S": 1_000_000,
    "MAX_CONNECTIONS_PER_USER": 10_000,
    "ACCESS_TOKEN_TTL_S": 3_600,
    "LOG_LEVEL": "warning",
    "PYTHONPATH": Path(__file__).parent / "production",
}


class LoadError(Exception):
    """The load found the server wrong, so there is no figure."""


@dataclass
class Stage:
    """A server under test, and whoever uses it."""

    server: Server
    cores: Cores
    pids: dict[str, int]
    users: list[RestClient] = field(default_factory=list)
    channels: list[Json] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        """Where the server listens."""
        parts = urlsplit(self.server.url)
        return str(parts.hostname), int(parts.port or 0)

    def populate(self, users: int = USERS) -> None:
        """Make users, and channels that all of them are members of."""
        self.users = [registered(self.server.url) for _ in range(users)]
        owner = self.users[0]
        for number in range(CHANNELS):
            made = owner.post(
                "/channels",
                {"name": f"Benchmark {number}", "kind": "public", "slug": f"bench-{number}"},
            )
            self.channels.append(_done(made))
            for user in self.users[1:]:
                _done(user.put(f"/channels/bench-{number}/members/me", {}))

    def fill(self, messages: int = MESSAGES) -> None:
        """Write messages into the first channel, for pages to hold."""
        for number in range(messages):
            body = f"message {number}: what people write is about this long".ljust(100, ".")
            _done(self.users[0].post("/channels/bench-0/messages", {"body": body}))

    def load(self, kind: str, **task: object) -> Json:
        """Run the load generator on the other cores, and give what it measured.

        Raises:
            LoadError: something was refused, lost, repeated or out of order.
        """
        whole = {"load": kind, "address": self.address, "pids": self.pids, **task}
        with self._generator() as process:
            out, errors = process.communicate(json.dumps(whole) + "\n")
        if process.returncode != 0:
            raise LoadError(f"{errors[-2000:]}\nserver:\n{self.server.log[-2000:]}")
        result: Json = json.loads(out)
        return result

    @contextmanager
    def holding(self, connections: int) -> Iterator[None]:
        """Keep that many authenticated sockets open, which do nothing."""
        tokens = [user.access_token for user in self.users]
        task = {"load": "idle", "address": self.address, "pids": self.pids, "tokens": tokens}
        with self._generator() as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({**task, "connections": connections}) + "\n")
            process.stdin.flush()
            said = process.stdout.readline()
            if said != "open\n":
                raise LoadError(process.communicate()[1][-2000:])
            yield
            process.communicate("end\n")

    def _generator(self) -> subprocess.Popen[str]:
        with pinned(self.cores.others):
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.generator"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )


def _done(response: Any) -> Json:
    if not response.ok:
        raise LoadError(f"{response.status_code} {response.text[:500]}")
    body: Json = response.json()
    return body


class Bench:
    """Makes stages on one kind of database."""

    def __init__(self, backend: str, cores: Cores, stack: ExitStack) -> None:
        self.backend = backend
        self.cores = cores
        self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="fanfare-bench-")))
        self._postgres: Postgres | None = None
        self._stages = 0
        if backend == "postgres":
            with pinned(cores.others):
                self._postgres = stack.enter_context(Postgres())

    @property
    def about(self) -> str:
        """The database by name and version."""
        if self._postgres is None:
            return "SQLite, WAL, synchronous FULL"
        return f"PostgreSQL {self._postgres.version}, fsync on"

    @contextmanager
    def stage(self, *, root: Path = ROOT, **settings: Any) -> Iterator[Stage]:
        """Serve on a fresh database, pinned to the server's core."""
        self._stages += 1
        server = self.server(root=root, **settings)
        with pinned(self.cores.server):
            server.start()
        try:
            pids = {"server": server.pid}
            if self._postgres is not None:
                pids["postgres"] = self._postgres.pid
            yield Stage(server, self.cores, pids)
        finally:
            server.close()

    def server(self, *, root: Path = ROOT, **settings: Any) -> Server:
        """Make a server that isn't started yet, on a fresh database."""
        self._stages += 1
        folder = self._folder / f"instance-{self._stages}"
        url = self._postgres.create_database() if self._postgres is not None else None
        return Server(url, instance=folder, root=root, **{**SETTINGS, **settings})
