"""One watcher of ten stops reading: what that costs the others, and the server's memory.

Fanfare's stalled watchers come back in the end, and have to be given all that they missed.
"""

from collections.abc import Iterator

from benchmarks.peers import comeback, ours
from benchmarks.peers.fanout import p99
from benchmarks.peers.loads import Served, run
from benchmarks.peers.ours import Shape
from benchmarks.peers.pace import Pace
from benchmarks.peers.results import Chart, Goal, Json, Outcome
from benchmarks.peers.rounds import interleave
from benchmarks.peers.subjects import FASTAPI, NCHAN, NODE, SEND_LOOP, Subject
from benchmarks.stage import Bench

WATCHERS, STALLED = 20, 2
RATE = 50
BYTES = 30_000  # enough that the kernel's buffers of a stalled one are full in a few seconds
ALL_READ, SOME_STALL = "all read", f"{STALLED} of {WATCHERS} stalled"
KIB = 1024  # in a MiB


def grown(run: Json) -> float:
    """Give what the server grew by under the load, in MiB."""
    rss = run["rss_kb"]
    return float((rss["end"][0] - rss["connected"][0]) / KIB)


def stalled(bench: Bench, pace: Pace) -> Outcome:
    """Long events at a fixed rate, with everybody reading and with some that don't."""
    load = ["-n", str(WATCHERS), "--pad", str(BYTES), "--spin", "--rate", str(RATE)]
    load += ["--warmup", str(pace.warmup_s)]

    def drive(_subject: Subject, served: Served) -> Iterator[tuple[str, Json]]:
        for case, count in ((ALL_READ, 0), (SOME_STALL, STALLED)):
            words = [*served.publish, *load, "--stalled", str(count)]
            yield case, run(served, bench.cores, words, seconds=pace.stalled_s)

    own = ours.subject(bench, Shape(durable=True))
    everybody = [own, NODE, FASTAPI, NCHAN, SEND_LOOP]
    session = interleave(everybody, bench.cores, pace, drive)
    cases = [ALL_READ, SOME_STALL]
    charts = [
        Chart(
            "stalled", "Latency of those who read, p99", "ms",
            session.runs.figures(p99, cases), more_is_better=False,
        ),
        Chart(
            "stalled-memory", "Growth of the server's memory under that load", "MiB (RSS)",
            session.runs.figures(grown, cases), more_is_better=False,
        ),
    ]  # fmt: skip
    at = (own.title, SOME_STALL)
    goals = [
        session.runs.ratio(
            "the others' p99, with one of ten stalled", p99, at, (own.title, ALL_READ), bound=-1.5
        ),
        session.runs.goal("memory under that load", grown, at, bound=-32, unit="MiB"),
    ]
    back = [comeback.come_back(bench, load, seconds=pace.stalled_s) for _ in range(pace.rounds)]
    return Outcome("stalled", charts, [*goals, _nothing_lacks(back)], session.missing)


def _nothing_lacks(back: list[Json]) -> Goal:
    cut = sum(run["cut"] for run in back)
    what = f"events that {comeback.COUNT} stalled ones lack once they are back ({cut} were cut off)"
    bad = sum(not run["complete"] for run in back)
    return Goal(what, "events", [float(run["lacking"]) for run in back], 0.0, False, bad)
