"""What presence does on every store: the same walk on memory and on a real Redis.

No time passes here: nodes are told the time, and a lease ends when the test says so.
"""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.ids import new_id
from realtime.client_redis import RedisAddress
from realtime.presence import PresenceLimits
from realtime.presence_store import Entry, Write
from tests.contract.presence import (
    FIRST_MS,
    LEASE_S,
    STREAM,
    MemoryWorld,
    RedisWorld,
    Tab,
    TestNode,
    World,
    lease_passes,
)

SERVERS = {"redis": "redis_server", "redis-cluster": "redis_cluster"}
STREAMS = ["channel:a", "channel:b", "channel:c"]


@pytest.fixture(params=["memory", "redis", "redis-cluster"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    server = request.getfixturevalue(SERVERS[request.param])
    client = RedisAddress(server.url).client()
    yield RedisWorld(client, f"test-{new_id()}")
    client.close()


@pytest.fixture
def nodes(world: World) -> list[TestNode]:
    """Three nodes that have renewed their leases once."""
    made = [TestNode(world, f"node-{number}") for number in range(3)]
    for node in made:
        node.wait(0.25)
    return made


def all_said(nodes: list[TestNode], what: str) -> list[Any]:
    return [name for node in nodes for name in node.said(what)]


class TestComingAndGoing:
    def test_who_comes_is_seen_on_every_node(self, nodes):
        roster = nodes[0].come(Tab("1", "ada"))[STREAM]

        assert [person.user_id for person in roster.people] == ["ada"]
        for node in nodes:
            assert node.people().keys() == {"ada"}
        assert nodes[0].people()["ada"]["status"] == "online"

    def test_a_join_is_told_once_with_the_count_and_not_to_who_joined(self, nodes):
        tab = Tab("1", "ada")
        nodes[1].come(Tab("2", "ben"))

        nodes[0].come(tab)

        ((what, data, but),) = nodes[0].told
        since = nodes[2].people()["ada"]["since"]
        assert (what, but) == ("joined", tab)
        assert data == {"user_id": "ada", "status": "online", "since": since, "count": 2}

    def test_a_person_with_tabs_on_several_nodes_is_one_person(self, nodes):
        """Joined with the first, left with the last; devices are counted by login session."""
        tabs = [Tab("1", "ada", "phone"), Tab("2", "ada", "laptop"), Tab("3", "ada", "laptop")]
        for node, tab in zip(nodes, tabs, strict=True):
            node.come(tab)
        person = nodes[0].people()["ada"]
        for node, tab in zip(nodes, tabs, strict=True):
            node.presence.leave(tab.id, STREAM)

        assert (person["devices"], person["connections"]) == (2, 3)
        assert [node.said("joined") for node in nodes] == [["ada"], [], []]
        assert [node.said("left") for node in nodes] == [[], [], ["ada"]]
        assert nodes[0].people() == {}

    def test_since_is_that_of_the_first_tab_as_long_as_one_is_there(self, nodes):
        first, second = Tab("1", "ada"), Tab("2", "ada")
        nodes[0].come(first)
        since = nodes[0].people()["ada"]["since"]
        nodes[1].come(second)

        nodes[0].presence.leave("1", STREAM)

        assert nodes[1].people()["ada"]["since"] == since

    def test_the_one_who_came_first_is_first(self, nodes):
        for name in ("cyd", "ada", "ben"):
            nodes[0].come(Tab(name, name))
        people = nodes[1].presence.roster(STREAM)["people"]

        assert people == sorted(people, key=lambda one: (one["since"], one["user_id"]))

    def test_leaving_twice_or_from_elsewhere_is_nothing(self, nodes):
        nodes[0].come(Tab("1", "ada"))
        for _ in range(2):
            nodes[0].presence.leave("1", STREAM)
        nodes[0].presence.leave("1", "channel:b")
        nodes[0].presence.leave("nobody", STREAM)
        nodes[1].presence.gone("nobody", 0)

        assert nodes[0].said("left") == ["ada"]

    def test_a_stream_that_everybody_left_leaves_nothing_behind(self, world, nodes):
        for node in nodes:
            tab = Tab(node.name, "ada")
            node.come(tab, *STREAMS)
            node.presence.depart(tab.id)

        assert world.leftovers() == []

    def test_entering_again_changes_nothing(self, nodes):
        tab = Tab("1", "ada")
        nodes[0].come(tab)
        nodes[0].presence.enter("1", [STREAM])

        assert nodes[0].said("joined") == ["ada"]
        assert nodes[0].people()["ada"]["connections"] == 1

    def test_a_connection_that_has_ended_does_not_enter(self, nodes):
        """Its packet was still being handled: nobody would take it out again."""
        tab = Tab("1", "ada")
        nodes[0].presence.arrive(tab)
        nodes[0].drop_out(tab)

        answer = nodes[0].presence.enter("1", [STREAM])
        nodes[0].wait(4)

        assert answer == {STREAM: None}
        assert nodes[0].people() == {}
        assert nodes[0].presence.online(["ada"])[0]["online"] is False


class TestOnline:
    def test_who_is_connected_is_online_wherever(self, nodes):
        nodes[0].presence.arrive(Tab("1", "ada"))
        ada, ben = nodes[2].presence.online(["ada", "ben"])

        assert (ada["user_id"], ada["online"], ada["status"]) == ("ada", True, "online")
        assert ada["since"].endswith("Z")
        assert ben == {"user_id": "ben", "online": False, "status": None, "since": None}

    def test_nobody_is_told_of_it(self, nodes):
        """The own stream is watched by oneself alone."""
        tab = Tab("1", "ada")
        nodes[0].presence.arrive(tab)
        nodes[0].presence.set_status("1", "away")
        nodes[0].drop_out(tab)
        nodes[0].wait(4)

        assert nodes[0].told == []

    def test_asking_for_nobody_is_answered(self, nodes):
        assert nodes[0].presence.online([]) == []


class TestStatus:
    def test_it_is_set_wherever_the_connection_is_and_told_once_a_stream(self, nodes):
        nodes[0].come(Tab("1", "ada"), "channel:a", "channel:b")
        nodes[0].told.clear()

        nodes[0].presence.set_status("1", "away")

        assert [(what, data["status"]) for what, data, _ in nodes[0].told] == [
            ("updated", "away")
        ] * 2
        assert nodes[1].people("channel:b")["ada"]["status"] == "away"
        assert nodes[1].presence.online(["ada"])[0]["status"] == "away"

    def test_of_several_tabs_the_one_set_last_shows(self, nodes):
        nodes[0].come(Tab("1", "ada"))
        nodes[1].come(Tab("2", "ada"))
        nodes[0].presence.set_status("1", "busy")
        shown = nodes[2].people()["ada"]["status"]
        nodes[0].presence.leave("1", STREAM)

        assert shown == "busy"
        assert nodes[2].people()["ada"]["status"] == "online"

    def test_the_same_again_is_not_told(self, nodes):
        nodes[0].come(Tab("1", "ada"))
        nodes[0].presence.set_status("1", "online")

        assert nodes[0].said("updated") == []

    def test_it_holds_for_streams_that_are_entered_later(self, nodes):
        nodes[0].come(Tab("1", "ada"))
        nodes[0].presence.set_status("1", "away")
        nodes[0].presence.enter("1", ["channel:b"])

        assert nodes[0].people("channel:b")["ada"]["status"] == "away"


class TestFlicker:
    def test_who_is_back_within_the_grace_was_never_gone(self, nodes):
        """Neither left nor joined, though the new connection is on another node."""
        nodes[1].come(Tab("0", "ben"))
        nodes[0].come(Tab("1", "ada"))
        for node in nodes:
            node.told.clear()

        nodes[0].drop_out(Tab("1", "ada"))
        nodes[0].wait(2.5)
        nodes[1].come(Tab("2", "ada"))
        nodes[0].wait(10)

        assert [node.told for node in nodes] == [[], [], []]
        assert nodes[2].people()["ada"]["connections"] == 1

    def test_who_is_not_back_in_time_has_left(self, nodes):
        nodes[0].come(Tab("1", "ada"))
        nodes[0].drop_out(Tab("1", "ada"))
        nodes[0].wait(2.75)
        before = nodes[0].said("left")
        nodes[0].wait(0.5)

        assert before == []
        assert nodes[0].said("left") == ["ada"]
        assert nodes[1].people() == {}

    def test_who_leaves_on_purpose_leaves_at_once(self, nodes):
        nodes[0].come(Tab("1", "ada"))
        nodes[0].presence.leave("1", STREAM)

        assert nodes[0].said("left") == ["ada"]

    def test_whose_access_ended_leaves_everything_at_once(self, nodes):
        tab = Tab("1", "ada")
        nodes[0].come(tab, "channel:a", "channel:b")
        nodes[0].presence.depart("1")
        nodes[0].drop_out(tab)  # the socket closes a moment later

        assert nodes[0].said("left") == ["ada", "ada"]
        assert nodes[0].presence.online(["ada"])[0]["online"] is False

    def test_unsubscribing_within_the_grace_of_another_tab_keeps_who_is_there(self, nodes):
        nodes[0].come(Tab("1", "ada"))
        nodes[0].come(Tab("2", "ada"))
        nodes[0].drop_out(Tab("1", "ada"))
        nodes[0].presence.leave("2", STREAM)
        seen = nodes[1].people().keys()
        nodes[0].wait(4)

        assert seen == {"ada"}
        assert nodes[0].said("left") == ["ada"]

    def test_those_who_wait_to_leave_are_bounded(self, nodes, monkeypatch):
        """Who connects and drops out all day long must not fill the memory."""
        monkeypatch.setattr("realtime.presence._MOST_LEAVING", 5)
        for number in range(20):
            tab = Tab(str(number), f"user-{number}")
            nodes[0].come(tab)
            nodes[0].drop_out(tab)

        assert len(nodes[0].presence._leaving) == 5
        assert len(nodes[0].presence._places) == 5


class TestCrowds:
    LIMITS = PresenceLimits(lease_s=LEASE_S, roster_most=5)

    @pytest.fixture
    def node(self, world) -> TestNode:
        return TestNode(world, "node", self.LIMITS)

    def crowd(self, node: TestNode, count: int) -> None:
        for number in range(count):
            node.come(Tab(str(number), f"user-{number}"))

    def test_a_crowd_has_a_count_and_no_roster(self, node):
        self.crowd(node, 6)

        assert node.presence.roster(STREAM) == {"count": 6, "people": None}
        assert node.presence.enter("0", [STREAM])[STREAM].people is None

    def test_up_to_the_bound_there_is_a_roster(self, node):
        self.crowd(node, 5)

        assert len(node.people()) == 5

    def test_five_hundred_joins_make_few_signals(self, node):
        self.crowd(node, 500)
        node.wait(1)
        singles, crowds = node.told[:5], node.told[5:]
        node.wait(30)

        assert [data["count"] for _, data, _ in singles] == [1, 2, 3, 4, 5]
        assert 1 <= len(crowds) <= 2
        assert crowds[-1] == ("updated", {"user_id": None, "count": 500}, None)
        assert node.told == [*singles, *crowds]  # and none once all is quiet

    def test_counts_are_told_once_a_second_at_most(self, node):
        self.crowd(node, 10)
        node.wait(1)
        node.told.clear()
        for number in range(40):
            node.come(Tab(f"late {number}", f"late {number}"))
            node.wait(0.25)

        assert 5 <= len(node.told) <= 11
        assert {what for what, _, _ in node.told} == {"updated"}

    def test_who_leaves_a_crowd_is_not_named_but_the_last_five_are(self, node):
        self.crowd(node, 8)
        node.wait(1)
        node.told.clear()
        for number in range(8):
            node.presence.leave(str(number), STREAM)
        node.wait(1)

        assert node.said("left") == [f"user-{number}" for number in range(3, 8)]
        assert node.said("updated") == [None]

    def test_the_last_count_is_true_though_several_nodes_tell_it(self, world):
        """Each counts when it tells: none repeats what it saw long ago."""
        nodes = [TestNode(world, f"node {number}", self.LIMITS) for number in range(3)]
        for number in range(30):
            nodes[number % 3].come(Tab(str(number), f"user-{number}"))
        for node in nodes:
            node.wait(1)

        assert {node.told[-1][1]["count"] for node in nodes} == {30}


class TestDeath:
    def test_the_people_of_a_node_that_died_are_missed_once(self, world, nodes):
        """Whichever node sweeps; all the others look at the same time."""
        nodes[0].come(Tab("1", "ada"), *STREAMS)
        nodes[1].come(Tab("2", "ben"))
        world.end(nodes[0].store)
        lease_passes(nodes[1:])
        told = [node.said("left") for node in nodes[1:]]

        assert told in ([[], ["ada"] * 3], [["ada"] * 3, []])
        assert nodes[1].people().keys() == {"ben"}
        assert nodes[1].presence.online(["ada"])[0]["online"] is False

    def test_it_takes_two_looks(self, world, nodes):
        """After Redis was frozen every lease has ended, and all are about to renew theirs."""
        nodes[0].come(Tab("1", "ada"))
        world.end(nodes[0].store)
        nodes[1].now_s += LEASE_S / 3
        nodes[1].wait(0.25)

        assert nodes[1].said("left") == []
        assert nodes[1].people().keys() == {"ada"}

    def test_who_has_come_back_elsewhere_was_never_gone(self, world, nodes):
        nodes[0].come(Tab("1", "ada"))
        world.end(nodes[0].store)
        nodes[1].come(Tab("2", "ada"))
        lease_passes(nodes[1:])

        assert [node.said("left") for node in nodes] == [[], [], []]
        assert nodes[1].people()["ada"]["connections"] == 1

    def test_a_sweep_takes_nothing_of_the_living(self, world, nodes):
        for number, node in enumerate(nodes):
            node.come(Tab(str(number), f"user-{number}"))
            node.come(Tab(f"{number} of ada", "ada"))
        world.end(nodes[0].store)
        lease_passes(nodes[1:])

        assert nodes[1].people().keys() == {"ada", "user-1", "user-2"}
        assert nodes[1].people()["ada"]["connections"] == 2

    def test_a_sweeper_that_dies_on_the_way_is_followed_by_another(self, world, nodes, monkeypatch):
        for twin in ("memory", "redis"):
            monkeypatch.setattr(f"realtime.presence_{twin}._SWEPT_AT_ONCE", 2)
        for number in range(7):
            nodes[0].come(Tab(str(number), f"user-{number}"))
        name = nodes[0].store._name
        world.end(nodes[0].store)
        first = [change.user_id for change in next(nodes[1].store.sweep(name))]
        rest = [c for part in nodes[2].store.sweep(name) for c in part]

        left = [c.user_id for c in rest if c.what == "left" and c.stream == STREAM]
        assert len(first) == 2
        assert nodes[2].people() == {}
        assert len(set(left)) == len(left)
        assert world.leftovers() == []

    def test_two_who_sweep_at_once_tell_each_one_once(self, world, nodes, monkeypatch):
        for twin in ("memory", "redis"):
            monkeypatch.setattr(f"realtime.presence_{twin}._SWEPT_AT_ONCE", 3)
        for number in range(20):
            nodes[0].come(Tab(str(number), f"user-{number}"))
        name = nodes[0].store._name
        world.end(nodes[0].store)
        sweeps = [nodes[1].store.sweep(name), nodes[2].store.sweep(name)]
        changes = [c for both in zip_longest(*sweeps, fillvalue=[]) for part in both for c in part]

        left = [c.user_id for c in changes if c.what == "left" and c.stream == STREAM]
        assert sorted(left) == sorted(f"user-{number}" for number in range(20))

    def test_a_node_that_was_frozen_comes_back_with_its_people_and_no_doubles(self, world, nodes):
        """Its lease had ended and was swept up; it takes a new one and enters everybody again."""
        nodes[0].come(Tab("1", "ada"))
        nodes[0].come(Tab("2", "ben"))
        world.end(nodes[0].store)
        lease_passes(nodes[1:])
        nodes[0].presence.leave("2", STREAM)
        lease_passes(nodes, LEASE_S)

        person = nodes[1].people()
        assert person.keys() == {"ada"}
        assert person["ada"]["connections"] == 1
        assert nodes[0].said("updated") == [None]  # the count: rosters are to be read again

    def test_it_may_come_back_in_the_midst_of_the_sweep(self, world, nodes, monkeypatch):
        """What it enters again is under a new lease, which nobody sweeps."""
        for twin in ("memory", "redis"):
            monkeypatch.setattr(f"realtime.presence_{twin}._SWEPT_AT_ONCE", 2)
        for number in range(9):
            nodes[0].come(Tab(str(number), f"user-{number}"))
        name = nodes[0].store._name
        world.end(nodes[0].store)
        sweep = nodes[1].store.sweep(name)
        next(sweep)
        nodes[0].now_s += LEASE_S / 3
        nodes[0].wait(0.25)
        for _ in sweep:
            pass
        lease_passes(nodes)

        assert len(nodes[2].people()) == 9
        assert {one["connections"] for one in nodes[2].people().values()} == {1}

    def test_a_node_that_starts_again_under_its_name_leaves_no_ghosts(self, world, nodes):
        nodes[0].come(Tab("1", "ada"))
        world.end(nodes[0].store)
        nodes[0].start()
        nodes[0].come(Tab("2", "ben"))
        lease_passes(nodes)

        assert nodes[0].people().keys() == {"ben"}

    def test_a_node_that_ends_in_order_is_swept_up_soon(self, world, nodes):
        """Its lease ends in moments; who is back elsewhere by then was never gone."""
        nodes[0].come(Tab("1", "ada"))
        nodes[0].come(Tab("2", "ben"))
        nodes[0].presence.stop()
        nodes[1].come(Tab("3", "ada"))
        world.end(nodes[0].store)  # three seconds later
        lease_passes(nodes[1:])

        assert nodes[1].people().keys() == {"ada"}
        assert all_said(nodes, "left") == ["ben"]


class TestLoss:
    def test_after_everything_was_lost_all_are_back_with_the_next_renewal(self, world, nodes):
        for number, node in enumerate(nodes):
            node.come(Tab(str(number), f"user-{number}"), *STREAMS)
            node.presence.set_status(str(number), "busy")
        before = nodes[0].presence.roster(STREAM)
        for node in nodes:
            node.told.clear()
        world.flush()
        lost = nodes[0].presence.roster(STREAM)
        lease_passes(nodes, LEASE_S / 3)

        assert lost["count"] == 0
        assert nodes[0].presence.roster(STREAM) == before
        for node in nodes:
            assert node.said("joined") == []
            assert node.said("left") == []
            assert node.said("updated") == [None] * 3
        assert nodes[0].presence.online(["user-2"])[0]["status"] == "busy"

    @pytest.mark.parametrize("world", ["redis", "redis-cluster"], indirect=True)
    def test_people_of_a_lease_that_was_lost_are_swept_up_when_somebody_looks(self, world, nodes):
        """A failover may keep them and lose the lease: nobody would ever miss its node."""
        nodes[0].come(Tab("1", "ada"))
        world.client.delete(f"{world.prefix}:presence:nodes")
        world.client.delete(f"{world.prefix}:presence:of:{{{nodes[0].store._name}}}")
        for node in nodes[1:]:
            node.now_s += LEASE_S / 3
            node.wait(0.25)
        seen = nodes[1].people().keys()
        lease_passes(nodes[1:])

        assert seen == {"ada"}
        assert nodes[1].people() == {}
        assert all_said(nodes, "left") == ["ada"]


class TestTruth:
    """A walk of many steps on three nodes; after each the roster is what it should be."""

    STEPS = ("come", "come", "come", "tab", "leave", "drop", "wait", "status", "kill", "flush")

    @settings(
        max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(chance=st.randoms(use_true_random=False), steps=st.integers(1, 120))
    def test_the_roster_equals_the_truth(self, world, chance, steps):
        world.flush()  # what a walk that failed has left
        Walk(world, chance).go(steps)


class Walk:
    """The truth beside the stores: who has a connection in which stream, on which node."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.nodes = [TestNode(world, f"node {number}") for number in range(3)]
        self.tabs: dict[str, tuple[TestNode, Tab, set[str]]] = {}
        self.count = 0

    def go(self, steps: int) -> None:
        for _ in range(steps):
            getattr(self, self.rng.choice(TestTruth.STEPS))()
            self.check()
        for name in list(self.tabs):
            self.tabs.pop(name)[0].presence.depart(name)
        lease_passes(self.nodes)
        self.check()
        assert self.world.leftovers() == []

    def check(self) -> None:
        for stream in STREAMS:
            here = [tab for _, tab, streams in self.tabs.values() if stream in streams]
            wanted = {tab.user_id: sum(t.user_id == tab.user_id for t in here) for tab in here}
            people = self.rng.choice(self.nodes).people(stream)
            assert {name: one["connections"] for name, one in people.items()} == wanted

    def come(self) -> None:
        self.count += 1
        user = f"user-{self.rng.randrange(6)}"
        tab = Tab(f"tab {self.count}", user, f"session {self.count % 4}")
        node = self.rng.choice(self.nodes)
        streams = set(self.rng.sample(STREAMS, self.rng.randint(1, 3)))
        node.come(tab, *streams)
        self.tabs[tab.id] = (node, tab, streams)

    def tab(self) -> None:
        if self.tabs:
            node, tab, streams = self.rng.choice(list(self.tabs.values()))
            stream = self.rng.choice(STREAMS)
            node.presence.enter(tab.id, [stream])
            streams.add(stream)

    def leave(self) -> None:
        if self.tabs:
            node, tab, streams = self.rng.choice(list(self.tabs.values()))
            stream = self.rng.choice(STREAMS)
            node.presence.leave(tab.id, stream)
            streams.discard(stream)

    def drop(self) -> None:
        """Drop out for good: the grace passes."""
        if self.tabs:
            node, tab, _ = self.tabs.pop(self.rng.choice(list(self.tabs)))
            node.drop_out(tab)
            node.wait(node.limits.grace_s + 0.25)

    def wait(self) -> None:
        lease_passes(self.nodes, LEASE_S / 3)

    def status(self) -> None:
        if self.tabs:
            node, tab, _ = self.rng.choice(list(self.tabs.values()))
            node.presence.set_status(tab.id, self.rng.choice(["away", "busy"]))

    def kill(self) -> None:
        """A process dies, another takes its name, and two leases pass."""
        node = self.rng.choice(self.nodes)
        self.world.end(node.store)
        self.tabs = {name: kept for name, kept in self.tabs.items() if kept[0] is not node}
        node.start()
        lease_passes(self.nodes)

    def flush(self) -> None:
        self.world.flush()
        lease_passes(self.nodes, LEASE_S / 3)


class TestAtOnce:
    def test_of_many_nodes_that_write_at_once_each_change_is_told_by_one(self, redis_server):
        """Joined and left take turns: nobody joins who is there, or leaves who is not."""
        world = RedisWorld(RedisAddress(redis_server.url).client(), f"test-{new_id()}")
        together = threading.Barrier(4)

        def hammer(number: int) -> list[str | None]:
            store = world.store(f"node-{number}")
            entry = Entry(STREAM, "ada", f"tab {number}", "s", "online", FIRST_MS, FIRST_MS)
            together.wait(30)
            changes = [store.write([Write(entry, leaves)]) for leaves in [False, True] * 200]
            return [change.what for (change,) in changes]

        with ThreadPoolExecutor(4) as pool:
            told = [what for one in pool.map(hammer, range(4)) for what in one]
        left = world.leftovers()
        world.client.close()

        assert told.count("joined") == told.count("left") < 800
        assert [key for key in left if b":of:" not in key] == []


class TestTheRules:
    """Both twins answer a write alike: what changed, and what shows then."""

    def test_the_twins_say_the_same_of_every_write(self, redis_server, rng):
        client = RedisAddress(redis_server.url).client()
        worlds: list[Any] = [MemoryWorld(), RedisWorld(client, f"test-{new_id()}")]
        logs: list[Any] = []
        seed = rng.random()
        for world in worlds:
            walk = random.Random(seed)
            log: list[Any] = []
            nodes = [TestNode(world, f"node {number}") for number in range(2)]
            for step in range(300):
                node, tab = nodes[step % 2], Tab(f"{walk.randrange(8)}", f"u{walk.randrange(3)}")
                if walk.random() < 0.5:
                    node.come(tab)
                elif walk.random() < 0.5:
                    node.presence.set_status(tab.id, f"s{walk.randrange(4)}")
                else:
                    node.presence.depart(tab.id)
                log.append(
                    [(what, data["user_id"], data.get("status"), data["count"])
                     for node in nodes for what, data, _ in node.told]
                )  # fmt: skip
            logs.append(log)
        client.close()

        assert logs[0] == logs[1]
