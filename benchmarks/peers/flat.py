"""Ten times more of everything: what a delivery costs then, and a page deep in a channel."""

from collections.abc import Iterator
from functools import partial

import psycopg

from benchmarks.peers import ours
from benchmarks.peers.fanout import per_cpu
from benchmarks.peers.loads import Served, run
from benchmarks.peers.ours import Shape
from benchmarks.peers.pace import Pace
from benchmarks.peers.results import Chart, Json, Outcome, Runs
from benchmarks.peers.rounds import interleave
from benchmarks.peers.subjects import PAD, Subject
from benchmarks.stage import Bench, Stage
from benchmarks.wire import request

ROOMS, IN_A_ROOM, PEOPLE = 10, 10, 256
HISTORY_RATE = 400  # durable events a second, for one second or for ten
BASE, MORE_ROOMS, MORE_USERS, MORE_HISTORY = "base", "10 × rooms", "10 × users", "10 × history"
FIRST, DEEP = "near the top", "at the bottom"
WITHIN = 0.85  # a delivery may cost 15 % more: so many for the same CPU time


def us_per_delivery(run: Json) -> float:
    """Give the microseconds of the server's CPU time that a delivery costs."""
    return 1e6 / per_cpu(run)


def flat(bench: Bench, pace: Pace) -> Outcome:
    """Signals to ten watchers a room; each subject is Fanfare with more of one thing."""
    shapes = {
        BASE: Shape(channels=ROOMS, people=PEOPLE),
        MORE_ROOMS: Shape(channels=10 * ROOMS, people=PEOPLE),
        MORE_USERS: Shape(channels=ROOMS, people=10 * PEOPLE),
        MORE_HISTORY: Shape(channels=ROOMS, people=PEOPLE),
    }
    everybody = [ours.subject(bench, shape, title=name) for name, shape in shapes.items()]
    session = interleave(everybody, bench.cores, pace, partial(_drive, bench, pace))
    case = "signals"
    charts = [
        Chart(
            "flat", "CPU of a delivery, 10 watchers in each room", "µs",
            session.runs.figures(us_per_delivery, [case]), more_is_better=False,
        )
    ]  # fmt: skip
    goals = [
        session.runs.ratio(f"{name}: deliveries per CPU-second", per_cpu, (name, case),
                           (BASE, case), bound=WITHIN)
        for name in (MORE_ROOMS, MORE_USERS, MORE_HISTORY)
    ]  # fmt: skip
    if bench.backend == "postgres":
        runs = _pages(bench, pace)
        name = f"A page of 50 of {pace.deep:,} messages"
        figures = runs.figures(_ms_of_all, [FIRST, DEEP])
        charts.append(Chart("deep", name, "ms of CPU, database included", figures, False))
        at, first = (ours.TITLE, DEEP), (ours.TITLE, FIRST)
        goals.append(runs.ratio("a page at the bottom", _ms_of_all, at, first, bound=-1.15))
    return Outcome("flat", charts, goals, session.missing)


def _drive(
    bench: Bench, pace: Pace, subject: Subject, served: Served
) -> Iterator[tuple[str, Json]]:
    rooms = ROOMS * (10 if subject.title == MORE_ROOMS else 1)
    words = ["-n", str(rooms * IN_A_ROOM), "--rooms", str(rooms), "--pad", str(PAD), "--spin"]
    _write_history(bench, served, words, seconds=10 if subject.title == MORE_HISTORY else 1)
    more = ["--in-flight", "4", "--warmup", str(pace.warmup_s)]
    found = run(served, bench.cores, [*served.publish, *words, *more], seconds=pace.seconds)
    yield "signals", found


def _write_history(bench: Bench, served: Served, words: list[str], *, seconds: float) -> None:
    """Publish durable events into the rooms before they are measured."""
    durable = [word.replace(',"ephemeral":true', "") for word in served.publish]
    rate = ["--rate", str(HISTORY_RATE), "--warmup", "0"]
    run(served, bench.cores, [*durable, *words, *rate], seconds=seconds)


def _pages(bench: Bench, pace: Pace) -> Runs:
    runs = Runs()
    with bench.stage() as stage:
        stage.populate(users=1, channels=1)
        _fill(stage, pace.deep)
        for _ in range(pace.rounds):
            for case, before in ((FIRST, pace.deep - 1), (DEEP, 100)):
                path = f"/api/v1/channels/bench-0/messages?limit=50&before={before}"
                asked = request(path, str(stage.users[0].access_token)).decode()
                task = {"request": asked, "status": 200, "connections": 4}
                found = stage.load("http", **task, seconds=pace.seconds, warmup_s=pace.warmup_s)
                runs.add(ours.TITLE, case, {**found, "complete": True})
    return runs


def _ms_of_all(run: Json) -> float:
    used = run["cpu_s"]["server"] + run["cpu_s"]["postgres"]
    return float(1000 * used / run["count"])


def _fill(stage: Stage, messages: int) -> None:
    """Write the rows of a long channel: as the server would, but all at once."""
    channel, author = stage.channels[0]["id"], stage.users[0].id
    url = str(stage.server.environment()["DATABASE_URL"])
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            'INSERT INTO messages (channel_id, "offset", id, author_id, body, version, created_ms)'
            " SELECT %s, n + 10, lpad(n::text, 36, '0'), %s, 'message ' || n, n + 10, 1 + n"
            " FROM generate_series(1, %s) AS n",
            [channel, author, messages],
        )
        connection.execute(
            "UPDATE streams SET top = %s WHERE name = %s", [messages + 10, f"channel:{channel}"]
        )
        connection.execute("ANALYZE messages")
