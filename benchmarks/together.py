"""What is measured on several nodes that share PostgreSQL and Redis. All nodes share one core.

Costs are CPU time, which holds however many cores there are; what is compared with one node
is measured in turn with it, on the same processes.
"""

import time
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any

from benchmarks.figures import Effort, Row, Target, repeat, shares
from benchmarks.machine import Meter
from benchmarks.stage import Bench, LoadError, Stage
from benchmarks.wire import counter

Json = dict[str, Any]
HINT_RATE = 300  # messages a second
REMOTE_RATE = 200
REMOTE_WATCHERS = 10
MANY_WATCHERS = 10  # of each stream
SCALE_RATE = 60
SCALE_WATCHERS = 20  # of each node
_HINTS = "fanfare_bus_hints_total"
_US = 1e6


def hints(bench: Bench, effort: Effort) -> Iterator[Row]:
    """What hearing of an event costs another node, speaking of it its maker, and both Redis."""
    with bench.nodes(together=2, alone=1) as stage:
        stage.populate(users=8)
        rounds = [hint_round(stage, effort) for _ in range(effort.repeats)]
    yield from _hint_rows(rounds)


def hint_round(stage: Stage, effort: Effort) -> Json:
    """Load node 1 while node 2 hears nothing, hears, and has watchers; and the node alone."""
    # Who watched a moment ago still hears: that is what hearing costs without anybody to tell.
    return {
        "deaf": hint_load(stage, effort, channels=(0, 1), watchers=0),
        "one": hint_load(stage, effort, channels=(2, 3), watchers=1),
        "heard": hint_load(stage, effort, channels=(2, 3), watchers=0),
        "many": hint_load(stage, effort, channels=(2, 3), watchers=MANY_WATCHERS),
        "alone": hint_load(stage, effort, channels=(4, 5), watchers=0, to=2),
        "rest": _rest(stage, effort.seconds),
    }


def hint_load(
    stage: Stage, effort: Effort, *, channels: tuple[int, ...], watchers: int, to: int = 0
) -> Json:
    """Write at a steady rate to one node, with so many watchers of each stream on the second."""
    before = counter(stage.addresses[1], _HINTS)
    ids = [stage.channels[number]["id"] for number in channels]
    run = stage.load(
        "deliver",
        rate=HINT_RATE,
        writers=_writers(stage, ids, [stage.addresses[to]]),
        watchers=_watchers(stage, ids, stage.addresses[1]) * watchers,
        seconds=effort.seconds,
        warmup_s=effort.warmup_s,
    )
    run["hints"] = counter(stage.addresses[1], _HINTS) - before
    wanted = run["written"] if channels == (2, 3) else 0
    # Redis may take a subscription after the first messages: those are repaired from the log.
    if not 0.98 * wanted <= run["hints"] <= wanted:
        raise LoadError(f"a node heard {run['hints']} hints of {wanted}")
    return run


def _hint_rows(rounds: list[Json]) -> Iterator[Row]:
    def each(case: str, who: str) -> list[float]:
        return [_US * one[case]["cpu_s"][who] / one[case]["steps"] for one in rounds]

    def less(more: list[float], base: list[float], by: float = 1) -> list[float]:
        return [(a - b) / by for a, b in zip(more, base, strict=True)]

    heard, one, many = each("heard", "node 2"), each("one", "node 2"), each("many", "node 2")
    idle_us = [_US * run["rest"]["redis"] / HINT_RATE for run in rounds]
    yield Row("CPU of a node per hint heard", "µs", less(heard, each("deaf", "node 2")))
    yield Row("  … and per watcher that is told", "µs", less(many, one, MANY_WATCHERS - 1))
    yield Row("CPU of Redis per publish, heard by one", "µs", less(each("heard", "redis"), idle_us))
    yield Row("  … heard by none", "µs", less(each("deaf", "redis"), idle_us), runs=rounds)
    with_it, without = each("deaf", "node 1"), each("alone", "node 3")
    yield Row("CPU of the publisher per message, Redis", "µs", with_it)
    yield Row("  … without Redis", "µs", without)
    yield Row("  … ratio", "×", [a / b for a, b in zip(with_it, without, strict=True)])


def _rest(stage: Stage, seconds: float) -> Json:
    """CPU seconds a second of everybody while nobody does anything."""
    meter = Meter(stage.pids)
    time.sleep(seconds)
    used = meter.read()
    return {who: cpu_s / used.wall_s for who, cpu_s in used.cpu_s.items()}


def rest(bench: Bench, effort: Effort) -> Iterator[Row]:
    """What a node costs that nobody uses: it asks the database, and Redis, whether all is well."""
    with bench.nodes(together=1, alone=1) as stage:
        time.sleep(effort.warmup_s)
        runs = repeat(effort, partial(_rest, stage, effort.rest_seconds))
    yield Row("CPU of a node that nobody uses, with Redis", "%", _percent(runs, "node 1"))
    yield Row("  … without Redis", "%", _percent(runs, "node 2"))
    yield Row("  … of Redis", "%", _percent(runs, "redis"), runs=runs)


def _percent(runs: list[Json], who: str) -> list[float]:
    return [100 * run[who] for run in runs]


