"""The machine under a measurement: cores to pin to, CPU time used by whom, memory."""

import contextlib
import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 1024 * 1024
_SCHEDULED = 2  # of clock ids: what the scheduler counted


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the server has, and which everybody else."""

    server: frozenset[int]
    others: frozenset[int]


def cores() -> Cores:
    """Give the server the first core, and the rest to load and database.

    On a machine with a single core, or whose system pins nothing, they share.
    """
    if not hasattr(os, "sched_getaffinity"):
        return Cores(frozenset(), frozenset())
    mine = sorted(os.sched_getaffinity(0))
    return Cores(frozenset(mine[:1]), frozenset(mine[1:] or mine))


@contextlib.contextmanager
def pinned(to: frozenset[int]) -> Iterator[None]:
    """Pin this process, and with it every process that it starts meanwhile."""
    if not to:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds used between two moments, by each of the named processes and by all others."""

    wall_s: float
    cpu_s: dict[str, float]
    foreign_s: float


class Meter:
    """Measures from its making on. `pids` names processes; children count for their parents."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._start = self._now()

    def _now(self) -> tuple[float, dict[str, float], float]:
        used = {name: _cpu_s(process) for name, process in self._processes.items()}
        return time.perf_counter(), used, _busy_s()

    def read(self) -> Usage:
        """Tell what was used so far."""
        (start, before, busy_before), (end, after, busy_after) = self._start, self._now()
        used = {name: after[name] - before[name] for name in after}
        foreign = max(0.0, busy_after - busy_before - sum(used.values()))
        return Usage(end - start, used, foreign)


def _cpu_s(process: psutil.Process) -> float:
    total = _clock_s(process)
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += _clock_s(child)
    times = process.cpu_times()  # holds what children used that have ended
    return total + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)


def _clock_s(process: psutil.Process) -> float:
    # Its own clock is exact, where the table of processes counts hundredths of a second.
    if platform.system() == "Linux":
        with contextlib.suppress(OSError):
            return time.clock_gettime(~process.pid << 3 | _SCHEDULED)
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_s() -> float:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # A guest's time is in the user's already.
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times)) - idle - guest


def memory_mib(pid: int) -> float:
    """Tell the resident memory of a process and its children."""
    process = psutil.Process(pid)
    every = [process, *process.children(recursive=True)]
    return float(sum(one.memory_info().rss for one in every)) / MIB


def about() -> dict[str, object]:
    """Describe the machine, without its name."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mib": round(psutil.virtual_memory().total / MIB),
    }


def _processor() -> str:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
