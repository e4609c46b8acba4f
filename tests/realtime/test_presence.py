"""A node's presence on a store that is slow, away, or answers at the worst moment."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import eventlet
import pytest

from cluster.redis import RedisServer
from core.errors import UnavailableError
from realtime.client_redis import RedisAddress
from realtime.presence import Presence, PresenceLimits
from realtime.presence_memory import MemoryPeople, MemoryPresence
from realtime.presence_redis import RedisPresence
from realtime.presence_store import Change, Renewed, Roster, Write
from tests.contract.presence import FIRST_MS, LEASE_S, STREAM, MemoryWorld, Tab, TestNode, at_once
from tests.support import needs
from tests.support.tree import imports


class ShakyStore(MemoryPresence):
    """May be away; `during` runs in the midst of the next write, while its writer waits."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.is_away = False
        self.during: list[Callable[[], object]] = []
        self.calls = 0
        self.batches: list[int] = []

    def _answer(self) -> None:
        self.calls += 1
        if self.is_away:
            raise UnavailableError("away")

    def write(self, writes: Sequence[Write]) -> list[Change]:
        waiting, self.during = self.during, []
        self.batches.append(len(writes))
        for work in waiting:
            work()
        eventlet.sleep(0)
        self._answer()
        return super().write(writes)

    def rosters(self, streams: Sequence[str], most: int) -> list[Roster]:
        self._answer()
        return super().rosters(streams, most)

    def counts(self, streams: Sequence[str]) -> list[int]:
        self._answer()
        return super().counts(streams)

    def renew(self, *, afresh: bool = False) -> Renewed:
        self._answer()
        return super().renew(afresh=afresh)


class ShakyWorld(MemoryWorld):
    """A store that shakes, for each node."""

    def store(self, node_id: str) -> ShakyStore:
        return ShakyStore(self.people, node_id, LEASE_S)


@pytest.fixture
def world() -> ShakyWorld:
    return ShakyWorld()


@pytest.fixture
def node(world: ShakyWorld) -> TestNode:
    made = TestNode(world, "node")
    made.presence._spawn = eventlet.spawn_n
    made.wait(0.25)
    return made


@pytest.fixture
def other(world: ShakyWorld) -> TestNode:
    made = TestNode(world, "other")
    made.wait(0.25)
    return made


def settle(node: TestNode) -> None:
    """Let everything that waits be written."""
    presence, quiet = node.presence, 0
    turn: Any = presence._turn
    with eventlet.Timeout(30):
        while quiet < 20:  # rounds in which nobody had anything to write
            eventlet.sleep(0)
            is_busy = presence._todo or presence._is_settling or turn.locked()
            quiet = 0 if is_busy else quiet + 1


class TestRaces:
    def test_who_ends_while_entering_is_taken_out_again(self, node):
        tab = Tab("1", "ada")
        node.presence.arrive(tab)
        settle(node)
        node.store.during = [lambda: node.drop_out(tab)]
        node.presence.enter("1", [STREAM])

        node.wait(4)
        settle(node)

        assert node.people() == {}
        assert node.presence.online(["ada"])[0]["online"] is False

    def test_who_loses_access_while_entering_does_not_stay(self, node):
        tab = Tab("1", "ada")
        node.presence.arrive(tab)
        settle(node)
        node.store.during = [lambda: node.presence.leave("1", STREAM)]

        node.presence.enter("1", [STREAM])
        settle(node)

        assert node.people() == {}
        assert node.said("left") == ["ada"]

    def test_who_enters_again_while_leaving_stays(self, node):
        tab = Tab("1", "ada")
        node.come(tab)
        node.store.during = [lambda: eventlet.spawn_n(node.presence.enter, "1", [STREAM])]

        node.presence.leave("1", STREAM)
        settle(node)

        assert node.people().keys() == {"ada"}

    def test_who_comes_back_while_the_old_connection_is_leaving_was_never_gone(self, node):
        """The grace is over at the very moment when the new one comes."""
        old, new = Tab("1", "ada"), Tab("2", "ada")
        node.come(old)
        node.told.clear()
        node.drop_out(old)
        node.store.during = [lambda: node.presence.depart("1")]

        node.come(new)
        settle(node)

        assert node.people()["ada"]["connections"] == 1
        assert node.told == []

    def test_everybody_gets_a_roster_with_oneself_however_many_come_at_once(self, node):
        """They are written together: few calls, and nobody reads before the own write."""
        found: list[Any] = []

        def come(name: str) -> None:
            roster = node.come(Tab(name, name))[STREAM]
            found.append(name in {person.user_id for person in roster.people})

        node.store.batches.clear()
        threads = [eventlet.spawn(come, f"user-{number}") for number in range(150)]
        with eventlet.Timeout(30):
            for thread in threads:
                thread.wait()

        assert found == [True] * 150
        assert len(node.store.batches) < 30
        assert max(node.store.batches) <= 200

    def test_a_lease_that_ends_during_a_write_loses_nobody(self, world, node, other):
        node.come(Tab("1", "ada"))
        node.store.during = [lambda: world.people.leases.update({node.store._name: 0})]
        node.come(Tab("2", "ben"))
        for _ in range(8):
            for one in (node, other):
                one.now_s += LEASE_S / 3
                one.wait(0.25)

        assert other.people().keys() == {"ada", "ben"}


