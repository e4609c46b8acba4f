"""One session: the measures that were asked for, a table for the terminal, and the page."""

import subprocess
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from benchmarks import machine
from benchmarks.peers import document
from benchmarks.peers.build import find_compiler
from benchmarks.peers.costs import acks, connects, durable, memory
from benchmarks.peers.fanout import fanout, from_afar, latency
from benchmarks.peers.flat import flat
from benchmarks.peers.pace import Pace
from benchmarks.peers.pages import pages
from benchmarks.peers.results import Chart, Goal, Outcome
from benchmarks.peers.stalled import stalled
from benchmarks.peers.svg import number
from benchmarks.stage import Bench
from cluster.nodes import ROOT
from cluster.postgres import find_binaries
from cluster.process import allow_files

MEASURES: dict[str, Callable[[Bench, Pace], Outcome]] = {
    "fanout": fanout,
    "fanout-redis": from_afar,
    "latency": latency,
    "memory": memory,
    "connects": connects,
    "acks": acks,
    "durable": durable,
    "stalled": stalled,
    "flat": flat,
    "pages": pages,
}
ON_POSTGRES = {"fanout-redis", "pages"}
SPARE_FILES = 500  # of a server, beside its connections
SERVED = ("api", "app.py", "config.py", "core", "jobs", "logs.py", "realtime", "requirements.txt")


def compare(names: Iterable[str], cores: machine.Cores, *, quick: bool) -> bool:
    """Measure, print, and keep what was found, unless it was a look; tell whether it could be.

    Raises:
        LoadFailedError: a load did not come to its end.
    """
    if find_compiler() is None:
        print("\nNo C compiler here (Debian: gcc libc6-dev): the peers are left out.")
        return False
    pace = _within(allow_files(), Pace.quick() if quick else Pace.full())
    backend = "sqlite" if find_binaries() is None else "postgres"
    with ExitStack() as stack:
        bench = Bench(backend, cores, stack)
        taken = _taken(bench, pace)
        print(f"\nBeside the peers, {pace.rounds} interleaved rounds, on {bench.about}")
        for name in names:
            if backend == "sqlite" and name in ON_POSTGRES:
                print(f"\n  {name}: left out, it takes PostgreSQL")
                continue
            outcome = MEASURES[name](bench, pace)
            show(outcome)
            if not quick:
                document.keep(taken, [outcome])
    return True


def _within(files: int, pace: Pace) -> Pace:
    most = files - SPARE_FILES
    return replace(pace, idle=min(pace.idle, most), storm=min(pace.storm, most))


def _taken(bench: Bench, pace: Pace) -> dict[str, Any]:
    about = machine.about()
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit(),
        "rounds": pace.rounds,
        "database": bench.about,
        "machine": (
            f"{about['processor']}, {about['cores']} cores, {about['system']}, "
            f"Python {about['python']}"
        ),
    }


def commit() -> str:
    """Name the commit that last changed what is served, with a + where files differ from it."""
    found = _git("log", "-1", "--format=%h", "--abbrev=10", "--", *SERVED)
    return f"{found or 'unknown'}{'+' if _git('status', '--short', '--', *SERVED) else ''}"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def show(outcome: Outcome) -> None:
    """Print one measure."""
    print(f"\n  {outcome.name}")
    for chart in outcome.charts:
        _show_chart(chart)
    for goal in outcome.goals:
        _show_goal(goal)
    for subject, reason in outcome.missing.items():
        print(f"    left out: {subject}, {reason}")


def _show_chart(chart: Chart) -> None:
    print(f"    {chart.title}, {chart.unit}")
    for figure in chart.figures:
        value = "–" if figure.median is None else number(figure.median)
        spread = [number(min(figure.values)), number(max(figure.values))] if figure.values else []
        mark = f"  {figure.incomplete} INCOMPLETE" if figure.incomplete else ""
        name = f"{figure.subject}, {figure.case}"
        print(f"      {name:58} {value:>9}  {'–'.join(spread)}{mark}", flush=True)


def _show_goal(goal: Goal) -> None:
    value = "–" if goal.median is None else number(goal.median)
    judged = {None: "not measured", True: "met", False: "MISSED"}[goal.is_met]
    asked = f"{goal.target.sign} {number(goal.bound)}"
    print(f"    {goal.what:60} {value:>9} {goal.unit}, {asked}: {judged}")
