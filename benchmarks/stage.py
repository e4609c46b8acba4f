"""What a measurement stands on: pinned servers with users, channels and messages, and the load."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from benchmarks.machine import Cores, pinned
from benchmarks.wire import Address
from cluster.postgres import Postgres
from cluster.redis import RedisServer
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


class Talk:
    """A load under way that is waited for, and told when to go on."""

    def __init__(self, process: subprocess.Popen[str], task: Json) -> None:
        self._process = process
        self._say(json.dumps(task))

    def wait_for(self, word: str) -> None:
        """Wait until the load says so.

        Raises: LoadError.
        """
        assert self._process.stdout is not None
        if self._process.stdout.readline() != f"{word}\n":
            raise LoadError(self._process.communicate()[1][-2000:])

    def go_on(self) -> None:
        """Tell the load to go on."""
        self._say("go")

    def result(self) -> Json:
        """Wait for its end, and give what it measured.

        Raises: LoadError.
        """
        out, errors = self._process.communicate()
        if self._process.returncode != 0:
            raise LoadError(errors[-2000:])
        result: Json = json.loads(out)
        return result

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@dataclass
class Stage:
    """Servers under test, and whoever uses them. The first one is the one where there is one."""

    servers: list[Server]
    cores: Cores
    pids: dict[str, int]
    users: list[RestClient] = field(default_factory=list)
    channels: list[Json] = field(default_factory=list)

    @property
    def server(self) -> Server:
        """The first server."""
        return self.servers[0]

    @property
    def address(self) -> Address:
        """Where the first server listens."""
        return self.addresses[0]

    @property
    def addresses(self) -> list[Address]:
        """Where the servers listen."""
        parts = [urlsplit(server.url) for server in self.servers]
        return [(str(part.hostname), int(part.port or 0)) for part in parts]

    def populate(self, users: int = USERS, channels: int = CHANNELS) -> None:
        """Make users, and channels that all of them are members of."""
        self.users = [registered(self.server.url) for _ in range(users)]
        owner = self.users[0]
        for number in range(channels):
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
        with self.talk(kind, **task) as talk:
            return talk.result()

    @contextmanager
    def talk(self, kind: str, **task: object) -> Iterator[Talk]:
        """Run a load that waits for its cue."""
        whole = {"load": kind, "address": self.address, "pids": self.pids, **task}
        with self._generator() as process:
            try:
                yield Talk(process, whole)
            except LoadError as error:
                logs = (f"\nserver:\n{server.log[-2000:]}" for server in self.servers)
                raise LoadError(f"{error}{''.join(logs)}") from None
            finally:
                process.kill()

    @contextmanager
    def holding(self, connections: int) -> Iterator[None]:
        """Keep that many authenticated sockets open, which do nothing."""
        tokens = [user.access_token for user in self.users]
        with self.talk("idle", tokens=tokens, connections=connections) as talk:
            talk.wait_for("open")
            yield
            talk.go_on()
            talk.result()

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
        with ExitStack() as stack:
            server = self._served(stack, self.server(root=root, **settings))
            yield Stage([server], self.cores, {"server": server.pid, **self._database_pids()})

    @contextmanager
    def nodes(self, *, alone: int = 0, together: int, root: Path = ROOT) -> Iterator[Stage]:
        """Serve with several nodes on one fresh database, all pinned to the server's core.

        Those `together` share a Redis and come first; those `alone` have none.
        """
        url = self._new_database()
        with ExitStack() as stack:
            with pinned(self.cores.others):
                redis = stack.enter_context(RedisServer())
            settings = [{"REDIS_URL": redis.url}] * together + [{}] * alone
            servers = [
                self._served(stack, self._server_on(url, root, own, migrate=number == 0))
                for number, own in enumerate(settings)
            ]
            for server in servers:
                server.wait_until_ready()
            names = {f"node {number}": one.pid for number, one in enumerate(servers, 1)}
            pids = {**names, "redis": redis.pid, **self._database_pids()}
            yield Stage(servers, self.cores, pids)

    def _served(self, stack: ExitStack, server: Server) -> Server:
        stack.callback(server.close)
        with pinned(self.cores.server):
            server.start()
        return server

    def _database_pids(self) -> dict[str, int]:
        return {} if self._postgres is None else {"postgres": self._postgres.pid}

    def server(self, *, root: Path = ROOT, **settings: Any) -> Server:
        """Make a server that isn't started yet, on a fresh database."""
        return self._server_on(self._new_database(), root, settings, migrate=True)

    def _server_on(
        self, url: str | None, root: Path, settings: Mapping[str, object], *, migrate: bool
    ) -> Server:
        self._stages += 1
        folder = self._folder / f"instance-{self._stages}"
        whole = {**SETTINGS, **settings}
        return Server(url, instance=folder, root=root, migrate=migrate, **whole)

    def _new_database(self) -> str | None:
        return self._postgres.create_database() if self._postgres is not None else None
