"""Presence over several nodes, each a process, on a real Redis that is broken at will."""

import logging
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cluster.redis import RedisServer
from tests.delivery.raw import RawSocket
from tests.delivery.test_presence import enter, is_signal, names, signals
from tests.delivery.world import Room
from tests.support import needs
from tests.support.client import RestClient, registered
from tests.support.server import Server
from tests.support.wait import wait_until

_log = logging.getLogger(__name__)
LEASE_S = 3.0
SETTINGS: dict[str, Any] = {
    "SECRET_KEY": "of these tests alone: 0123456789abcdefg",
    "PRESENCE_LEASE_S": LEASE_S,
    "MAX_EVENTS_PER_S": 100_000,
    "SQLITE_SYNCHRONOUS": "OFF",
}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis of these tests' own: they break it."""
    needs.require_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def nodes(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Three nodes on one database. One that a test killed is there again for the next."""
    url = f"sqlite:///{tmp_path_factory.mktemp('database') / 'fanfare.db'}"
    made = [
        Server(
            url,
            instance=tmp_path_factory.mktemp(f"node-{number}"),
            migrate=number == 0,
            REDIS_URL=redis.url,
            **SETTINGS,
        )
        for number in range(3)
    ]
    try:
        for node in made:
            node.start()
        yield made
    finally:
        for node in made:
            node.close()


def is_well(client: RestClient) -> bool:
    return client.get("/presence?users=me").ok and client.raw("GET", "/readyz").ok


@pytest.fixture
def people(redis: RedisServer, nodes: list[Server]) -> Iterator[list[RestClient]]:
    """Three people, each a client of another node; all is well when they begin."""
    if not redis.is_running():
        redis.start()
    for node in nodes:
        if not node.is_running():
            node.start()
    made = [registered(node.url) for node in nodes]
    for one in made:
        wait_until(partial(is_well, one), deadline_s=30, what="a node that is well")
    yield made
    for one in made:
        one.close()


@pytest.fixture
def room(people: list[RestClient]) -> Room:
    """A channel of them all."""
    return Room(people[0], people[1:])


def roster(client: RestClient, room: Room) -> Any:
    return client.get(f"/channels/{room.id}/presence").json()


class TestManyNodes:
    def test_tabs_on_several_nodes_are_one_person(self, nodes, people, room):
        ada, ben, _ = people
        with (
            RawSocket(nodes[0].url, ada.access_token) as hers,
            RawSocket(nodes[1].url, ben.access_token) as one,
            RawSocket(nodes[2].url, ben.access_token) as two,
        ):
            enter(hers, room)
            enter(one, room)
            seen = enter(two, room)
            hers.read_until(is_signal("joined"))
            two.ok("presence.set", {"status": "busy"})
            updated = hers.read_until(is_signal("updated"))[1]["data"]
            one.ok("unsubscribe", {"stream": room.stream})
            # Nodes write and tell without waiting for one another: in order only what was seen.
            wait_until(lambda: roster(ada, room)["people"][1]["connections"] == 1)
            two.ok("unsubscribe", {"stream": room.stream})
            left = hers.read_until(is_signal("left"))[1]["data"]

            assert names(seen) == [ada.id, ben.id]
            assert seen["people"][1]["connections"] == 2
            assert (updated["user_id"], updated["status"]) == (ben.id, "busy")
            assert left == {"user_id": ben.id, "count": 1}
            assert [what for what, _ in signals(hers)] == ["joined", "updated", "left"]

    def test_who_moves_to_another_node_was_never_gone(self, nodes, people, room):
        ada, ben, _ = people
        with RawSocket(nodes[0].url, ada.access_token) as hers:
            enter(hers, room)
            for number in (1, 2, 1, 2):
                with RawSocket(nodes[number].url, ben.access_token) as his:
                    enter(his, room)
            hers.read_until(is_signal("left"))

            assert [what for what, _ in signals(hers)] == ["joined", "left"]

    def test_online_is_known_on_every_node(self, nodes, people):
        ada, ben, _ = people
        with RawSocket(nodes[0].url, ada.access_token):
            wait_until(lambda: ben.get(f"/presence?users={ada.id}").json()["people"][0]["online"])


class TestDeath:
    def test_the_people_of_a_killed_node_are_gone_within_two_leases_once(self, nodes, people, room):
        ada, ben, cyd = people
        watchers = [RawSocket(nodes[n].url, p.access_token) for n, p in ((0, ada), (2, cyd))]
        theirs = [RawSocket(nodes[1].url, ben.access_token) for _ in range(3)]
        for one in [*watchers, *theirs]:
            enter(one, room)
        killed = time.monotonic()
        nodes[1].kill()
        for one in watchers:
            one.read_until(is_signal("left"))
        took = time.monotonic() - killed
        wait_until(lambda: sorted(names(roster(cyd, room))) == sorted([ada.id, cyd.id]))
        told = [[what for what, _ in signals(one)].count("left") for one in watchers]
        for one in [*watchers, *theirs]:
            one.close()
        _log.info("gone after %.1f s of a lease of %.1f s", took, LEASE_S)

        assert told == [1, 1]
        assert took > LEASE_S / 2  # a node that is slow for a moment is not dead

    def test_a_frozen_node_comes_back_with_its_people(self, nodes, people, room):
        """Swept up meanwhile, then entered again; nobody is doubled."""
        ada, ben, _ = people
        with (
            RawSocket(nodes[0].url, ada.access_token) as hers,
            RawSocket(nodes[1].url, ben.access_token) as his,
        ):
            enter(hers, room)
            enter(his, room)
            with nodes[1].frozen():
                hers.read_until(is_signal("left"))
            hers.read_until(is_signal("updated"))
            found = wait_until(lambda: (r := roster(ada, room))["count"] == 2 and r)

            assert {one["connections"] for one in found["people"]} == {1}


class TestRedisInTrouble:
    @pytest.mark.parametrize("trouble", ["emptied", "restarted"])
    def test_after_a_loss_all_are_back_with_the_next_renewal(
        self, redis, nodes, people, room, trouble
    ):
        sockets = [
            RawSocket(node.url, one.access_token) for node, one in zip(nodes, people, strict=True)
        ]
        for one in sockets:
            enter(one, room)
        before = roster(people[0], room)
        if trouble == "emptied":
            redis.cli("FLUSHALL")
        else:
            redis.kill()
            redis.start()
        lost = time.monotonic()
        wait_until(lambda: roster(people[1], room) == before, deadline_s=30)
        took = time.monotonic() - lost
        told = [[what for what, _ in signals(one)] for one in sockets]
        for one in sockets:
            one.close()
        _log.info("back after %.1f s of a lease of %.1f s", took, LEASE_S)

        assert [{"left"} & set(one) for one in told] == [set(), set(), set()]
        assert all("updated" in one for one in told)

    @pytest.mark.parametrize("trouble", ["killed", "frozen"])
    def test_without_redis_all_else_goes_on(self, redis, nodes, people, room, trouble):
        """A roster is not known, and nobody waits long; what was done meanwhile is caught up."""
        ada, ben, _ = people
        with (
            RawSocket(nodes[0].url, ada.access_token) as hers,
            RawSocket(nodes[0].url, ben.access_token) as his,
        ):
            enter(hers, room)
            redis.kill() if trouble == "killed" else redis.freeze()
            try:
                unknown = enter(his, room)
                answers = [
                    ada.get(path).status_code
                    for path in (f"/channels/{room.id}/presence", "/presence?users=me")
                ]
                sync = ada.get(f"/channels/{room.id}/sync").json()["presence"]
                his.ok("presence.set", {"status": "busy"})
                hers.ok("unsubscribe", {"stream": room.stream})
                room.publish(1)
                his.read_until(lambda packet: packet[0] == "event")
            finally:
                redis.start() if trouble == "killed" else redis.thaw()
            found = wait_until(
                lambda: (
                    (r := roster(ada, room)).get("count") == 1
                    and r["people"][0]["user_id"] == ben.id
                    and r
                ),
                deadline_s=30,
            )

            assert unknown is None
            assert answers == [503, 503]
            assert sync is None
            assert found["people"][0]["status"] == "busy"
