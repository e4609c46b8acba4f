"""Where the server's CPU time goes under load: `python -m benchmarks --profile`."""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks import measures
from benchmarks.measures import Effort
from benchmarks.stage import Bench, Json, Stage
from benchmarks.wire import request
from tests.support.server import ROOT
from tests.support.wait import wait_until

PROFILER = Path(__file__).parent / "profiler"
_PACKAGE = re.compile(r"site-packages/([^/]+?)(?:\.py)?(?:/|$)")
_BEFORE_LIBRARY = re.compile(r".*/(?:site-packages|python3\.\d+)/")
_ROWS = 30
Stacks = list[tuple[list[str], int]]


def show(bench: Bench, effort: Effort, only: set[str]) -> None:
    """Profile the loads, and print each; the figures are lower than without the sampling."""
    with bench.stage(root=PROFILER) as stage:
        stage.populate()
        stage.fill()
        token = str(stage.users[0].access_token)
        page = request("/api/v1/channels/bench-0/messages?limit=50", token)
        sync = request("/api/v1/channels/bench-0/sync?messages=50", token)
        if "read" in only:
            _profile(stage, "page of 50", lambda: measures.read(stage, page, 200, effort))
            _profile(stage, "sync", lambda: measures.read(stage, sync, 200, effort))
        if "create" in only:
            _profile(stage, "message.create", lambda: measures.create(stage, 64, 8, effort))


def _profile(stage: Stage, name: str, load: Callable[[], Json]) -> None:
    target = stage.server.instance / "profile.folded"
    target.unlink(missing_ok=True)
    os.kill(stage.server.pid, signal.SIGUSR1)
    run = load()
    os.kill(stage.server.pid, signal.SIGUSR1)
    wait_until(target.exists, what="the profile")
    print(f"\n=== {name}, 64 clients or 8 connections: {run['per_s']:,.0f}/s while sampled")
    stacks = _read(target)
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