def remote(bench: Bench, effort: Effort) -> Iterator[Row]:
    """From when a message was due on one node to its watchers on another, and on the same one."""
    with bench.nodes(together=2) as stage:
        stage.populate(users=REMOTE_WATCHERS, channels=2)
        pairs = [
            (remote_load(stage, effort, channel=0, watch=1), remote_load(stage, effort, 1, 0))
            for _ in range(effort.repeats)
        ]
    there, here = [list(runs) for runs in zip(*pairs, strict=True)]
    name = f"node to node at {REMOTE_RATE}/s to {REMOTE_WATCHERS} watchers"
    yield _latency(f"{name}, p50", there, "p50_ms", 8)
    yield _latency(f"{name}, p99", there, "p99_ms", 25)
    yield Row(f"{name}, worst", "ms", [run["max_ms"] for run in there])
    yield _latency("  … the same on one node, p50", here, "p50_ms")
    yield _latency("  … the same on one node, p99", here, "p99_ms")


def _latency(name: str, runs: list[Json], which: str, bound: float | None = None) -> Row:
    target = None if bound is None else Target(bound, at_least=False)
    note = shares(runs) if which == "p50_ms" else ""
    return Row(name, "ms", [run[which] for run in runs], target, note, runs)


def remote_load(stage: Stage, effort: Effort, channel: int, watch: int) -> Json:
    """Write to the first node and watch on one of them."""
    ids = [stage.channels[channel]["id"]]
    return stage.load(
        "deliver",
        rate=REMOTE_RATE,
        writers=_writers(stage, ids, [stage.addresses[0]]),
        watchers=_watchers(stage, ids, stage.addresses[watch]) * REMOTE_WATCHERS,
        seconds=effort.latency_seconds,
        warmup_s=effort.warmup_s,
    )


def scale(bench: Bench, effort: Effort) -> Iterator[Row]:
    """One, two and three nodes, each with as many watchers: what a delivered event costs."""
    with bench.nodes(together=3) as stage:
        stage.populate(users=8, channels=12)
        rounds = [
            [[run(stage, effort, count) for count in (1, 2, 3)] for run in (load_own, load_shared)]
            for _ in range(effort.repeats)
        ]
    own, shared = [[one[shape] for one in rounds] for shape in (0, 1)]
    yield from _scale_rows("streams of each node's own", own)
    yield from _scale_rows("streams of all nodes", shared)


def _scale_rows(shape: str, rounds: list[list[Json]]) -> Iterator[Row]:
    costs = [[_cost_us(run, count) for count, run in enumerate(runs, 1)] for runs in rounds]
    one = [cost[0] for cost in costs]
    yield Row(f"CPU per delivery, {shape}, 1 node", "µs", one, note=shares([r[0] for r in rounds]))
    for count in (2, 3):
        runs = [run[count - 1] for run in rounds]
        yield Row(f"  … on {count} nodes", "µs", [cost[count - 1] for cost in costs], runs=runs)
        ratios = [cost[count - 1] / cost[0] for cost in costs]
        yield Row(f"  … on {count} against 1", "×", ratios, Target(1.15, at_least=False))


def _cost_us(run: Json, nodes: int) -> float:
    who = ["redis", *(f"node {number}" for number in range(1, nodes + 1))]
    return _US * sum(run["cpu_s"][name] for name in who) / run["count"]


def load_own(stage: Stage, effort: Effort, nodes: int) -> Json:
    """Give each node streams of its own to watch, written to by way of the next node."""
    used = stage.addresses[:nodes]
    ids = [stage.channels[nodes + number]["id"] for number in range(nodes)]
    writers = [_writers(stage, [ids[n]], [used[(n + 1) % nodes]]) for n in range(nodes)]
    watchers = [_watchers(stage, [ids[n]], used[n]) * SCALE_WATCHERS for n in range(nodes)]
    return _scale_load(stage, effort, SCALE_RATE * nodes, _in_turn(writers), list(chain(*watchers)))


def load_shared(stage: Stage, effort: Effort, nodes: int) -> Json:
    """Have all nodes watch the same stream, written to by way of each in turn."""
    used = stage.addresses[:nodes]
    ids = [stage.channels[8 + nodes]["id"]]
    writers = _in_turn([_writers(stage, ids, [address]) for address in used])
    watchers = [_watchers(stage, ids, address) * SCALE_WATCHERS for address in used]
    return _scale_load(stage, effort, SCALE_RATE, writers, list(chain(*watchers)))


def _in_turn(writers: list[list[Json]]) -> list[Json]:
    return [one for several in zip(*writers, strict=True) for one in several]


def _scale_load(
    stage: Stage, effort: Effort, rate: int, writers: list[Json], watchers: list[Json]
) -> Json:
    return stage.load(
        "deliver",
        rate=rate,
        writers=writers,
        watchers=watchers,
        seconds=effort.seconds,
        warmup_s=effort.warmup_s,
    )


def _writers(stage: Stage, ids: list[str], nodes: list[tuple[str, int]]) -> list[Json]:
    return [
        {"token": user.access_token, "channel": channel, "address": nodes[number % len(nodes)]}
        for number, user in enumerate(stage.users)
        for channel in ids
    ]


def _watchers(stage: Stage, ids: list[str], node: tuple[str, int]) -> list[Json]:
    token = stage.users[0].access_token
    return [{"token": token, "stream": f"channel:{one}", "address": node} for one in ids]
