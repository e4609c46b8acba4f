"""A real server for a test or a benchmark: `run.py serve` as a process of its own.

It has a folder and a port of its own, its environment holds nothing but what is given here, and
it is ended by its own process id. Its log is a file, shown when the start or a test fails.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Self

from cluster.nodes import READY, ROOT, Node
from cluster.process import TAIL
from cluster.process import ProcessError as ServerFailedError

__all__ = ["READY", "ROOT", "Server", "ServerFailedError", "mark_logs", "new_logs"]
DEFAULTS = {
    "PORT": "0",
    "ENVIRONMENT": "testing",
    "LOG_LEVEL": "info",
    "RATE_LIMITS": "off",
    # Whatever was built here: a test says by itself what it is for.
    "NATIVE_WRITER": "off",
}

_running: list["Server"] = []


class Server(Node):
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
        self.marked = 0
        self._migrate = migrate
        if database_url is not None:
            settings["DATABASE_URL"] = database_url
        super().__init__({**DEFAULTS, **settings}, folder=self.instance, root=root, name="server")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(self, *, deadline_s: float = 30.0) -> None:
        """Migrate at the first start, serve, and wait for the line that says it is ready.

        Raises: ServerFailedError, with the log, when that line does not come in time.
        """
        if self._migrate:
            self.migrate()
            self._migrate = False
        super().start(deadline_s=deadline_s)
        self._forget()  # it may have died on its own since the last start
        _running.append(self)

    def stop(self, *, deadline_s: float = 15.0) -> int | None:
        """Ask it to end (SIGTERM), make it end after `deadline_s`, and return its exit code.

        Returns None when it was not running. The exit code is -9 when it had to be made to.
        """
        self._forget()
        return super().stop(deadline_s=deadline_s)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, no goodbye."""
        self._forget()
        super().kill()

    def close(self) -> None:
        """Stop it and remove its folder, if that is a temporary one."""
        self.stop()
        if self._own:
            shutil.rmtree(self.instance, ignore_errors=True)

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
