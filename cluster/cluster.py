"""A whole installation on one machine: Redis, PostgreSQL, nodes and nginx, as real processes.

What was started is ended in any case: when a part doesn't start, and when one dies on the way.
"""

import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from cluster.nginx import Nginx, NginxOptions, find_nginx
from cluster.nodes import ROOT, Node
from cluster.ports import LOOPBACK, free_port
from cluster.postgres import Postgres
from cluster.proxy import Proxy
from cluster.redis import RedisOptions, RedisServer

DATABASE = "fanfare"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """The shape of a cluster; `settings` go to every node."""

    nodes: int = 3
    folder: Path | None = None  # keeps the data; None: a temporary one
    fsync: bool = True
    with_nginx: bool = True  # where it is installed
    with_links: bool = False  # each node reaches Redis and PostgreSQL by proxies of its own
    port: int = 0  # of nginx; 0 takes a free one
    certificates: Path | None = None  # for nginx: fullchain.pem and privkey.pem
    redis: RedisOptions = field(default_factory=RedisOptions)
    settings: Mapping[str, object] = field(default_factory=dict)
    root: Path = ROOT  # the tree that the nodes run from


@dataclass(frozen=True, slots=True)
class Links:
    """The ways of one node to what all nodes share."""

    redis: Proxy
    postgres: Proxy


class Part(Protocol):
    """Whatever can die."""

    @property
    def pid(self) -> int:
        """The id of its process."""

    def is_running(self) -> bool:
        """Whether the process lives."""


class Cluster:
    """Everything that an installation of many nodes has, started and stopped together."""

    # These are there once it has started.
    folder: Path
    redis: RedisServer
    postgres: Postgres

    def __init__(self, options: ClusterOptions | None = None) -> None:
        self.options = options or ClusterOptions()
        self.nodes: list[Node] = []
        self.links: list[Links] = []  # with_links: node by node
        self.nginx: Nginx | None = None
        self._own = self.options.folder is None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients call: nginx, or without it the first node."""
        return self.nginx.url if self.nginx is not None else self.nodes[0].url

    @property
    def urls(self) -> list[str]:
        """Where clients call: nginx, or without it every node."""
        return [self.nginx.url] if self.nginx is not None else [node.url for node in self.nodes]

    @property
    def parts(self) -> dict[str, Part]:
        """Everything that was started, by name."""
        parts: dict[str, Part] = {"PostgreSQL": self.postgres, "Redis": self.redis}
        parts |= {node.name: node for node in self.nodes}
        if self.nginx is not None:
            parts["nginx"] = self.nginx
        return parts

    @property
    def pids(self) -> dict[str, int]:
        """The ids of all that runs."""
        return {name: part.pid for name, part in self.parts.items() if part.is_running()}

    def start(self) -> None:
        """Start everything, and wait until every node is ready.

        Raises: ProcessError or FileNotFoundError, once all that had started has ended again.
        """
        with ExitStack() as stack:
            self.folder = self._make_folder()
            stack.callback(self._remove)
            self.postgres = self._make_postgres()
            stack.callback(self.postgres.close)
            self.postgres.start()
            self.redis = RedisServer(self.options.redis, folder=self.folder / "redis")
            stack.callback(self.redis.close)
            self.redis.start()
            self._start_nodes(stack)
            if self.options.with_nginx and find_nginx() is not None:
                self._start_nginx(stack)
            for node in self.nodes:
                node.wait_until_ready()
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """End everything, the nodes in order and all at once; remove what is temporary."""
        self._stack.close()

    def environment(self) -> dict[str, str]:
        """Return what a command of `run.py` needs to work on this cluster's data."""
        names = ("ENVIRONMENT", "DATABASE_URL", "REDIS_URL", "SECRET_KEY")
        given = self.nodes[0].environment()
        return {name: given[name] for name in names}

    def _make_folder(self) -> Path:
        if self.options.folder is None:
            folder = Path(tempfile.mkdtemp(prefix="fanfare-cluster-"))
            folder.chmod(0o711)  # whom PostgreSQL runs as goes through it to what is its own
            return folder
        folder = self.options.folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _make_postgres(self) -> Postgres:
        kept = None if self._own else self.folder / "postgres"
        links = self.options.with_links
        return Postgres(fsync=self.options.fsync, folder=kept, tcp=links)

    def _start_nodes(self, stack: ExitStack) -> None:
        database_url = self.postgres.database(DATABASE)
        stack.callback(self._stop_nodes)
        for number in range(1, self.options.nodes + 1):
            redis_url, own_url = self.redis.url, database_url
            if self.options.with_links:
                redis_url, own_url = self._link(stack, database_url)
            self.nodes.append(self._make_node(f"n{number}", own_url, redis_url))
        self.nodes[0].migrate()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_it_serves()

    def _make_node(self, name: str, database_url: str, redis_url: str) -> Node:
        settings = {
            "ENVIRONMENT": "production",
            "SECRET_KEY": self._secret(),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "NODE_NAME": name,
            "PORT": free_port(),
            "TRUSTED_PROXIES": 1,
            "TRANSPORTS": "websocket,polling",
            **self.options.settings,
        }
        return Node(settings, folder=self.folder / name, root=self.options.root, name=name)

    def _link(self, stack: ExitStack, database_url: str) -> tuple[str, str]:
        links = Links(
            stack.enter_context(Proxy((LOOPBACK, self.redis.port))),
            stack.enter_context(Proxy((LOOPBACK, self.postgres.port))),
        )
        self.links.append(links)
        return (
            self.redis.url.replace(self.redis.address, links.redis.address),
            database_url.replace(f"{LOOPBACK}:{self.postgres.port}", links.postgres.address),
        )

    def _start_nginx(self, stack: ExitStack) -> None:
        places = {node.name: f"{LOOPBACK}:{node.port}" for node in self.nodes}
        options = NginxOptions(port=self.options.port, certificates=self.options.certificates)
        self.nginx = Nginx(places, options)
        stack.callback(self.nginx.close)
        self.nginx.start()

    def _stop_nodes(self) -> None:
        for node in self.nodes:
            node.thaw()
            if node.is_running():
                node.begin_stop()
        for node in self.nodes:
            node.stop()

    def _secret(self) -> str:
        path = self.folder / "secret_key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(48))
        return path.read_text()

    def _remove(self) -> None:
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)
