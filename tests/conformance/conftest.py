"""Who is under test, and who tests it: by --base any server, else two of the project's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cluster.cluster import Cluster, ClusterOptions
from cluster.nodes import Node
from cluster.postgres import find_binaries
from tests.conformance.doors import DOORS, Follower, Wishes
from tests.conformance.people import Login, Room, Target
from tests.conformance.wire import PATIENCE_S, wait_at_most
from tests.support import needs

OWN = ("one-node", "three-nodes")
# Everybody here calls from one address: limits of calls a minute would slow the run down.
# And pings are frequent, so that the test of them is short.
SETTINGS = {"RATE_LIMITS": "off", "PING_INTERVAL_S": 5, "PING_TIMEOUT_S": 10}
OPTIONS: dict[str, dict[str, Any]] = {
    "--base": {
        "action": "append",
        "metavar": "URL",
        "help": "test the server there; more than once: other addresses of the same installation",
    },
    "--patience": {
        "type": float,
        "metavar": "SECONDS",
        "help": "how long the conformance suite waits for what has to come",
    },
}
Follow = Callable[..., Follower]


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, more in OPTIONS.items():
        parser.addoption(name, **more)


def pytest_configure(config: pytest.Config) -> None:
    wait_at_most(config.getoption("patience", None) or PATIENCE_S)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        given = metafunc.config.getoption("base", None)
        metafunc.parametrize("target", ["given"] if given else OWN, indirect=True, scope="session")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Target]:
    """The installation under test."""
    with ExitStack() as stack:
        if request.param == "given":
            urls = request.config.getoption("base")
        elif request.param == "one-node":
            urls = [start_node(stack, tmp_path_factory.mktemp("conformance"))]
        else:
            urls = start_cluster(stack)
        found = Target(urls)
        stack.callback(found.close)
        yield found


def start_node(stack: ExitStack, folder: Path) -> str:
    settings = {"ENVIRONMENT": "testing", "PORT": 0, "LOG_LEVEL": "info", **SETTINGS}
    node = Node(settings, folder=folder)
    node.migrate()
    stack.callback(node.stop)
    node.start()
    return node.url


def start_cluster(stack: ExitStack) -> list[str]:
    """Start three nodes behind nginx; only its address is known, as it is to clients."""
    needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
    needs.require_redis()
    needs.require_nginx()
    options = ClusterOptions(fsync=False, settings=SETTINGS)
    return [stack.enter_context(Cluster(options)).url]


@pytest.fixture(scope="session")
def ada(target: Target) -> Login:
    """Somebody who owns the channels."""
    return target.register("ada")


@pytest.fixture(scope="session")
def bob(target: Target) -> Login:
    """Somebody else."""
    return target.register("bob")


@pytest.fixture
def room(ada: Login) -> Room:
    """A fresh public channel of Ada's. Its log holds its making and her joining."""
    return Room(ada)


@pytest.fixture
def private(ada: Login, bob: Login) -> Room:
    """A fresh private channel of Ada's, with Bob as a member."""
    return Room(ada, "private", [bob.id])


@pytest.fixture(params=list(DOORS))
def door(request: pytest.FixtureRequest) -> str:
    """Each door in turn."""
    return str(request.param)


@pytest.fixture
def follow(door: str) -> Iterator[Follow]:
    """`follow(login, {stream: position or None}, node=0)` follows streams by the door."""
    with ExitStack() as stack:

        def begin(login: Login, wishes: Wishes, **more: Any) -> Follower:
            follower = DOORS[door](login, wishes, **more)
            stack.callback(follower.close)
            return follower

        yield begin
