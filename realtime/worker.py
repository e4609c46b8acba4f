"""The gunicorn worker: our own HTTP server on eventlet, in each of several processes on one port.

gunicorn forks, watches and replaces; it never sees a request. The standard library is patched
after the fork, so nothing here may import eventlet, or what uses it, at the top.

The master holds one listening socket for each worker, so the system spreads connections evenly,
and one that waits is never lost: where a worker has ended, its successor or a sibling takes it.
"""

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dotenv import dotenv_values
from gunicorn.arbiter import Arbiter
from gunicorn.sock import TCPSocket
from gunicorn.workers.base import Worker

if TYPE_CHECKING:
    from realtime.drain import Drain
    from realtime.green_door import Guests, Listener

BACKLOG = 4096
# The master kills a worker that has not shown itself for so long.
TIMEOUT_S = 60
_BEAT_S = 1.0
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_FOLDER = "fanfare-metrics-"


class Program(Protocol):
    """What `run:app` gives: a WSGI application that knows how to end."""

    drain: "Drain"
    most_connections: int
    guests: "Guests"

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer a request."""

    def measure(self) -> None:
        """Set the gauges that are not kept up to date all the time."""

    def tell_ready(self, port: int) -> None:
        """Say where the program is served."""


class FanfareWorker(Worker):  # type: ignore[misc] # gunicorn ships no types
    """One process that serves."""

    slot = 0

    def init_process(self) -> None:
        """Patch the standard library, then do what every worker does."""
        from realtime import green  # noqa: PLC0415 - imports eventlet

        green.patch()
        super().init_process()

    def init_signals(self) -> None:
        """Begin afresh: what the master does at a signal is not ours to do."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGABRT, self.handle_abort)
        signal.signal(signal.SIGWINCH, signal.SIG_IGN)

    def run(self) -> None:
        """Serve until told to end."""
        from realtime import drain, green, green_server  # noqa: PLC0415 - they import eventlet

        program: Program = self.wsgi
        listener = self._take_listener()
        end = functools.partial(program.drain.begin, listener)
        hurry = functools.partial(drain.hurry, 0)
        green.on_signals(
            {
                # The master may send it again while we drain.
                signal.SIGTERM: end,
                signal.SIGINT: hurry,
                signal.SIGQUIT: hurry,
                signal.SIGUSR1: self.log.reopen_files,
            }
        )
        green.spawn(self._beat, program, end)
        if self.age == 1:
            program.tell_ready(listener.getsockname()[1])
        green_server.serve(listener, program, program.most_connections, program.guests)

    def _take_listener(self) -> "Listener":
        from realtime.green_door import Listener  # noqa: PLC0415 - imports eventlet

        descriptors = [each.sock.detach() for each in self.sockets]
        self.sockets.clear()
        own = descriptors.pop(self.slot % len(descriptors))
        return Listener(own, descriptors, is_shared=True)

    def _beat(self, program: Program, end: Any) -> None:
        from realtime import green  # noqa: PLC0415 - imports eventlet

        while True:
            self.notify()
            program.measure()
            if os.getppid() != self.ppid:
                # The master is gone: whoever starts another one needs the port.
                green.spawn(end)
            green.sleep(_BEAT_S)


# What gunicorn.conf.py calls and hooks in. All of it runs in the master.

_kept: list[tuple[dict[str, Any], list[str]]] = []
# Those that this master has made.
_folders: list[Path] = []


def read_settings(program: Path) -> tuple[dict[str, Any], list[str]]:
    """Give the settings, and the .env file as the environment of the workers.

    They are checked in a process of its own: what checks them must not be imported before the
    standard library is patched. Where they are wrong at a reload, those before stay in force.
    """
    command = [sys.executable, str(program), "check-config", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode == 0:
        _kept[:] = [(json.loads(done.stdout), _read_file())]
    elif _kept:
        sys.stderr.write(f"{done.stderr}The settings before stay in force.\n")
    else:
        raise SystemExit(done.stderr.strip())
    return _kept[0]


def _read_file() -> list[str]:
    found = dotenv_values(".env").items()
    return [f"{name}={value}" for name, value in found if value and name not in os.environ]


def open_doors(arbiter: Arbiter) -> None:
    """Bind the port once for each worker; who replaces a master has its sockets already."""
    addresses = arbiter.cfg.address
    if arbiter.master_pid or len(addresses) != 1 or not isinstance(addresses[0], tuple):
        return
    host, port = addresses[0]
    try:
        for _ in range(arbiter.cfg.workers):
            door = _bind(host, port, arbiter.cfg.backlog)
            port = door.getsockname()[1]
            address = (host, port)
            arbiter.LISTENERS.append(TCPSocket(address, arbiter.cfg, arbiter.log, fd=door.detach()))
    except OSError as error:
        raise SystemExit(f"HOST {host}, PORT {port}: {error}") from error


def _bind(host: str, port: int, backlog: int) -> socket.socket:
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    door.bind((host, port))
    door.listen(backlog)
    return door


def give_slot(arbiter: Arbiter, worker: FanfareWorker) -> None:
    """Say which of the sockets is the worker's own: one that has the fewest workers."""
    taken = [other.slot for other in arbiter.WORKERS.values()]
    worker.slot = min(range(len(arbiter.LISTENERS)), key=lambda slot: (taken.count(slot), slot))


def make_metrics_folder() -> None:
    """Let the workers count in files of one folder, so that each can tell the sums."""
    given = Path(os.environ.get(_METRICS, ""))
    # One of ours may be inherited from the master that we replace, which removes it at its end.
    if _METRICS not in os.environ or (given.name.startswith(_FOLDER) and given not in _folders):
        _folders.append(Path(tempfile.mkdtemp(prefix=_FOLDER)))
        os.environ[_METRICS] = str(_folders[-1])


def forget_gauges(_arbiter: Arbiter, worker: FanfareWorker) -> None:
    """Count no more what a worker held that has ended."""
    for path in Path(os.environ[_METRICS]).glob(f"gauge_live*_{worker.pid}.db"):
        path.unlink(missing_ok=True)


def remove_metrics(_arbiter: Arbiter) -> None:
    """Leave nothing behind; a folder that somebody gave us is theirs."""
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
