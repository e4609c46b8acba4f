"""What those cost who follow by plain HTTP: polls that wait, and streams of Server-Sent Events."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.figures import Effort, Row, Target, shares
from benchmarks.many import people
from benchmarks.stage import Bench, Stage
from benchmarks.waiting import PHASES

Json = dict[str, Any]
Around = Callable[[str], AbstractContextManager[object]]
# Serves, and collects its garbage when it is told to.
COLLECTOR = Path(__file__).parent / "profiler"
_MEANT_FOR = 2_000  # of each kind: fewer are too easy
_KIB = 1024
_MS = 1000


def waiting(bench: Bench, effort: Effort) -> Iterator[Row]:
    """Hold thousands of them at rest, and tell them all of an event."""
    with bench.stage(root=COLLECTOR) as stage:
        run = load(stage, effort)
    count = f"{effort.waiting:,}"
    rests = [one["rest"] for one in run["rounds"]]
    shown = [100 * rest["cpu_s"]["server"] / rest["seconds"] for rest in rests]
    name = f"CPU at rest, {count} polls and {count} streams"
    yield Row(name, "%", shown, _goal(2, effort), shares(rests), rests)
    yield Row("  … memory of a waiting poll", "KiB", [run["poll_mib"] * _KIB / effort.waiting])
    yield Row("  … memory of a stream", "KiB", [run["stream_mib"] * _KIB / effort.waiting])
    told = [one["event"] for one in run["rounds"]]
    took = [one["took_s"] for one in told]
    yield Row("  … one event to all of them", "s", took, _goal(1, effort), _shares(told), told)
    yield _cost("  … CPU of an answer to a waiting poll", run["polls"])
    yield _cost("  … CPU of an event to a stream", run["streams"])
    again = [one["again"] for one in run["rounds"]]
    yield _cost("  … CPU of a poll that comes again", again)
    queries = [one["statements"] / one["count"] for one in again]
    yield Row("  … database queries of one", "", queries)
    yield _cost("  … CPU of a poll, empty and at once", [run["empty"]])


def _goal(most: float, effort: Effort) -> Target | None:
    return Target(most, at_least=False) if effort.waiting >= _MEANT_FOR else None


def _shares(runs: list[Json]) -> str:
    """Say who used how many CPU seconds of it."""
    used = {who: [run["cpu_s"][who] for run in runs] for who in runs[0]["cpu_s"]}
    return ", ".join(f"{who} {statistics.median(all_):.2f} s" for who, all_ in used.items())


def _cost(name: str, runs: list[Json]) -> Row:
    return Row(name, "ms", [_MS * run["cpu_s"]["server"] / run["count"] for run in runs])


def _as_it_is(_phase: str) -> AbstractContextManager[object]:
    return nullcontext()


def load(stage: Stage, effort: Effort, around: Around = _as_it_is) -> Json:
    """Open so many polls and streams, each of a user of its own, and go through the phases."""
    tokens = people(stage, 2 * effort.waiting)
    stage.populate(users=1, channels=1)
    task = {
        "tokens": tokens,
        "count": effort.waiting,
        "stream": f"channel:{stage.channels[0]['id']}",
        "writer": stage.users[0].access_token,
        "repeats": effort.repeats,
        "seconds": effort.quiet_seconds,
    }
    with stage.talk("doors", **task) as talk:
        for phase in [*PHASES[:3] * effort.repeats, PHASES[3]]:
            talk.wait_for(phase)
            with around(f"{effort.waiting:,} of each kind: {phase}"):
                talk.go_on()
                talk.wait_for("done")
        talk.go_on()
        return talk.result()