class TestAway:
    def test_all_calls_are_answered_and_what_was_wanted_is_written_later(self, node, other):
        tabs = [Tab(str(number), f"user-{number}") for number in range(3)]
        node.come(tabs[0])
        node.come(tabs[1])
        node.store.is_away = True

        unknown = node.come(tabs[2])
        node.presence.set_status("0", "busy")
        node.presence.leave("1", STREAM)
        for _ in range(5):
            with pytest.raises(UnavailableError):
                node.wait(LEASE_S)
        settle(node)
        node.store.is_away = False
        for _ in range(4):
            node.wait(1.5)
            for one in (node, other):
                one.now_s += LEASE_S / 3
                one.wait(0.25)

        assert unknown == {STREAM: None}
        assert other.people().keys() == {"user-0", "user-2"}
        assert other.people()["user-0"]["status"] == "busy"

    def test_a_single_write_that_failed_is_made_good_within_moments(self, node):
        """Nobody knows whether it was done: all is written again, under a new lease."""
        node.come(Tab("1", "ada"))
        node.store.is_away = True
        node.come(Tab("2", "ben"))
        node.store.is_away = False

        node.wait(1)

        assert node.people().keys() == {"ada", "ben"}

    def test_after_an_answer_that_nobody_expected_all_is_written_again(self, node, other):
        """What was taken off the list of what is to be done is not lost with it."""
        node.come(Tab("1", "ada"))
        tab = Tab("2", "ben")
        node.presence.arrive(tab)
        settle(node)
        node.store.during = [lambda: 1 / 0]
        with pytest.raises(ZeroDivisionError):
            node.presence.enter("2", [STREAM])
        seen_before = other.people().keys()

        node.wait(1)
        settle(node)

        assert seen_before == {"ada"}
        assert other.people().keys() == {"ada", "ben"}

    def test_who_is_in_no_channel_takes_no_dict(self, node):
        """There is a place for each connection, and most are in none."""
        tab = Tab("1", "ada")
        node.presence.arrive(tab)
        settle(node)
        (place,) = node.presence._places.values()
        before = place.others
        node.presence.enter("1", [STREAM])
        within = place.streams()
        node.presence.leave("1", STREAM)

        assert (before, place.others) == (None, None)
        assert within == ["user:ada", STREAM]
        assert place.streams() == ["user:ada"]

    def test_the_places_of_one_user_share_its_streams_name(self, node):
        for number in range(2):
            node.presence.arrive(Tab(str(number), "ada"))
        first, second = node.presence._places.values()

        assert first.own is second.own

    def test_what_waits_for_a_store_that_is_away_has_a_bound(self, node):
        node.store.is_away = True
        for number in range(3000):
            tab = Tab(str(number), "ada")
            node.presence.arrive(tab)
            node.presence.depart(tab.id)
            eventlet.sleep(0)
        settle(node)

        assert node.presence._places == {}
        assert len(node.presence._todo) <= 200

    def test_the_loop_lives_on_whatever_happens(self, node, monkeypatch):
        seen: list[float] = []

        def tick(now_s: float) -> None:
            seen.append(now_s)
            if len(seen) == 3:
                node.presence._stopped = True
            raise [UnavailableError("away"), ValueError("a bug"), KeyError("more")][len(seen) - 1]

        monkeypatch.setattr(node.presence, "tick", tick)
        monkeypatch.setattr("realtime.presence._TICK_S", 0)
        with eventlet.Timeout(30):
            node.presence.run_for_ever(itertools.count().__next__)

        assert seen == [0, 1, 2]


