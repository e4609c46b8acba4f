"""Who is measured beside Fanfare: how each is started, pinned, and spoken to."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Cores, pinned
from benchmarks.peers import build, install
from benchmarks.peers.loads import Served
from cluster.folders import short_folder
from cluster.nginx import find_nginx
from cluster.ports import LOOPBACK, free_port
from cluster.process import Process
from cluster.redis import RedisServer, find_redis

# What an event carries, for all alike. With its frame it has about 150 bytes at the Node.js peer.
DATA = '{"n":{n},"ts":{ts},"pad":"{pad}"}'
PAD = 90
_SOCKETIO = "/socket.io/?EIO=4&transport=websocket"
_MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"))
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class Subject:
    """One server to be measured. `obstacle` says why it can't be on this machine."""

    key: str
    title: str
    obstacle: Callable[[], str | None]
    started: Callable[[Cores], AbstractContextManager[Served]]


def node_obstacle() -> str | None:
    """Say what the peers on Node.js lack."""
    return None if install.has_node() else "there is no Node.js with npm here"


def redis_obstacle() -> str | None:
    """Say what several nodes lack."""
    return None if find_redis() else "there is no Redis here"


def node_pair_obstacle() -> str | None:
    """Say what several nodes on Node.js lack."""
    return node_obstacle() or redis_obstacle()


def compiler_obstacle() -> str | None:
    """Say what the loop in C lacks."""
    return None if build.find_compiler() else "there is no C compiler here"


def nchan_obstacle() -> str | None:
    """Say what nchan lacks."""
    if find_nginx() is None:
        return "there is no nginx here"
    return None if find_nchan() else "nginx has no module nchan here (libnginx-mod-nchan)"


def find_nchan() -> Path | None:
    """Return the module, where nginx has it."""
    places = (folder / "ngx_nchan_module.so" for folder in _MODULES)
    return next((path for path in places if path.exists()), None)


def no_obstacle() -> str | None:
    """Say that nothing lacks: Python is here."""
    return None


@contextmanager
def program(
    name: str,
    cores: Cores,
    command: Callable[[int, Path], Sequence[str | Path]],
    **environment: str,
) -> Iterator[tuple[int, int]]:
    """Run a peer on the server's core; gives its port and process id.

    `command` is made for a port, and a folder that is removed in the end.
    """
    folder, port = short_folder("fanfare-peer-"), free_port()
    process = Process(name, folder / "log")
    try:
        with pinned(cores.server):
            process.start(command(port, folder), env={**_environment(), **environment}, cwd=folder)
        _wait_until_open(process, port)
        yield port, process.pid
    finally:
        process.stop(deadline_s=5)
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    # Nothing of this process's own, which may point at Fanfare's settings or packages.
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "NODE_ENV": "production", "LANG": "C.UTF-8"}


def _wait_until_open(process: Process, port: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.is_running():
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.05)
    raise process.failure("did not start")


def _socketio(port: int, pids: tuple[int, ...], publish_port: int | None = None) -> Served:
    """The two peers that speak Socket.IO have the same calls."""
    event = f'{{"room":"r{{room}}","data":{DATA}}}'
    publish: list[str] = ["--event", f'42["publish",{event}]']
    if publish_port is not None:
        publish += ["--publish-url", f"ws://{LOOPBACK}:{publish_port}{_SOCKETIO}"]
    return Served(
        pids=pids,
        watch=(
            *("--url", f"ws://{LOOPBACK}:{port}{_SOCKETIO}", "--socketio"),
            *("--send", '420["subscribe",{"room":"r{room}"}]', "--ready", '^430[{"ok":true'),
        ),
        publish=tuple(publish),
        call=(
            *("--call", f'42{{n}}["publish",{{"room":"quiet","data":{DATA}}}]'),
            *("--answer", '^43{n}[{"ok":true'),
        ),
        more_rooms=(
            *("--send", '421["subscribe",{"room":"second"}]'),
            *("--send", '422["subscribe",{"room":"third"}]'),
        ),
    )


@contextmanager
def flask_socketio(cores: Cores) -> Iterator[Served]:
    """Flask-SocketIO as it comes."""
    script = install.PROGRAMS / "flask_socketio_server.py"
    python = install.python()
    with program("Flask-SocketIO", cores, lambda port, _: [python, script, str(port)]) as found:
        port, pid = found
        yield _socketio(port, (pid,))


