"""Several real Redis that work together: a Cluster of masters, and a master with Sentinels."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

from cluster.ports import LOOPBACK, free_port
from cluster.process import ProcessError
from cluster.redis import RedisOptions, RedisServer

MASTER = "fanfare"  # what the Sentinels call the master that they watch
DEADLINE_S = 60.0


class RedisCluster:
    """Three masters in cluster mode that share all slots; each can be killed and started again."""

    def __init__(self, options: RedisOptions | None = None, *, binary: Path | None = None) -> None:
        options = options or RedisOptions()
        self.options = options
        self.servers = [self._master(number, binary) for number in (1, 2, 3)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stack = stack
            for server in self.servers:
                stack.enter_context(server)
            self._join()
            self.wait_until_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """What REDIS_URL takes."""
        return _url("cluster", self.servers, self.options.password)

    def wait_until_ready(self, *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until every running server knows all the others and finds every slot served.

        Raises: ProcessError, with what a server says of the cluster.
        """
        for server in (server for server in self.servers if server.is_running()):
            _wait_for(server, ("CLUSTER", "INFO"), _is_whole, deadline_s)

    def _master(self, number: int, binary: Path | None) -> RedisServer:
        settings = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": "2000",
            "cluster-port": str(free_port()),
        }
        options = replace(self.options, settings={**settings, **self.options.settings})
        return RedisServer(options, binary=binary, name=f"Redis Cluster {number}")

    def _join(self) -> None:
        places = [server.address for server in self.servers]
        self.servers[0].cli("--cluster", "create", *places, "--cluster-yes", deadline_s=DEADLINE_S)


class RedisSentinel:
    """A master, a replica of it, and the Sentinels that name the replica master when it must be.

    A master that is away for a second is taken for dead.
    """

    def __init__(
        self,
        options: RedisOptions | None = None,
        *,
        sentinels: int = 1,
        binary: Path | None = None,
    ) -> None:
        self.options = options or RedisOptions()
        self.sentinels: list[RedisServer] = []
        self._wanted = sentinels
        self._binary = binary
        self._stack = ExitStack()
        self.master = RedisServer(self._with(), binary=binary, name="Redis master")
        self.replica = RedisServer(self._with(), binary=binary, name="Redis replica")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.master)
            stack.enter_context(self.replica)
            self.replica.cli("REPLICAOF", LOOPBACK, str(self.master.port))
            _wait_for(self.replica, ("INFO", "replication"), _is_linked, DEADLINE_S)
            self.sentinels = [stack.enter_context(it) for it in self._make_sentinels()]
            for sentinel in self.sentinels:
                _wait_for(sentinel, ("SENTINEL", "MASTER", MASTER), self._knows_all, DEADLINE_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """What REDIS_URL takes."""
        places = _url("sentinel", self.sentinels, self.options.password)
        word = quote(self.options.password, safe="")
        return f"{places}/{MASTER}/0" + (f"?sentinel_password={word}" if word else "")

    @property
    def current(self) -> RedisServer:
        """The server that the first Sentinel names master."""
        said = self.sentinels[0].cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER).split()
        return next(it for it in (self.master, self.replica) if said == [LOOPBACK, str(it.port)])

    def wait_for_failover(self, *, deadline_s: float = DEADLINE_S) -> RedisServer:
        """Wait until the replica is master, and return it."""
        _wait_for(self.replica, ("ROLE",), lambda said: said.startswith("master"), deadline_s)
        end = time.monotonic() + deadline_s
        while self.current is not self.replica:
            if time.monotonic() > end:
                raise ProcessError("the Sentinel does not name the new master")
            time.sleep(0.02)
        return self.replica

    def _with(self) -> RedisOptions:
        settings = dict(self.options.settings)
        if self.options.password:
            settings["masterauth"] = self.options.password
        # A replica's first copy would wait five seconds for others to join it.
        settings |= {"repl-diskless-sync-delay": "0"}
        return replace(self.options, settings=settings)

    def _make_sentinels(self) -> Iterator[RedisServer]:
        settings = {
            f"sentinel monitor {MASTER} {LOOPBACK} {self.master.port}": str(self._wanted // 2 + 1),
            f"sentinel down-after-milliseconds {MASTER}": "1000",
            f"sentinel failover-timeout {MASTER}": "5000",
        }
        if self.options.password:
            settings[f"sentinel auth-pass {MASTER}"] = self.options.password
        options = replace(self.options, settings=settings)
        for number in range(1, self._wanted + 1):
            name = f"Redis Sentinel {number}"
            yield RedisServer(options, binary=self._binary, name=name, mode=("--sentinel",))

    def _knows_all(self, said: str) -> bool:
        words = said.split("\n")
        facts = dict(zip(words[::2], words[1::2], strict=False))
        others = str(self._wanted - 1)
        return facts["num-slaves"] == "1" and facts["num-other-sentinels"] == others


def _url(scheme: str, servers: Sequence[RedisServer], password: str) -> str:
    word = f":{quote(password, safe='')}@" if password else ""
    return f"{scheme}://{word}{','.join(server.address for server in servers)}"


def _is_whole(said: str) -> bool:
    return "cluster_state:ok" in said and "cluster_known_nodes:3" in said


def _is_linked(said: str) -> bool:
    return "master_link_status:up" in said


def _wait_for(
    server: RedisServer, words: tuple[str, ...], rule: Callable[[str], bool], deadline_s: float
) -> None:
    end = time.monotonic() + deadline_s
    said = ""
    while time.monotonic() < end:
        said = server.cli(*words)
        if rule(said):
            return
        time.sleep(0.02)
    raise ProcessError(f"{' '.join(words)} at {server.address}:\n{said}\n{server.log[-2000:]}")
