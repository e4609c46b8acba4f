"""One run of the load generator, and what it says of it."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from benchmarks.machine import Cores, pinned
from benchmarks.peers.build import load_generator

Json = dict[str, Any]
_PATIENCE_S = 600.0  # beyond what a run is to take: fifteen thousand may connect slowly


class LoadFailedError(RuntimeError):
    """The generator did not come to its end, so there is not even a bad figure."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs, as the generator meets it.

    `pids` begin with the one whose CPU time is the figure. `watch`, `publish` and `call` are the
    generator's options for watchers, for events, and for publishes that wait for their ack;
    `more_rooms` subscribes a watcher to two rooms more.
    """

    pids: tuple[int, ...]
    watch: tuple[str, ...]
    publish: tuple[str, ...] = ()
    call: tuple[str, ...] = ()
    more_rooms: tuple[str, ...] = ()


def run(served: Served, cores: Cores, words: list[str], *, seconds: float) -> Json:
    """Load a server from the other cores, and give what the generator printed.

    Raises: LoadFailedError.
    """
    pids = [word for pid in served.pids for word in ("--pid", str(pid))]
    command = [str(load_generator()), *served.watch, *pids, "--seconds", str(seconds), *words]
    with pinned(cores.others):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    try:
        out, errors = process.communicate(timeout=seconds + _PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise LoadFailedError(f"the load took longer than {seconds + _PATIENCE_S:.0f} s") from None
    finally:
        process.kill()
        process.wait()
    if process.returncode not in (0, 1):  # 1: it ran, and found the run incomplete
        raise LoadFailedError(errors[-2000:])
    result: Json = json.loads(out)
    return result
