"""A program as a process of one's own: started, ended by its id, frozen, and its output kept.

It is no child of the terminal: an interrupt there is for whoever started it, who ends it in order.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

TAIL = 8_000  # characters of a log that a failure shows
_ENDED = "it is not running"

_before: list[str] = []  # words that come before every command


def die_with_us() -> None:
    """Let every process that is started from now on end when this one does, even by SIGKILL.

    Linux does it, by `setpriv`; elsewhere nothing changes. To be called, and processes to be
    started, in the main thread: they would end with another thread as well.
    """
    # SIGINT is a quick end in good order for each of our programs.
    if setpriv := shutil.which("setpriv"):
        _before[:] = [setpriv, "--pdeathsig", "INT", "--"]


def allow_files() -> int:
    """Let every process that is started from now on open as many files as any may; give that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems say "no limit" and don't mean it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if most == resource.RLIM_INFINITY else most


class ProcessError(RuntimeError):
    """A program did not start, or is not there; the message holds its log."""


class Process:
    """One program, started and ended as often as one likes; `log_path` takes both its outputs."""

    def __init__(
        self, name: str, log_path: Path, *, ends: Sequence[signal.Signals] = (signal.SIGTERM,)
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._ends = (*ends, signal.SIGKILL)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_frozen = False

    @property
    def pid(self) -> int:
        """The id of the running process."""
        if self._process is None:
            raise ProcessError(f"{self.name}: {_ENDED}")
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has written so far, over every start."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs and when it was never started."""
        return None if self._process is None else self._process.poll()

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        **options: Any,
    ) -> None:
        """Start it; `options` are subprocess.Popen's."""
        if self.is_running():
            raise ProcessError(f"{self.name}: it is running already")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen[bytes](
                [*_before, *(str(word) for word in command)],
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )
        self._is_frozen = False

    def stop(self, *, deadline_s: float = 20.0) -> int | None:
        """Ask it to end, make it end after `deadline_s`, and return its exit code.

        Returns None when there was nothing to end. The exit code is -9 when it had to be made to.
        """
        if self._process is None:
            return None
        self.thaw()
        for way in self._ends:
            self._process.send_signal(way)
            try:
                return self._forget(self._process.wait(deadline_s))
            except subprocess.TimeoutExpired:
                continue
        raise ProcessError(f"{self.name}: it outlived SIGKILL")

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, no goodbye."""
        if self._process is not None:
            self._process.kill()
            self._forget(self._process.wait())

    def kill_group(self) -> None:
        """End it with all that it started, as a power cut would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._forget(self._process.wait())

    def ask_to_end(self) -> None:
        """Ask it to end, and don't wait for it."""
        self._signal(self._ends[0])

    def wait(self, *, deadline_s: float) -> int:
        """Wait until it has ended, and return its exit code.

        Raises: ProcessError, with its log, when it doesn't in time.
        """
        if self._process is None:
            raise ProcessError(f"{self.name}: {_ENDED}")
        try:
            return self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise self.failure(f"has not ended after {deadline_s} s") from None

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): its sockets stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)
        self._is_frozen = True

    def thaw(self) -> None:
        """Let it go on; does nothing when it isn't frozen."""
        if self._is_frozen:
            self._signal(signal.SIGCONT)
            self._is_frozen = False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it for as long as the block takes."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def failure(self, what: str) -> ProcessError:
        """Make the error that says what went wrong, with the end of the log."""
        return ProcessError(f"{self.name} {what}:\n{self.log[-TAIL:]}")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise ProcessError(f"{self.name}: {_ENDED}")
        self._process.send_signal(number)

    def _forget(self, exit_code: int) -> int:
        self._process = None
        self._is_frozen = False
        return exit_code
