"""Whatever breaks, nothing is lost, doubled or out of order: counted under a steady load.

Each test breaks one thing (the last ones two), mends it, and prints how long it took until every
node was ready and every watcher had everything. The load is that of `Load`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from cluster.postgres import Postgres
from tests.nodes.load import Load
from tests.nodes.world import Trio
from tests.support.client import RestClient, registered

Fault = Callable[[], AbstractContextManager[None]]
PAIRS = 2


class Faults:
    """What can break: each breaks at the start of a block, and is mended at its end."""

    def __init__(self, trio: Trio, postgres: Postgres) -> None:
        self._trio = trio
        self._postgres = postgres
        self._never = threading.Event()

    def hold(self, seconds: float) -> None:
        """Let the fault and the load go on for a time."""
        self._never.wait(seconds)

    def by_subject(self) -> dict[str, list[Fault]]:
        """Faults of different subjects can happen at once."""
        return {
            "redis": [self.redis_killed, self.redis_frozen, self.redis_emptied],
            "link": [self.link_broken, self.link_silent],
            "node": [self.node_killed],
            "database": [self.postgres_restarted, self.postgres_killed],
        }

    @contextmanager
    def redis_killed(self) -> Iterator[None]:
        """Redis is gone, and comes back empty."""
        self._trio.redis.kill()
        try:
            yield
        finally:
            self._trio.redis.start()

    @contextmanager
    def redis_frozen(self) -> Iterator[None]:
        """Redis takes connections and answers nothing."""
        with self._trio.redis.frozen():
            yield

    @contextmanager
    def redis_emptied(self) -> Iterator[None]:
        """Somebody typed FLUSHALL."""
        self._trio.redis.cli("FLUSHALL")
        yield

    @contextmanager
    def link_broken(self) -> Iterator[None]:
        """One node is refused by Redis; the others are not."""
        self._trio.proxy.refuse()
        try:
            yield
        finally:
            self._trio.proxy.heal()

    @contextmanager
    def link_silent(self) -> Iterator[None]:
        """One node's connections to Redis stand, and carry nothing."""
        self._trio.proxy.cut()
        try:
            yield
        finally:
            self._trio.proxy.heal()

    @contextmanager
    def node_killed(self) -> Iterator[None]:
        """A node is gone without a goodbye, and a successor starts."""
        self._trio.nodes[0].kill()
        try:
            yield
        finally:
            self._trio.nodes[0].start()

    @contextmanager
    def postgres_restarted(self) -> Iterator[None]:
        """The database ends in order, and comes back."""
        self._postgres.stop()
        try:
            yield
        finally:
            self._postgres.start()

    @contextmanager
    def postgres_killed(self) -> Iterator[None]:
        """The database crashes, and recovers."""
        self._postgres.kill()
        try:
            yield
        finally:
            self._postgres.start()


@pytest.fixture
def faults(breakable: Trio, own_postgres: Postgres) -> Faults:
    return Faults(breakable, own_postgres)


@pytest.fixture
def owner(breakable: Trio) -> Iterator[RestClient]:
    with registered(breakable.urls[0]) as client:
        yield client


@pytest.fixture
def load(breakable: Trio, owner: RestClient) -> Load:
    return Load(breakable, owner)


ALL = {0, 1, 2}
# How long each lasts, and which nodes say by then that they are not ready.
ONE_FAULT: dict[str, tuple[float, set[int]]] = {
    "redis_killed": (2.0, ALL),
    "redis_frozen": (10.0, ALL),
    "redis_emptied": (0.0, set()),
    "link_broken": (3.0, {2}),
    "link_silent": (6.0, {2}),
    "node_killed": (1.0, {0}),
    "postgres_restarted": (1.0, ALL),
    "postgres_killed": (1.0, ALL),
}


class TestOneFault:
    @pytest.mark.parametrize("name", ONE_FAULT)
    def test_loses_doubles_and_disorders_nothing(self, name, load, faults, tell):
        """Publishing goes on, on whichever node answers; what was missed is read from the log."""
        lasts_s, nodes = ONE_FAULT[name]
        with load.running():
            with getattr(faults, name)():
                faults.hold(lasts_s)
                unready = {n for n, node in enumerate(load.trio.nodes) if not node.is_ready()}
            repaired_s = load.wait_until_repaired()
            load.go_on(50)

        tell(f"{name}: {load.judge()}; whole again after {repaired_s:.2f} s")
        assert unready == nodes

    def test_nor_do_all_nodes_that_restart_in_turn(self, load, breakable, tell):
        """A deployment, as long as each one says goodbye and the next is ready."""
        began_s = time.monotonic()
        with load.running():
            for node in breakable.nodes:
                node.restart()
                node.wait_until_ready()
            load.wait_until_repaired()
            took_s = time.monotonic() - began_s
            load.go_on(50)

        tell(f"all restarted in turn: {load.judge()}; took {took_s:.1f} s")


class TestWhileRedisIsAway:
    def test_every_watcher_is_served_by_comparing_with_the_log(self, load, faults, breakable):
        """Also on the other nodes, within the interval; nobody waits for Redis to come back."""
        with load.running():
            with faults.redis_killed():
                load.go_on(100)
                tops = load.tops()
                load.go_on(50)
                load.wait_for(tops)
                ready = [node.is_ready() for node in breakable.nodes]
            load.wait_until_repaired()
        load.judge()

        assert ready == [False, False, False]


class TestTwoFaults:
    @pytest.mark.parametrize("number", range(PAIRS))
    def test_at_once_lose_double_and_disorder_nothing(self, number, load, faults, rng, tell):
        """Of two different parts, drawn at random: the second breaks while the first is broken."""
        subjects = rng.sample(sorted(faults.by_subject()), 2)
        pair = [rng.choice(faults.by_subject()[subject]) for subject in subjects]
        with load.running():
            # A node starts only where its database answers: it is mended last.
            with ExitStack() as last, ExitStack() as first:
                for fault in pair:
                    stack = last if fault == faults.node_killed else first
                    stack.enter_context(fault())
                    faults.hold(rng.uniform(0, 1.5))
                faults.hold(rng.uniform(0, 3))
            repaired_s = load.wait_until_repaired()
            load.go_on(50)

        names = " and ".join(fault.__name__ for fault in pair)
        tell(f"{names}: {load.judge()}; whole again after {repaired_s:.2f} s")
