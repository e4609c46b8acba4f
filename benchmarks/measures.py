"""What is measured, one function a subject; each gives rows for the table."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.figures import Effort, Measure, Row, Target, per_cpu, rate, repeat
from benchmarks.machine import memory_mib, pinned
from benchmarks.stage import Bench, Stage
from benchmarks.wire import Http, header, request

Json = dict[str, Any]
CONNECTIONS = 8  # of HTTP
RATE = 100  # messages a second of the open loop
WATCHERS = 10  # of the open loop
IDLE_CONNECTIONS = 1_000


def start_up(bench: Bench, effort: Effort) -> Iterator[Row]:
    """From the start of the process to its ready line, and the memory that it then has."""
    took, memory = [], []
    with bench.stage() as stage:  # its first start has migrated, and warmed the file cache
        server = stage.server
        for _ in range(effort.starts):
            server.stop()
            began = time.perf_counter()
            with pinned(bench.cores.server):
                server.start()
            took.append(time.perf_counter() - began)
            memory.append(memory_mib(server.pid))
    yield Row("start to ready", "s", took, Target(2, at_least=False))
    yield Row("memory, idle after start", "MiB", memory, Target(120, at_least=False))


def creations(bench: Bench, effort: Effort) -> Iterator[Row]:
    """Durable messages over sockets, each acked after its commit and seen by a watcher."""
    cases = [(1, 1), (8, 8), (64, 8), (64, 1)]
    with bench.stage() as stage:
        stage.populate()
        for clients, channels in cases:
            runs = repeat(effort, partial(create, stage, clients, channels, effort))
            is_goal = bench.backend == "postgres" and (clients, channels) == (64, 8)
            goal = Target(600, at_least=True) if is_goal else None
            name = f"messages, {clients} client{'s' * (clients > 1)} in {channels}"
            yield rate(f"{name} channel{'s' * (channels > 1)}", runs, goal)
            yield per_cpu("  … per CPU second of the server", runs)
            yield Row("  … time to the ack, p99", "ms", [run["p99_ms"] for run in runs])
        yield Row("memory after that load", "MiB", [memory_mib(stage.server.pid)])


def publishes(bench: Bench, effort: Effort) -> Iterator[Row]:
    """Events of an application over sockets, each acked after its commit and seen by a watcher."""
    least = 4_000 if bench.backend == "postgres" else 5_000
    with bench.stage() as stage:
        stage.populate()
        for clients, channels in [(1, 1), (64, 8), (64, 1)]:
            load = partial(create, stage, clients, channels, effort, packet="event")
            runs = repeat(effort, load)
            is_goal = (clients, channels) == (64, 8)
            name = f"events, {clients} client{'s' * (clients > 1)} in {channels}"
            goal = Target(least, at_least=True) if is_goal else None
            yield rate(f"{name} channel{'s' * (channels > 1)}", runs, goal)
            yield per_cpu("  … per CPU second of the server", runs)
            slow = Target(40, at_least=False) if is_goal else None
            yield Row("  … time to the ack, p99", "ms", [run["p99_ms"] for run in runs], slow)


def signals(bench: Bench, effort: Effort) -> Iterator[Row]:
    """Ephemeral publishes over sockets, each acked; nobody else watches."""
    with bench.stage() as stage:
        stage.populate()
        load = partial(create, stage, 64, 8, effort, packet="signal", watched=0)
        runs = repeat(effort, load)
    yield rate("acked signals, 64 clients in 8 channels", runs, None)
    yield per_cpu("  … per CPU second of the server", runs)
    yield Row("  … time to the ack, p99", "ms", [run["p99_ms"] for run in runs])


def create(
    stage: Stage,
    clients: int,
    channels: int,
    effort: Effort,
    *,
    packet: str = "message",
    watched: int | None = None,
) -> Json:
    """Load the server with writers that wait for each ack; all channels are `watched`, or some."""
    users, used = stage.users, stage.channels[:channels]
    return stage.load(
        "create",
        packet=packet,
        writers=[
            {"token": users[n % len(users)].access_token, "channel": used[n % channels]["id"]}
            for n in range(clients)
        ],
        watchers=[
            {"token": users[0].access_token, "stream": f"channel:{channel['id']}"}
            for channel in used[:watched]
        ],
        seconds=effort.seconds,
        warmup_s=effort.warmup_s,
    )


def delivery(bench: Bench, effort: Effort) -> Iterator[Row]:
    """From when a message was due to be written to its arrival at each of ten watchers."""
    with bench.stage() as stage:
        stage.populate(users=WATCHERS)
        token, channel = stage.users[0].access_token, stage.channels[0]["id"]
        task = {
            "rate": RATE,
            "writers": [{"token": user.access_token, "channel": channel} for user in stage.users],
            "watchers": [{"token": token, "stream": f"channel:{channel}"}] * WATCHERS,
            "seconds": effort.latency_seconds,
            "warmup_s": effort.warmup_s,
        }
        runs = repeat(effort, lambda: stage.load("deliver", **task))
    name = f"publish to deliver at {RATE}/s to {WATCHERS} watchers"
    yield Row(f"{name}, p50", "ms", [run["p50_ms"] for run in runs], runs=runs)
    yield Row(f"{name}, p99", "ms", [run["p99_ms"] for run in runs], Target(25, at_least=False))
    yield Row(f"{name}, worst", "ms", [run["max_ms"] for run in runs])


def reads(bench: Bench, effort: Effort) -> Iterator[Row]:
    """Pages, snapshots and 304s over HTTP connections that are kept alive."""
    with bench.stage() as stage:
        stage.populate(users=3)
        stage.fill()
        token = str(stage.users[0].access_token)
        page = "/api/v1/channels/bench-0/messages?limit=50"
        etag = header(Http(stage.address).ask(request(page, token))[1], "etag")
        cases = [
            ("page of 50 messages", request(page, token), 200, Target(1200, at_least=True)),
            ("page not modified (304)", request(page, token, If_None_Match=etag), 304, None),
            ("sync", request("/api/v1/channels/bench-0/sync?messages=50", token), 200, None),
        ]
        for name, asked, status, target in cases:
            runs = repeat(effort, partial(read, stage, asked, status, effort))
            yield rate(name, runs, target)
            yield per_cpu("  … per CPU second of the server", runs)


def read(stage: Stage, asked: bytes, status: int, effort: Effort) -> Json:
    """Load the server with one request, over several connections."""
    return stage.load(
        "http",
        request=asked.decode(),
        status=status,
        connections=CONNECTIONS,
        seconds=effort.seconds,
        warmup_s=effort.warmup_s,
    )


def connections(bench: Bench, _effort: Effort) -> Iterator[Row]:
    """What an open socket costs that does nothing."""
    with bench.stage() as stage:
        stage.populate(users=2)
        before = memory_mib(stage.server.pid)
        with stage.holding(IDLE_CONNECTIONS):
            grown = memory_mib(stage.server.pid) - before
    name = f"memory of an idle socket (of {IDLE_CONNECTIONS:,})"
    yield Row(name, "KiB", [grown * 1024 / IDLE_CONNECTIONS])


MEASURES: dict[str, Measure] = {
    "start": start_up,
    "create": creations,
    "publish": publishes,
    "signal": signals,
    "deliver": delivery,
    "read": reads,
    "idle": connections,
}
