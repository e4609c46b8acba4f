"""What thousands of people cost: who are present and do nothing, or come back all at once."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from benchmarks.figures import Effort, Row, Target, shares
from benchmarks.stage import Bench, LoadError, Stage
from tests.support.server import ROOT

Json = dict[str, Any]
Around = Callable[[], AbstractContextManager[object]]
STORM_STREAMS = 8
PRESENT_IN_EACH = 50  # people of a channel


def present(bench: Bench, effort: Effort) -> Iterator[Row]:
    """What people cost who are present and do nothing, against as many that nobody sees."""
    with bench.nodes(together=1, alone=1) as stage:
        runs = presence_load(stage, effort)
    name = f"CPU at rest with {effort.present:,} present"
    seen = [100 * run["cpu_s"]["node 1"] / run["seconds"] for run in runs]
    unseen = [100 * run["cpu_s"]["node 2"] / run["seconds"] for run in runs]
    yield Row(name, "%", seen, note=shares(runs), runs=runs)
    yield Row("  … with as many sockets, neither presence nor Redis", "%", unseen)
    more = [a - b for a, b in zip(seen, unseen, strict=True)]
    yield Row("  … for presence, and the bus", "%", more, _goal(3, effort.present, 5_000))


def presence_load(stage: Stage, effort: Effort, around: Around = nullcontext) -> list[Json]:
    """Connect as many people to each of two nodes, present on the first, and let them rest."""
    tokens = people(stage, effort.present)
    stage.populate(users=1, channels=max(1, effort.present // PRESENT_IN_EACH))
    streams = [f"channel:{channel['id']}" for channel in stage.channels]
    task = {"tokens": tokens, "streams": streams, "addresses": stage.addresses}
    timed = {"seconds": effort.rest_seconds, "repeats": effort.repeats}
    with stage.talk("presence", **task, **timed) as talk:
        talk.wait_for("open")
        with around():
            talk.wait_for("rested")
        _check_presence(stage, effort.present)
        talk.go_on()
        runs: list[Json] = talk.result()["runs"]
        return runs


def _check_presence(stage: Stage, wanted: int) -> None:
    counts = [
        stage.users[0].get(f"/channels/{channel['id']}/presence").json()["count"]
        for channel in stage.channels
    ]
    if sum(counts) != wanted:
        raise LoadError(f"{sum(counts)} people of {wanted} are present")


def _goal(most: float, people: int, meant_for: int) -> Target | None:
    # Fewer people at rest are too easy; fewer who come back share each query with fewer.
    return Target(most, at_least=False) if people >= meant_for else None


def storms(bench: Bench, effort: Effort) -> Iterator[Row]:
    """All clients of a node that is killed come back on two others, at the same moment."""
    runs = []
    for _ in range(effort.repeats):
        with bench.nodes(together=3) as stage:
            runs.append(storm_load(stage, effort))
    queries = [_own_statements(run) / run["count"] for run in runs]
    cpu_ms = [1000 * (r["cpu_s"]["node 2"] + r["cpu_s"]["node 3"]) / r["count"] for r in runs]
    yield Row(f"{effort.storm:,} of a killed node resume, all live", "s", _all(runs, "seconds"))
    yield Row("  … half of them live", "s", _all(runs, "p50_s"), note=shares(runs), runs=runs)
    yield Row("  … CPU of the nodes per client", "ms", cpu_ms)
    goal = _goal(0.1, effort.storm, 3_000)
    yield Row("  … database queries per client", "", queries, goal)


def _all(runs: list[Json], name: str) -> list[float]:
    return [run[name] for run in runs]


def _own_statements(run: Json) -> float:
    # At rest nodes compare their tops with the log; that is no work for those who come back.
    return max(0.0, float(run["statements"] - run["background_per_s"] * run["seconds"]))


def storm_load(stage: Stage, effort: Effort, around: Around = nullcontext) -> Json:
    """Kill the first node, on which all are, and wait until all have what they missed."""
    tokens = people(stage, effort.storm)
    stage.populate(users=1, channels=STORM_STREAMS)
    streams = [f"channel:{channel['id']}" for channel in stage.channels]
    writer = stage.users[0].access_token
    task = {"tokens": tokens, "streams": streams, "addresses": stage.addresses, "writer": writer}
    pids = {name: pid for name, pid in stage.pids.items() if name != "node 1"}
    with stage.talk("storm", **task, pids=pids) as talk:
        talk.wait_for("open")
        with around():
            stage.server.kill()
            talk.go_on()
            return talk.result()


def people(stage: Stage, count: int) -> list[str]:
    """Make so many users; give their tokens."""
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks.people", str(count)],
        env={**stage.server.environment(), "PYTHONPATH": str(ROOT)},
        cwd=stage.server.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    if made.returncode != 0:
        raise LoadError(made.stderr[-2000:])
    tokens: list[str] = json.loads(made.stdout)
    return tokens
