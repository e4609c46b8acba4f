"""Nodes of presence for the contract tests, on either twin; a test can end a lease at will."""

import itertools
from collections.abc import Iterator
from typing import Any

import eventlet
import orjson

from core.events import Signal
from realtime.presence import Presence, PresenceLimits
from realtime.presence_memory import MemoryPeople, MemoryPresence
from realtime.presence_redis import RedisPresence

FIRST_MS = 1_795_000_000_000
LEASE_S = 600  # no real time passes in these tests: leases end by `kill`
STREAM = "channel:a"
LIMITS = PresenceLimits(lease_s=LEASE_S, grace_s=3, roster_most=200)


class MemoryWorld:
    """Where the memory twins meet."""

    def __init__(self) -> None:
        self.people = MemoryPeople()
        self.clock = itertools.count(FIRST_MS)

    def store(self, node_id: str) -> MemoryPresence:
        """Make one node's end."""
        return MemoryPresence(self.people, node_id, LEASE_S)

    def end(self, store: Any) -> None:
        """Have a node's lease be over."""
        self.people.leases[store._name] = 0

    def flush(self) -> None:
        """Lose everything."""
        self.people.streams.clear()
        self.people.leases.clear()

    def leftovers(self) -> list[Any]:
        """What is kept though nobody is there."""
        return [stream for stream, here in self.people.streams.items() if not here]


class RedisWorld:
    """Where the twins on one Redis meet, under a prefix of the test's own."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client = client
        self.clock = itertools.count(FIRST_MS)
        self.prefix = prefix

    def store(self, node_id: str) -> RedisPresence:
        """Make one node's end."""
        return RedisPresence(
            lambda: self.client, prefix=self.prefix, node_id=node_id, lease_s=LEASE_S
        )

    def end(self, store: Any) -> None:
        """Have a node's lease be over."""
        if store._name:
            self.client.zadd(f"{self.prefix}:presence:nodes", {store._name: 1})

    def flush(self) -> None:
        """Lose everything."""
        for key in self.keys():
            self.client.delete(key)

    def keys(self) -> Iterator[bytes]:
        """Every key of this world."""
        yield from list(self.client.scan_iter(f"{self.prefix}:presence:*"))

    def leftovers(self) -> list[Any]:
        """What is kept though nobody is there."""
        return [key for key in self.keys() if b":of:" in key or b":{" in key]


World = MemoryWorld | RedisWorld


def at_once(work: Any, *args: Any) -> None:
    """Do at once what would be done soon."""
    work(*args)


class Tab:
    """A connection, as far as presence goes."""

    def __init__(self, name: str, user: str, session: str = "") -> None:
        self.id = name
        self.user_id = user
        self.session_id = session or f"session of {user}"

    def wants_presence(self, _stream: str) -> bool:
        return True

    def deliver(self, _frame: Any) -> None:
        raise NotImplementedError

    def deliver_signal(self, _frame: Any) -> None:
        raise NotImplementedError


class TestNode:
    """A node's presence with a clock of its own; what it tells is kept in `told`."""

    __test__ = False

    def __init__(self, world: World, name: str, limits: PresenceLimits = LIMITS) -> None:
        self.world = world
        self.name = name
        self.limits = limits
        self.told: list[tuple[str, Any, Any]] = []
        self.now_s = 1000.0
        self.start()

    def start(self) -> None:
        """Begin, as a new process does."""
        self.store: Any = self.world.store(self.name)
        self.presence = Presence(
            self.store, self.emit, self.limits, clock=self.world.clock.__next__, spawn=at_once
        )

    def emit(self, signal: Signal, but: Any = None) -> None:
        assert signal.presence
        assert signal.stream.startswith("channel:")
        data = orjson.loads(signal.data)
        self.told.append((signal.type.removeprefix("presence."), data, but))

    def come(self, tab: Tab, *streams: str) -> Any:
        """Connect, and subscribe with presence."""
        self.presence.arrive(tab)
        return self.presence.enter(tab.id, streams or [STREAM])

    def drop_out(self, tab: Tab) -> None:
        """Lose a connection."""
        self.presence.gone(tab.id, self.now_s)

    def wait(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        end = self.now_s + seconds
        while self.now_s < end:
            self.now_s += 0.25
            self.presence.tick(self.now_s)
        eventlet.sleep(0)

    def people(self, stream: str = STREAM) -> dict[str, Any]:
        """Who is there, by id."""
        people = self.presence.roster(stream)["people"]
        return {person["user_id"]: person for person in people}

    def said(self, what: str) -> list[Any]:
        """Whom its signals of a kind were about."""
        return [data["user_id"] for kind, data, _ in self.told if kind == what]


def lease_passes(nodes: list[TestNode], seconds: float = 2 * LEASE_S) -> None:
    """Let two leases pass on all nodes, side by side."""
    for _ in range(int(seconds * 3 / LEASE_S) + 1):
        for node in nodes:
            node.wait(0.25)
            node.now_s += LEASE_S / 3
