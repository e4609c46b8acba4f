"""Fanfare as one of the subjects: real users, real tokens, channels, and every right checked."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.machine import Cores
from benchmarks.many import people
from benchmarks.peers.loads import Served
from benchmarks.peers.subjects import DATA, Subject, compiler_obstacle, no_obstacle, redis_obstacle
from benchmarks.stage import Bench, Stage
from realtime import native

PEOPLE = 256  # whose tokens the watchers take in turn
MEMBERS = 16  # who publish and wait for the ack
TITLE = "Fanfare"


@dataclass(frozen=True, slots=True)
class Shape:
    """What there is on the server, and how its events are published."""

    durable: bool = False
    channels: int = 1
    subscriptions: int = 0  # of each watcher to the first channels; 0: to the one of its room
    people: int = PEOPLE
    native: bool = False  # with the helper in C
    quiet: bool = False  # publishes that wait for their ack go to one channel more, unwatched


def subject(bench: Bench, shape: Shape | None = None, *, title: str = TITLE) -> Subject:
    """Make Fanfare a subject, on one node."""
    wanted = shape or Shape()
    key = "fanfare" + "-durable" * wanted.durable + "-c" * wanted.native
    obstacle = compiler_obstacle if wanted.native else no_obstacle
    return Subject(key, title, obstacle, partial(_one_node, bench, wanted))


def pair(bench: Bench) -> Subject:
    """Make Fanfare a subject on two nodes: watchers on the first, publishes to the second."""
    started = partial(_two_nodes, bench)
    return Subject("fanfare-redis", f"{TITLE}, two nodes", redis_obstacle, started)


@contextmanager
def _one_node(bench: Bench, shape: Shape, _cores: Cores) -> Iterator[Served]:
    if shape.native:
        native.build()
    with (
        bench.stage(NATIVE_WRITER="on" if shape.native else "off") as stage,
        peopled(stage, shape) as served,
    ):
        yield served


@contextmanager
def _two_nodes(bench: Bench, _cores: Cores) -> Iterator[Served]:
    with bench.nodes(together=2) as stage, peopled(stage, Shape()) as served:
        yield served


@contextmanager
def peopled(stage: Stage, shape: Shape) -> Iterator[Served]:
    """Make users and channels, and say how the generator speaks to the server."""
    stage.populate(users=MEMBERS, channels=shape.channels + shape.quiet)
    tokens = people(stage, shape.people)
    with tempfile.TemporaryDirectory(prefix="fanfare-tokens-") as name:
        folder = Path(name)
        files = {
            "people": tokens,
            "members": [str(user.access_token) for user in stage.users],
            "rooms": [f"channel:{channel['id']}" for channel in stage.channels],
        }
        yield _served(stage, shape, {kind: _file(folder / kind, files[kind]) for kind in files})


def _file(path: Path, lines: Iterable[str]) -> str:
    path.touch(mode=0o600)
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def _served(stage: Stage, shape: Shape, files: dict[str, str]) -> Served:
    more = "" if shape.durable else ',"ephemeral":true'
    event = f'{{"stream":"{{room}}","type":"bench.tick","data":{DATA}{more}}}'
    quiet = f"channel:{stage.channels[-1]['id']}"
    call = event.replace("{room}", quiet) if shape.quiet else event
    owner = stage.users[0].access_token
    return Served(
        pids=tuple(stage.pids.values()),
        watch=(
            *("--url", _url(stage, 0), "--socketio", "--auth", '{"token":"{token}"}'),
            *("--tokens", files["people"], "--room-names", files["rooms"]),
            *("--greeting", '^42["ready"', *_subscribing(stage, shape)),
        ),
        publish=(
            *("--event", f'42["publish",{event}]', "--publish-url", _url(stage, -1)),
            *("--publish-auth", f'{{"token":"{owner}"}}'),
        ),
        call=(
            *("--tokens", files["members"], "--call", f'42{{n}}["publish",{call}]'),
            *("--answer", '^43{n}[{"ok":true'),
        ),
    )


def _url(stage: Stage, node: int) -> str:
    host, port = stage.addresses[node]
    return f"ws://{host}:{port}/socket.io/?EIO=4&transport=websocket"


def _subscribing(stage: Stage, shape: Shape) -> list[str]:
    named = [f"channel:{one['id']}" for one in stage.channels[: shape.subscriptions]]
    words: list[str] = []
    for number, stream in enumerate(named or ["{room}"]):
        words += ["--send", f'42{number}["subscribe",{{"stream":"{stream}"}}]']
    return [*words, "--ready", f'^43{max(0, len(named) - 1)}[{{"ok":true']