@contextmanager
def node(cores: Cores) -> Iterator[Served]:
    """Socket.IO for Node.js."""
    with _node_process(cores) as (port, pid):
        yield _socketio(port, (pid,))


def _node_process(cores: Cores, *more: str) -> AbstractContextManager[tuple[int, int]]:
    script = install.node_folder() / "socketio.js"
    command = [shutil.which("node") or "node", str(script)]
    return program("Node.js", cores, lambda port, _: [*command, str(port), *more])


@contextmanager
def node_pair(cores: Cores) -> Iterator[Served]:
    """Two processes with the Redis adapter: watchers on the first, publishes to the second."""
    with ExitStack() as stack:
        with pinned(cores.server):
            redis = stack.enter_context(RedisServer())
        port, pid = stack.enter_context(_node_process(cores, redis.url))
        other_port, other_pid = stack.enter_context(_node_process(cores, redis.url))
        yield _socketio(port, (pid, other_pid, redis.pid), other_port)


@contextmanager
def fastapi(cores: Cores) -> Iterator[Served]:
    """FastAPI with websockets, on uvicorn with uvloop."""
    python = install.python()
    serve = ["-m", "uvicorn", "fastapi_sockets:app", "--app-dir", str(install.PROGRAMS)]
    more = ["--ws", "websockets", "--loop", "uvloop", "--log-level", "warning", "--backlog", "8192"]

    def command(port: int, _folder: Path) -> Sequence[str | Path]:
        return [python, *serve, *more, "--host", LOOPBACK, "--port", str(port)]

    with program("FastAPI", cores, command) as (port, pid):
        yield Served(
            pids=(pid,),
            watch=(
                *("--url", f"ws://{LOOPBACK}:{port}/ws"),
                *("--send", '{"subscribe":"r{room}","id":0}', "--ready", '^{"id": 0'),
            ),
            publish=("--event", f'{{"publish":"r{{room}}","data":{DATA}}}'),
            call=(
                *("--call", f'{{"publish":"quiet","id":{{n}},"data":{DATA}}}'),
                *("--answer", '^{"id": {n},'),
            ),
            more_rooms=("--send", '{"subscribe":"second"}', "--send", '{"subscribe":"third"}'),
        )


@contextmanager
def nchan(cores: Cores) -> Iterator[Served]:
    """Serve by nginx with nchan: watchers on WebSockets, publishes by HTTP."""
    module, template = find_nchan(), install.PROGRAMS / "nchan.conf"

    def command(port: int, folder: Path) -> Sequence[str | Path]:
        text = template.read_text()
        for word, value in (("MODULE", module), ("FOLDER", folder), ("PORT", port)):
            text = text.replace(f"@{word}@", str(value))
        (folder / "nginx.conf").write_text(text)
        return [str(find_nginx()), "-p", folder, "-c", folder / "nginx.conf"]

    with program("nchan", cores, command) as (port, pid):
        at = f"{LOOPBACK}:{port}"
        yield Served(
            pids=(pid,),
            watch=("--url", f"ws://{at}/watch/r{{room}}"),
            publish=(
                *("--publish-http", "--publish-url", f"http://{at}/publish/r{{room}}"),
                *("--event", DATA),
            ),
        )


@contextmanager
def send_loop(cores: Cores) -> Iterator[Served]:
    """The loop of send() in C."""
    binary = build.send_loop()
    with program("C", cores, lambda port, _: [binary, str(port)]) as (port, pid):
        at = f"ws://{LOOPBACK}:{port}"
        yield Served(
            pids=(pid,),
            watch=("--url", f"{at}/watch"),
            publish=("--publish-url", f"{at}/publish", "--event", DATA),
        )


FLASK = Subject("flask", "Flask-SocketIO, eventlet", no_obstacle, flask_socketio)
NODE = Subject("node", "Node.js Socket.IO", node_obstacle, node)
NODE_PAIR = Subject("node-redis", "Node.js Socket.IO, Redis adapter", node_pair_obstacle, node_pair)
FASTAPI = Subject("fastapi", "FastAPI, websockets", no_obstacle, fastapi)
NCHAN = Subject("nchan", "nginx with nchan", nchan_obstacle, nchan)
SEND_LOOP = Subject("c", "a C loop of send()", compiler_obstacle, send_loop)
