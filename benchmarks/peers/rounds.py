"""Rounds of all subjects in turn, so that whatever else the machine does hits all alike."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks.machine import Cores
from benchmarks.peers.build import BuildError
from benchmarks.peers.install import InstallError
from benchmarks.peers.loads import LoadFailedError, Served
from benchmarks.peers.pace import Pace
from benchmarks.peers.results import Json, Runs
from benchmarks.peers.subjects import Subject
from benchmarks.stage import LoadError
from cluster.process import ProcessError

FAILURES = (BuildError, InstallError, LoadError, LoadFailedError, ProcessError)
# Yields what was run on a started server: the case, and what the load says of it.
Drive = Callable[[Subject, Served], Iterator[tuple[str, Json]]]


@dataclass(frozen=True, slots=True)
class Session:
    """The runs of one measure, and who could not be run."""

    runs: Runs
    missing: dict[str, str]


def interleave(subjects: Iterable[Subject], cores: Cores, pace: Pace, drive: Drive) -> Session:
    """Start each subject anew in each round, the order turned by one, and drive it.

    One that does not start, or hangs, is left out from then on, and named.

    Raises:
        LoadFailedError: there is nobody to be measured.
    """
    able, missing = _able(subjects)
    runs = Runs()
    for number in range(pace.rounds):
        turned = able[number % len(able) :] + able[: number % len(able)]
        for subject in turned:
            if subject.title in missing:
                continue
            try:
                with subject.started(cores) as served:
                    for case, run in drive(subject, served):
                        runs.add(subject.title, case, run)
                        _tell(number, subject, case, run)
            except FAILURES as error:
                missing[subject.title] = _last_line(error)
                print(f"    {subject.title} failed:\n{error}", file=sys.stderr, flush=True)
    return Session(runs, missing)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"it failed ({lines[-1].strip() if lines else type(error).__name__})"


def _able(subjects: Iterable[Subject]) -> tuple[list[Subject], dict[str, str]]:
    able, missing = [], {}
    for subject in subjects:
        reason = subject.obstacle()
        if reason is None:
            able.append(subject)
        else:
            missing[subject.title] = reason
    if not able:
        raise LoadFailedError(f"there is nobody to be measured: {missing}")
    return able, missing


def _tell(number: int, subject: Subject, case: str, run: Json) -> None:
    state = "complete" if run["complete"] else f"INCOMPLETE: {why(run)}"
    print(f"    round {number + 1}, {subject.title}, {case}: {state}", file=sys.stderr, flush=True)


def why(run: Json) -> str:
    """Say what was wrong with a run."""
    names = ("failed", "dropped", "refused", "lost", "doubled", "reordered")
    found = [f"{run[name]} {name}" for name in names if run.get(name)]
    return ", ".join([*found, run.get("first_error", "")]).strip(", ")
