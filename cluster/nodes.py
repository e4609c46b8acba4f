"""A node as a process of its own: `run.py serve`, or gunicorn with as many workers as one likes.

Its environment holds nothing but what is given here, so that no setting of whoever starts it
slips in. It keeps its port over every restart.
"""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

from cluster.ports import LOOPBACK, free_port
from cluster.process import TAIL, Process, ProcessError

ROOT = Path(__file__).parents[1]
READY = re.compile(rb"^Fanfare \S+ is ready at (http://\S+)\s*$", re.MULTILINE)
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
# No proxy of the machine stands before its own loopback.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Node:
    """One node in one folder, started and stopped as often as one likes.

    `settings` are the node's own; None leaves one out. With WORKERS among them gunicorn serves.
    """

    def __init__(
        self,
        settings: Mapping[str, object],
        *,
        folder: Path,
        root: Path = ROOT,
        name: str = "node",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.folder = folder
        self.url = ""
        self._root = root
        self._settings = {"HOST": LOOPBACK, "INSTANCE_PATH": folder, **settings}
        self._process = Process(name, folder / "server.log")
        self._told = 0  # bytes of the log before the last start

    @property
    def port(self) -> int:
        """The port it listens on, or listened on last."""
        return urlsplit(self.url).port or 0

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """Where its log lies."""
        return self._process.log_path

    @property
    def log(self) -> str:
        """All that it has written so far, to both of its outputs, over every start."""
        return self._process.log

    @property
    def exit_code(self) -> int | None:
        """How it ended, if it ended by itself."""
        return self._process.exit_code

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.is_running()

    def is_ready(self) -> bool:
        """Whether it says that it is ready to serve, its database and bus included."""
        return self._answers("/readyz")

    def run(self, *arguments: str, deadline_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run another command of `run.py` on the same settings: `run("token", "alice")`."""
        return subprocess.run(
            self._command(*arguments),
            env=self.environment(),
            cwd=self.folder,  # not the tree: a developer's .env there is not for it
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=deadline_s,
        )

    def migrate(self) -> None:
        """Bring the database to the newest schema.

        Raises: ProcessError, with what the command said.
        """
        done = self.run("migrate")
        if done.returncode != 0:
            raise ProcessError(f"run.py migrate failed:\n{done.stdout}{done.stderr}"[-TAIL:])

    def start(self, *, deadline_s: float = 30.0) -> None:
        """Serve, and wait until it takes calls.

        Raises: ProcessError, with the log, when it doesn't in time.
        """
        self.launch()
        self.wait_until_it_serves(deadline_s=deadline_s)

    def launch(self) -> None:
        """Start the process, and don't wait for it."""
        self._told = self.log_path.stat().st_size if self.log_path.exists() else 0
        if self._has_workers() and not self._port():
            self._settings["PORT"] = free_port()
        self._process.start(self._serve_command(), env=self.environment(), cwd=self.folder)

    def wait_until_it_serves(self, *, deadline_s: float = 30.0) -> None:
        """Wait until it takes calls.

        Raises: ProcessError, with the log, when it doesn't in time.
        """
        self.url = self._wait_for_url(self._told, deadline_s)
        self._settings["PORT"] = self.port

    def wait_until_ready(self, *, deadline_s: float = 60.0) -> None:
        """Wait until it says that it is ready.

        Raises: ProcessError, with the log, when it doesn't in time.
        """
        end = time.monotonic() + deadline_s
        while not self.is_ready():
            if not self.is_running() or time.monotonic() > end:
                raise self._process.failure("is not ready")
            time.sleep(0.02)

    def stop(self, *, deadline_s: float = 45.0) -> int | None:
        """Ask it to end (SIGTERM), make it end after `deadline_s`, and return its exit code.

        Returns None when it was not started. The exit code is -9 when it had to be made to.
        """
        return self._process.stop(deadline_s=deadline_s)

    def begin_stop(self) -> None:
        """Ask it to end, and don't wait for it: it drains."""
        self._process.ask_to_end()

    def wait(self, *, deadline_s: float = 45.0) -> int:
        """Wait until it has ended, and return its exit code.

        Raises: ProcessError, with the log, when it doesn't in time.
        """
        return self._process.wait(deadline_s=deadline_s)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, no goodbye."""
        # gunicorn's workers would outlive it for a moment, and serve on.
        if self._has_workers():
            self._process.kill_group()
        else:
            self._process.kill()

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): its sockets stay open, and nothing answers."""
        self._process.freeze()

    def thaw(self) -> None:
        """Let it go on; does nothing when it isn't frozen."""
        self._process.thaw()

    def frozen(self) -> AbstractContextManager[None]:
        """Freeze it for as long as a `with` block takes."""
        return self._process.frozen()

    def restart(self, *, deadline_s: float = 30.0) -> None:
        """Stop it if it runs, and start it on the same port, folder and database."""
        self.stop()
        self.start(deadline_s=deadline_s)

    def configure(self, **settings: object) -> None:
        """Change settings for the next start; None leaves a setting out."""
        self._settings.update(settings)

    def environment(self) -> dict[str, str]:
        """Return the whole environment of its processes."""
        kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        given = {name: str(value) for name, value in self._settings.items() if value is not None}
        return {**kept, "PYTHONUNBUFFERED": "1", **given}

    def _has_workers(self) -> bool:
        return self._settings.get("WORKERS") is not None

    def _port(self) -> int:
        return int(str(self._settings.get("PORT") or 0))

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self._root / "run.py"), *arguments]

    def _serve_command(self) -> list[str]:
        if not self._has_workers():
            return self._command("serve")
        config = str(self._root / "gunicorn.conf.py")
        return [sys.executable, "-m", "gunicorn", "--config", config, "run:app"]

    def _wait_for_url(self, told: int, deadline_s: float) -> str:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            ended = not self.is_running()
            if url := self._served_at(told):
                return url
            if ended:
                break
            time.sleep(0.01)
        why = f"was not ready after {deadline_s} s" if self.is_running() else "ended at its start"
        self.kill()
        raise self._process.failure(why)

    def _served_at(self, told: int) -> str | None:
        if self._has_workers():
            url = f"http://{LOOPBACK}:{self._port()}"
            return url if self._answers("/healthz", url) else None
        found = READY.search(self.log_path.read_bytes(), told)
        return found[1].decode() if found else None

    def _answers(self, path: str, url: str = "") -> bool:
        try:
            with _direct.open((url or self.url) + path, timeout=5) as response:
                return bool(response.status == 200)
        except OSError:  # URLError is one
            return False
