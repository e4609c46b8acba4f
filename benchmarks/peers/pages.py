"""What reading costs: a page, a snapshot and a 304, on the same rows of one PostgreSQL.

The peers check nobody's rights: they have no users of their own. Fanfare does, as always.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.figures import count_per_cpu
from benchmarks.machine import Cores
from benchmarks.peers import install
from benchmarks.peers.pace import Pace
from benchmarks.peers.results import Chart, Json, Outcome, Runs
from benchmarks.peers.subjects import program
from benchmarks.stage import Bench, LoadError, Stage
from benchmarks.wire import Address, Http, header, request
from cluster.ports import LOOPBACK

CONNECTIONS = 8
MESSAGES = 50
PAGE, SYNC, UNCHANGED = "a page of 50", "a snapshot (sync)", "not modified (304)"
OURS, FASTAPI, FLASK = "Fanfare", "FastAPI, SQLAlchemy", "Flask, SQLAlchemy, gunicorn"


@dataclass(frozen=True, slots=True)
class Door:
    """A server that answers, and who it is."""

    title: str
    address: Address
    pids: dict[str, int]
    prefix: str  # before /channels
    token: str

    def path(self, case: str) -> str:
        """Give the path of a case."""
        inside = f"messages?limit={MESSAGES}"
        if case == SYNC:
            inside = f"sync?messages={MESSAGES}"
        return f"{self.prefix}/channels/bench-0/{inside}"


def pages(bench: Bench, pace: Pace) -> Outcome:
    """All of them run at once, on one core, and are asked in turn."""
    runs = Runs()
    with bench.stage() as stage:
        stage.populate(users=16, channels=1)
        stage.fill()
        with _doors(stage, bench.cores) as doors:
            for door in doors:
                _check(door)
            for number in range(pace.rounds):
                for case in (PAGE, SYNC, UNCHANGED):
                    for door in [*doors[number % 3 :], *doors[: number % 3]]:
                        runs.add(door.title, case, _read(stage, door, case, pace))
    return _outcome(runs)


def _outcome(runs: Runs) -> Outcome:
    cases = [PAGE, SYNC, UNCHANGED]
    order = {OURS: 0, FASTAPI: 1, FLASK: 2}
    figures = sorted(runs.figures(count_per_cpu, cases), key=lambda figure: order[figure.subject])
    chart = Chart(
        "pages",
        f"Answers per CPU-second of the server, {CONNECTIONS} connections kept alive",
        "answers per CPU-second",
        figures,
    )
    goals = [
        runs.ratio(
            f"{case}: Fanfare to {FASTAPI}", count_per_cpu, (OURS, case), (FASTAPI, case), bound=2
        )
        for case in cases
    ]
    return Outcome("pages", [chart], goals)


def _read(stage: Stage, door: Door, case: str, pace: Pace) -> Json:
    headers = {}
    if case == UNCHANGED:
        headers["If_None_Match"] = header(_ask(door, case)[1], "etag")
    run = stage.load(
        "http",
        address=door.address,
        pids=door.pids,
        request=request(door.path(case), door.token, **headers).decode(),
        status=304 if case == UNCHANGED else 200,
        connections=CONNECTIONS,
        seconds=pace.seconds,
        warmup_s=pace.warmup_s,
    )
    return {**run, "complete": True}  # another status would have been an error


def _ask(door: Door, case: str) -> tuple[int, bytes, bytes]:
    client = Http(door.address)
    try:
        return client.ask(request(door.path(case), door.token))
    finally:
        client.close()


def _check(door: Door) -> None:
    """See that a server gives what it is measured by."""
    for case, name in ((PAGE, "items"), (SYNC, "messages")):
        status, _, body = _ask(door, case)
        if status != 200 or len(orjson.loads(body)[name]) != MESSAGES:
            raise LoadError(f"{door.title}, {case}: {status} {body[:500]!r}")


@contextmanager
def _doors(stage: Stage, cores: Cores) -> Iterator[list[Door]]:
    url = str(stage.server.environment()["DATABASE_URL"])
    pids = {"server": stage.server.pid}
    own = Door(OURS, stage.address, pids, "/api/v1", str(stage.users[0].access_token))
    with ExitStack() as stack:
        doors = [own]
        for title, driver, command in _peers():
            started = program(title, cores, command, DATABASE_URL=_with_driver(url, driver))
            port, pid = stack.enter_context(started)
            doors.append(Door(title, (LOOPBACK, port), {"server": pid}, "", ""))
        yield doors


def _with_driver(url: str, driver: str) -> str:
    return f"postgresql+{driver}://{url.partition('://')[2]}"


Command = Callable[[int, Path], Sequence[str | Path]]


def _peers() -> list[tuple[str, str, Command]]:
    python, programs = str(install.python()), str(install.PROGRAMS)

    def fastapi(port: int, _folder: Path) -> Sequence[str | Path]:
        serve = [python, "-m", "uvicorn", "fastapi_pages:app", "--app-dir", programs]
        quiet = ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        return [*serve, *quiet, "--host", LOOPBACK, "--port", str(port)]

    def flask(port: int, _folder: Path) -> Sequence[str | Path]:
        serve = [python, "-m", "gunicorn", "flask_pages:app", "--chdir", programs]
        return [*serve, "--workers", "1", "--threads", str(CONNECTIONS), "--keep-alive", "75",
                "--bind", f"{LOOPBACK}:{port}"]  # fmt: skip

    return [(FASTAPI, "asyncpg", fastapi), (FLASK, "psycopg", flask)]
