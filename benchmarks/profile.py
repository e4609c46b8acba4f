"""Where the server's CPU time goes under load: `python -m benchmarks --profile`."""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import doors, many, measures, together
from benchmarks.figures import Effort
from benchmarks.stage import Bench
from benchmarks.wire import request
from tests.support.server import ROOT, Server
from tests.support.wait import wait_until

PROFILER = Path(__file__).parent / "profiler"
_PACKAGE = re.compile(r"site-packages/([^/]+?)(?:\.py)?(?:/|$)")
_BEFORE_LIBRARY = re.compile(r".*/(?:site-packages|python3\.\d+)/")
_ROWS = 40
Stacks = list[tuple[list[str], int]]


def show(bench: Bench, effort: Effort, only: set[str]) -> None:
    """Profile the loads, and print each; the figures are lower than without the sampling."""
    if only & {"read", "create", "publish", "signal"}:
        _show_one(bench, effort, only)
    if "doors" in only:
        with bench.stage(root=PROFILER) as stage:
            doors.load(stage, effort, partial(_profiled, stage.server))
    if bench.backend != "postgres":
        return
    if "hints" in only:
        _show_hints(bench, effort)
    if "presence" in only:
        with bench.nodes(together=1, alone=1, root=PROFILER) as stage:
            around = partial(_profiled, stage.server, f"{effort.present:,} present, at rest")
            many.presence_load(stage, effort, around)
    if "storm" in only:
        with bench.nodes(together=3, root=PROFILER) as stage:
            around = partial(_profiled, stage.servers[1], f"half of {effort.storm:,} resuming")
            many.storm_load(stage, effort, around)


def _show_one(bench: Bench, effort: Effort, only: set[str]) -> None:
    with bench.stage(root=PROFILER) as stage:
        stage.populate()
        stage.fill()
        token = str(stage.users[0].access_token)
        page = request("/api/v1/channels/bench-0/messages?limit=50", token)
        sync = request("/api/v1/channels/bench-0/sync?messages=50", token)
        if "read" in only:
            with _profiled(stage.server, "page of 50, 8 connections"):
                measures.read(stage, page, 200, effort)
            with _profiled(stage.server, "sync, 8 connections"):
                measures.read(stage, sync, 200, effort)
        if "create" in only:
            with _profiled(stage.server, "message.create, 64 clients"):
                measures.create(stage, 64, 8, effort)
        for name, packet in (("publish", "event"), ("signal", "signal")):
            if name in only:
                with _profiled(stage.server, f"{packet}s, 64 clients"):
                    measures.create(stage, 64, 8, effort, packet=packet)


def _show_hints(bench: Bench, effort: Effort) -> None:
    with bench.nodes(together=2, alone=1, root=PROFILER) as stage:
        stage.populate(users=8)
        load = partial(together.hint_load, stage, effort, channels=(2, 3))
        load(watchers=1)  # who watched a moment ago still hears
        with _profiled(stage.servers[1], f"hearing {together.HINT_RATE} hints a second"):
            load(watchers=0)
        with _profiled(stage.server, f"publishing {together.HINT_RATE} a second"):
            load(watchers=0)


@contextmanager
def _profiled(server: Server, name: str) -> Iterator[None]:
    target = server.instance / "profile.folded"
    target.unlink(missing_ok=True)
    os.kill(server.pid, signal.SIGUSR1)
    yield
    os.kill(server.pid, signal.SIGUSR1)
    wait_until(target.exists, what="the profile")
    stacks = _read(target)
    print(f"\n=== {name}: {sum(count for _, count in stacks):,} samples of 2 ms")
    _print("by package, self", _by(stacks, lambda stack: {_package(stack[-1])}))
    _print("our functions, with all that they call", _by(stacks, _ours))
    _print("functions of all, with all that they call", _by(stacks, set))
    _print("functions, self", _by(stacks, lambda stack: {stack[-1]}))


def _read(path: Path) -> Stacks:
    stacks: Stacks = []
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        stacks.append((stack.split(";"), int(count)))
    return stacks


def _by(stacks: Stacks, names: Callable[[list[str]], set[str]]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for stack, count in stacks:
        for name in names(stack):
            counts[name] += count
    total = sum(count for _, count in stacks)
    return {name: count / total for name, count in counts.most_common(_ROWS)}


def _package(frame: str) -> str:
    path = frame.partition("@")[2]
    if found := _PACKAGE.search(path):
        return found[1]
    if path.startswith(str(ROOT)):
        return f"fanfare {Path(path).relative_to(ROOT).parts[0]}"
    return "standard library"


def _ours(stack: list[str]) -> set[str]:
    return {frame for frame in stack if _package(frame).startswith("fanfare")}


def _print(title: str, shares: dict[str, float]) -> None:
    print(f"\n  {title}")
    for name, share in shares.items():
        function, _, path = name.partition("@")
        where = _BEFORE_LIBRARY.sub("", path.removeprefix(f"{ROOT}/"))
        print(f"  {share:6.1%}  {function}  {where}".rstrip())
