"""A real server for a test or a benchmark: `run.py serve` as a process of its own.

It has a folder and a port of its own, its environment holds nothing but what is given here, and
it is ended by its own process id. Its log is a file, shown when the start or a test fails.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
READY = re.compile(rb"^Fanfare \S+ is ready at (http://\S+)\s*$", re.MULTILINE)
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
DEFAULTS = {
    "HOST": "127.0.0.1",
    "PORT": "0",
    "ENVIRONMENT": "testing",
    "LOG_LEVEL": "info",
    "RATE_LIMITS": "off",
}
TAIL = 8_000  # characters of a log that a failure shows

_running: list["Server"] = []


class ServerFailedError(AssertionError):
    """A command of the server ended badly or in silence; the message holds its log."""


class Server:
    """One server on one instance folder, started and stopped as often as the test likes.

    `settings` are the server's own: `Server(MAX_EVENTS_PER_S=1000)`. None leaves a setting out.
    Without `database_url` it has a SQLite file in its folder; without `instance` a temporary
    folder, removed by `close`.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        instance: Path | None = None,
        root: Path = ROOT,
        migrate: bool = True,
        **settings: object,
    ) -> None:
        self._own = instance is None
        self.instance = instance or Path(tempfile.mkdtemp(prefix="fanfare-"))
        self.instance.mkdir(parents=True, exist_ok=True)
        self.log_path = self.instance / "server.log"
        self.url = ""
        self.marked = 0
        self._root = root
        self._migrate = migrate
        self._settings = {**DEFAULTS, "INSTANCE_PATH": self.instance, **settings}
        if database_url is not None:
            self._settings["DATABASE_URL"] = database_url
        self._process: subprocess.Popen[bytes] | None = None

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
    def port(self) -> int:
        """The port it listens on, or listened on last."""
        return urlsplit(self.url).port or 0

    @property
    def pid(self) -> int:
        """The id of the running process."""
        if self._process is None:
            raise RuntimeError("this server is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has written so far, to both of its outputs, over every start."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def run(self, *arguments: str, deadline_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run another command of `run.py` on the same settings: `run("token", "alice")`."""
        return subprocess.run(
            self._command(*arguments),
            env=self.environment(),
            cwd=self.instance,  # not the tree: a developer's .env there is no test's
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=deadline_s,
        )

    def migrate(self) -> None:
        """Bring the database to the newest schema.

        Raises: ServerFailedError, with what the command said.
        """
        done = self.run("migrate")
        if done.returncode != 0:
            raise ServerFailedError(f"run.py migrate failed:\n{done.stdout}{done.stderr}"[-TAIL:])

    def start(self, *, deadline_s: float = 30.0) -> None:
        """Migrate at the first start, serve, and wait for the line that says it is ready.

        Raises: ServerFailedError, with the log, when that line does not come in time.
        """
        if self.is_running():
            raise RuntimeError("this server is running already")
        if self._migrate:
            self.migrate()
            self._migrate = False
        told = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command("serve"),
                env=self.environment(),
                cwd=self.instance,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # An interrupt at the terminal is for the tests; they stop the server in order.
                start_new_session=True,
            )
        self._forget()  # it may have died on its own since the last start
        _running.append(self)
        self.url = self._wait_until_ready(told, deadline_s)
        self._settings["PORT"] = self.port

    def stop(self, *, deadline_s: float = 15.0) -> int | None:
        """Ask it to end (SIGTERM), make it end after `deadline_s`, and return its exit code.

        Returns None when it was not running. The exit code is -9 when it had to be made to.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        self._forget()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, no goodbye."""
        process, self._process = self._process, None
        if process is not None:
            self._forget()
            process.kill()
            process.wait()

    def restart(self, *, deadline_s: float = 30.0) -> None:
        """Stop it if it runs, and start it on the same port, folder and database."""
        self.stop()
        self.start(deadline_s=deadline_s)

    def configure(self, **settings: object) -> None:
        """Change settings for the next start; None leaves a setting out."""
        self._settings.update(settings)

    def close(self) -> None:
        """Stop it and remove its folder, if that is a temporary one."""
        self.stop()
        if self._own:
            shutil.rmtree(self.instance, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """Return the whole environment of its processes."""
        kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        given = {name: str(value) for name, value in self._settings.items() if value is not None}
        return {**kept, "PYTHONUNBUFFERED": "1", **given}

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self._root / "run.py"), *arguments]

    def _wait_until_ready(self, told: int, deadline_s: float) -> str:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            ended = not self.is_running()
            if found := READY.search(self.log_path.read_bytes(), told):
                return found[1].decode()
            if ended:
                break
            time.sleep(0.01)
        why = f"was not ready after {deadline_s} s" if self.is_running() else "ended at its start"
        self.kill()
        raise ServerFailedError(f"run.py serve {why}:\n{self.log[-TAIL:]}")

    def _forget(self) -> None:
        with contextlib.suppress(ValueError):
            _running.remove(self)


def mark_logs() -> None:
    """Remember how long every log is now: `new_logs` shows what comes after it."""
    for server in _running:
        server.marked = len(server.log)


def new_logs() -> list[tuple[str, str]]:
    """Return URL and newest log of every server that wrote since the last mark."""
    logs = ((server.url, server.log[server.marked :]) for server in _running)
    return [(url, log[-TAIL:]) for url, log in logs if log]
