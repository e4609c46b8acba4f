"""One event to many watchers: how many deliveries a CPU-second buys, and how late they are."""

from collections.abc import Iterator

from benchmarks.peers import ours
from benchmarks.peers.loads import Served, run
from benchmarks.peers.ours import Shape
from benchmarks.peers.pace import Pace
from benchmarks.peers.results import Chart, Goal, Json, Outcome, Runs
from benchmarks.peers.rounds import interleave
from benchmarks.peers.subjects import (
    FASTAPI,
    FLASK,
    NCHAN,
    NODE,
    NODE_PAIR,
    PAD,
    SEND_LOOP,
    Subject,
)
from benchmarks.stage import Bench

IN_FLIGHT = (1, 16, 64)
DURABLE = "Fanfare, durable"
NATIVE = "Fanfare, helper in C"
HERE, THERE = "published here", "published at another node"
# Events a second, and whether they go to the watchers or to the crowd.
RATES = ((50, "watchers"), (4, "crowd"))


def per_cpu(run: Json) -> float:
    """Give the deliveries for each CPU-second of the server whose watchers they are."""
    return float(run["deliveries"] / run["cpu_s"][0])


def p99(run: Json) -> float:
    """Give the milliseconds that one delivery of a hundred took longer than."""
    return float(run["latency_ms"]["p99"])


def in_flight(count: int) -> str:
    """Name a case of the closed loop."""
    return f"{count} in flight"


def _words(pace: Pace, watchers: int) -> list[str]:
    return ["-n", str(watchers), "--pad", str(PAD), "--warmup", str(pace.warmup_s), "--spin"]


def fanout(bench: Bench, pace: Pace) -> Outcome:
    """One room, some events in flight."""

    def drive(_subject: Subject, served: Served) -> Iterator[tuple[str, Json]]:
        for count in IN_FLIGHT:
            words = [*served.publish, *_words(pace, pace.watchers), "--in-flight", str(count)]
            yield in_flight(count), run(served, bench.cores, words, seconds=pace.seconds)

    own = [
        ours.subject(bench),
        ours.subject(bench, Shape(native=True), title=NATIVE),
        ours.subject(bench, Shape(durable=True), title=DURABLE),
    ]
    others = [FLASK, NODE, FASTAPI, NCHAN, SEND_LOOP]
    session = interleave([*own, *others], bench.cores, pace, drive)
    cases = [in_flight(count) for count in IN_FLIGHT]
    chart = Chart(
        "fanout",
        f"Deliveries per CPU-second of the server, one room of {pace.watchers:,} watchers",
        "deliveries per CPU-second",
        session.runs.figures(per_cpu, cases),
    )
    return Outcome("fanout", [chart], _fanout_goals(session.runs), session.missing)


def _fanout_goals(runs: Runs) -> list[Goal]:
    own = ours.TITLE
    wanted = [
        (own, 1, NODE, 2.2), (own, 1, NCHAN, 1.0), (own, 1, SEND_LOOP, 0.65),
        (NATIVE, 1, NODE, 2.8), (NATIVE, 1, NCHAN, 1.25), (NATIVE, 1, SEND_LOOP, 0.8),
        (own, 16, NODE, 8.0), (own, 16, SEND_LOOP, 4.0),
        (own, 64, NODE, 20.0), (own, 64, SEND_LOOP, 10.0),
    ]  # fmt: skip
    return [
        runs.ratio(
            f"{title} to {peer.title}, {in_flight(count)}",
            per_cpu,
            (title, in_flight(count)),
            (peer.title, in_flight(count)),
            bound=bound,
        )
        for title, count, peer, bound in wanted
    ]


def from_afar(bench: Bench, pace: Pace) -> Outcome:
    """The same room, published to at another node, by way of Redis."""

    def drive(_subject: Subject, served: Served) -> Iterator[tuple[str, Json]]:
        here = ["--publish-url", served.watch[1]]
        for where, more in ((HERE, here), (THERE, [])):
            words = [*served.publish, *_words(pace, pace.watchers), "--in-flight", "16", *more]
            yield where, run(served, bench.cores, words, seconds=pace.seconds)

    both = [ours.pair(bench), NODE_PAIR]
    session = interleave(both, bench.cores, pace, drive)
    chart = Chart(
        "fanout-redis",
        f"Deliveries per CPU-second of the node with the {pace.watchers:,} watchers, 16 in flight",
        "deliveries per CPU-second",
        session.runs.figures(per_cpu, [HERE, THERE]),
    )
    title = both[0].title
    goal = session.runs.ratio(
        f"{title}: to the local figure", per_cpu, (title, THERE), (title, HERE), bound=0.9
    )
    return Outcome("fanout-redis", [chart], [goal], session.missing)


def latency(bench: Bench, pace: Pace) -> Outcome:
    """An open loop: from when an event was due to its arrival at each watcher."""
    counts = {"watchers": pace.watchers, "crowd": pace.crowd}
    cases = {f"{counts[whom]:,} × {rate}/s": (counts[whom], rate) for rate, whom in RATES}

    def drive(_subject: Subject, served: Served) -> Iterator[tuple[str, Json]]:
        for case, (watchers, rate) in cases.items():
            words = [*served.publish, *_words(pace, watchers), "--rate", str(rate)]
            yield case, run(served, bench.cores, words, seconds=pace.latency_s)

    everybody = [ours.subject(bench), NODE, FASTAPI, NCHAN, SEND_LOOP]
    session = interleave(everybody, bench.cores, pace, drive)
    figures = session.runs.figures(p99, list(cases))
    chart = Chart("latency", "Latency, p99, at a fixed rate", "ms", figures, more_is_better=False)
    goals = [
        session.runs.ratio(
            f"p99 to that of {SEND_LOOP.title}, {case}",
            p99,
            (ours.TITLE, case),
            (SEND_LOOP.title, case),
            bound=-1.3,
        )
        for case in cases
    ]
    return Outcome("latency", [chart], goals, session.missing)