class TestCost:
    def test_it_asks_no_database(self):
        """To enter costs no query: what could ask for one is not even imported."""
        found = {
            one.imported
            for one in imports()
            if one.importer.startswith("realtime.presence") and one.imported.startswith("core.s")
        }

        assert found == set()

    def test_at_rest_it_is_one_call_a_renewal_however_many_are_there(self, node):
        for number in range(1000):
            node.come(Tab(str(number), f"user-{number}"))
        node.wait(3)
        node.store.calls = 0
        for _ in range(10):
            node.now_s += LEASE_S / 3
            node.wait(0.25)

        assert node.store.calls == 10


class TestTwoLeases:
    @staticmethod
    def make_nodes(
        clock: list[float], told: list[tuple[float, str]], lease_s: float
    ) -> list[Presence]:
        people = MemoryPeople(lambda: int(clock[0] * 1000) + FIRST_MS)

        def emit(signal: Any, but: Any = None) -> None:
            told.append((clock[0], signal.type))

        stores = [MemoryPresence(people, f"node-{number}", lease_s) for number in range(3)]
        limits = PresenceLimits(lease_s=lease_s)
        return [Presence(store, emit, limits, spawn=at_once) for store in stores]

    def test_the_people_of_a_dead_node_are_missed_within_two_leases(self):
        """By a clock of the test's own: whenever in its lease the node dies."""
        lease_s = 15
        for died_at_s in (20.25, 22.0, 24.75):
            clock = [0.0]
            told: list[tuple[float, str]] = []
            nodes = self.make_nodes(clock, told, lease_s)
            nodes[0].arrive(Tab("1", "ada"))
            nodes[0].enter("1", [STREAM])
            while clock[0] < 80:
                clock[0] += 0.25
                for node in nodes if clock[0] < died_at_s else nodes[1:]:
                    node.tick(clock[0])

            ((at_s, what),) = told[1:]
            assert what == "presence.left"
            assert lease_s / 2 < at_s - died_at_s <= 2 * lease_s


class TestRedisThatHangs:
    @pytest.fixture
    def redis(self) -> Iterator[RedisServer]:
        needs.require_redis()
        with RedisServer() as server:
            yield server

    def test_it_is_waited_for_once_and_then_not_asked_for_a_while(self, redis, monkeypatch):
        """Of a hundred who subscribe while Redis is frozen, one waits for the timeout."""
        monkeypatch.setattr("realtime.client_redis.TIMEOUT_S", 0.3)
        monkeypatch.setattr("realtime.presence_redis._REST_S", 600)
        asked: list[int] = []
        store = RedisPresence(
            RedisAddress(redis.url).client, prefix="test", node_id="node", lease_s=LEASE_S
        )
        send = store._send

        def count(commands: Any) -> Any:
            asked.append(len(commands))
            return send(commands)

        monkeypatch.setattr(store, "_send", count)
        assert store.counts([STREAM]) == [0]

        with redis.frozen():
            for _ in range(100):
                with pytest.raises(UnavailableError):
                    store.counts([STREAM])

        assert len(asked) == 2

    def test_a_redis_that_is_not_there_at_the_start_is_found_later(self, redis, monkeypatch):
        monkeypatch.setattr("realtime.presence_redis._REST_S", 0)
        redis.kill()
        store = RedisPresence(
            RedisAddress(redis.url).client, prefix="test", node_id="node", lease_s=LEASE_S
        )
        with pytest.raises(UnavailableError):
            store.renew()
        redis.start()

        assert store.renew().is_new
        assert not store.renew().is_new

    def test_scripts_that_redis_forgot_are_sent_again(self, redis):
        store = RedisPresence(
            RedisAddress(redis.url).client, prefix="test", node_id="node", lease_s=LEASE_S
        )
        store.renew()
        redis.cli("SCRIPT", "FLUSH")

        assert not store.renew().is_new
        assert [roster.count for roster in store.rosters([STREAM], 10)] == [0]
