"""What connections cost: memory at rest, CPU to be let in, and a publish that is acked."""

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.machine import Cores
from benchmarks.peers import ours
from benchmarks.peers.loads import Served, run
from benchmarks.peers.ours import Shape
from benchmarks.peers.pace import Pace
from benchmarks.peers.results import Chart, Json, Outcome
from benchmarks.peers.rounds import interleave
from benchmarks.peers.subjects import FASTAPI, FLASK, NCHAN, NODE, PAD, Subject
from benchmarks.stage import Bench

CALLERS = 16
WRITERS, WRITTEN_CHANNELS = 64, 8
SUBSCRIPTIONS = 3
# As a browser sends them; the address of its page is left out, which a server may refuse.
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept-Language: en-US,en;q=0.9,de;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cache-Control: no-cache",
    "Pragma: no-cache",
    "Cookie: theme=dark; visitor=3f0c8d1e5b7a4c92a6d4; session=c29tZXRoaW5nIGFuZCBtb3Jl",
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def _headers(served: Served, cores: Cores) -> list[str]:
    """Give a browser's headers as options, with the offer to compress where it is turned down."""
    words = [word for header in BROWSER for word in ("--header", header)]
    offer = [*words, "--header", DEFLATE]
    # The generator follows nobody into compression, which would cost the server more.
    alone = run(served, cores, [*offer, "--test", "idle", "-n", "1"], seconds=0)
    return offer if alone["complete"] else words


def memory(bench: Bench, pace: Pace) -> Outcome:
    """Connections that do nothing, each with three subscriptions where the peer has any."""

    def drive(_subject: Subject, served: Served) -> Iterator[tuple[str, Json]]:
        words = [*_headers(served, bench.cores), *served.more_rooms, "--test", "idle"]
        words += ["-n", str(pace.idle), "--settle", str(pace.settle_s)]
        yield case, run(served, bench.cores, words, seconds=pace.settle_s)

    case = f"{pace.idle:,} connections"
    own = ours.subject(bench, Shape(channels=SUBSCRIPTIONS, subscriptions=SUBSCRIPTIONS))
    session = interleave([own, NODE, FASTAPI, FLASK, NCHAN], bench.cores, pace, drive)
    runs = session.runs
    chart = Chart(
        "memory",
        f"Memory of an idle connection, of {pace.idle:,}, with the headers of a browser",
        "KiB (RSS)",
        runs.figures(kib, [case]),
        more_is_better=False,
    )
    at, theirs = (ours.TITLE, case), (NODE.title, case)
    goals = [
        runs.goal("an idle authenticated connection", kib, at, bound=-3.5, unit="KiB"),
        runs.ratio(f"{NODE.title} to Fanfare", kib, theirs, at, bound=4.0),
    ]
    return Outcome("memory", [chart], goals, session.missing)


def kib(run: Json) -> float:
    """Give what the server grew by for each connection."""
    rss = run["rss_kb"]
    return float((rss["connected"][0] - rss["before"][0]) / run["connections"])


def connects(bench: Bench, pace: Pace) -> Outcome:
    """Connect, authenticate and subscribe: one after the other, and all at once."""

    def drive(_subject: Subject, served: Served) -> Iterator[tuple[str, Json]]:
        # The first one of all makes a server load what it has put off, and start its workers.
        run(served, bench.cores, ["--test", "idle", "-n", "1"], seconds=0)
        for name, count, at_once in ((calm, pace.connects, 100), (storm, pace.storm, pace.storm)):
            words = ["--test", "idle", "-n", str(count), "--opening-at-once", str(at_once)]
            yield name, run(served, bench.cores, words, seconds=0)

    calm, storm = f"{pace.connects:,}, 100 at a time", f"{pace.storm:,} at once"
    everybody = [ours.subject(bench), NODE, FASTAPI, FLASK, NCHAN]
    runs = (session := interleave(everybody, bench.cores, pace, drive)).runs
    charts = [
        Chart(
            "connects",
            "Connect, authenticate and subscribe",
            "connections per CPU-second",
            runs.figures(connects_per_cpu, [calm, storm]),
        ),
        Chart(
            "storm",
            "A storm: until the last one is live",
            "s",
            runs.figures(_seconds, [storm]),
            more_is_better=False,
        ),
    ]
    goals = [
        runs.goal("connect, 100 at a time", connects_per_cpu, (ours.TITLE, calm), bound=3_000,
                  unit="/s"),
        runs.goal(f"a storm of {storm}", _seconds, (ours.TITLE, storm), bound=-3.0, unit="s"),
    ]  # fmt: skip
    return Outcome("connects", charts, goals, session.missing)


def connects_per_cpu(run: Json) -> float:
    """Give the connections that a CPU-second of the server buys."""
    return float(run["live"] / run["connect_cpu_s"][0])


def _seconds(run: Json) -> float:
    return float(run["connect_s"])


def acks(bench: Bench, pace: Pace) -> Outcome:
    """Publishes that nobody watches, each acked before the next one of its client."""

    def drive(_subject: Subject, served: Served) -> Iterator[tuple[str, Json]]:
        words = ["--test", "calls", *served.call, "-n", str(CALLERS), "--pad", str(PAD)]
        more = ["--warmup", str(pace.warmup_s), "--spin"]
        yield case, run(served, bench.cores, [*words, *more], seconds=pace.seconds)

    case = f"{CALLERS} clients"
    everybody = [ours.subject(bench, Shape(quiet=True)), NODE, FASTAPI, FLASK]
    session = interleave(everybody, bench.cores, pace, drive)
    chart = Chart(
        "acks",
        f"Acked publishes of signals, {CALLERS} clients with one under way each",
        "acks per CPU-second",
        session.runs.figures(acks_per_cpu, [case]),
    )
    goal = session.runs.goal(
        "acked publishes of signals", acks_per_cpu, (ours.TITLE, case), bound=12_000, unit="/s"
    )
    return Outcome("acks", [chart], [goal], session.missing)


def acks_per_cpu(run: Json) -> float:
    """Give the acks that a CPU-second of the server buys."""
    return float(run["answers"] / run["cpu_s"][0])


def durable(bench: Bench, pace: Pace) -> Outcome:
    """Publishes that are answered once they are committed, on the databases that there are."""

    def drive(_subject: Subject, served: Served) -> Iterator[tuple[str, Json]]:
        words = ["--test", "calls", *served.call, "-n", str(WRITERS), "--pad", str(PAD)]
        more = ["--rooms", str(WRITTEN_CHANNELS), "--warmup", str(pace.warmup_s)]
        yield case, run(served, bench.cores, [*words, *more], seconds=pace.seconds)

    case = f"{WRITERS} clients, {WRITTEN_CHANNELS} channels"
    shape = Shape(durable=True, channels=WRITTEN_CHANNELS)
    with ExitStack() as stack:
        benches = {"SQLite": bench}
        if bench.backend == "postgres":
            benches = {"PostgreSQL": bench, "SQLite": Bench("sqlite", bench.cores, stack)}
        own = [ours.subject(one, shape, title=name) for name, one in benches.items()]
        session = interleave(own, bench.cores, pace, drive)
    runs = session.runs
    charts = [
        Chart("durable", "Durable publishes, acked", "a second", runs.figures(_a_second, [case])),
        Chart(
            "durable-cpu",
            "The same for each CPU-second of the server",
            "acks per CPU-second",
            runs.figures(acks_per_cpu, [case]),
        ),
        Chart(
            "durable-p99",
            "Until the ack, p99",
            "ms",
            runs.figures(_ack_p99, [case]),
            more_is_better=False,
        ),
    ]
    goals = [
        runs.goal(f"durable publishes on {name}", _a_second, (name, case), bound=bound, unit="/s")
        for name, bound in (("PostgreSQL", 4_000), ("SQLite", 5_000))
        if name in benches
    ]
    if "PostgreSQL" in benches:
        at = ("PostgreSQL", case)
        goals.append(runs.goal("p99 on PostgreSQL", _ack_p99, at, bound=-40, unit="ms"))
    return Outcome("durable", charts, goals, session.missing)


def _a_second(run: Json) -> float:
    return float(run["answers"] / run["seconds"])


def _ack_p99(run: Json) -> float:
    return float(run["latency_ms"]["p99"])
