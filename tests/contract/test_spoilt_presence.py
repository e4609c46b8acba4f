"""Presence among things in Redis that are none of ours: one spoilt key holds nobody else up."""

import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from core.ids import new_id
from realtime.client_redis import RedisAddress
from tests.contract.presence import FIRST_MS, STREAM, RedisWorld, Tab, TestNode

SEAT = ["lease", "session", "online", FIRST_MS]
GARBAGE = {
    "no JSON": b"{",
    "no UTF-8": b'"\xff"',
    "nested too deeply": b"[" * 2000 + b"]" * 2000,
    "null": b"null",
    "text": b'"ada"',
    "a list": b"[1, 2]",
    "no seats": b'{"since": 1}',
    "no since": b'{"seats": {}}',
    "since is text": b'{"since": "now", "seats": {}}',
    "since is no time": b'{"since": 1e300, "seats": {"x": ["lease", "s", "online", 1]}}',
    "seats are text": b'{"since": 1, "seats": "many"}',
    "a seat is null": b'{"since": 1, "seats": {"x": null}}',
    "a seat is empty": b'{"since": 1, "seats": {"x": []}}',
    "a seat without a time": b'{"since": 1, "seats": {"x": ["lease", "s", "online"]}}',
    "a seat at no time": b'{"since": 1, "seats": {"x": ["lease", "s", "online", "now"]}}',
    "a seat at infinity": b'{"since": 1, "seats": {"x": ["lease", "s", "online", 1e999]}}',
    "a seat without a number": b'{"since": 1, "seats": {"x": ["lease", "s", "online", NaN]}}',
    "a status that is no text": b'{"since": 1, "seats": {"x": ["lease", "s", {}, 1]}}',
    "a status of other letters": b'{"since": 1, "seats": {"x": ["lease", "s", "\xff", 1]}}',
    "a lease that is no text": b'{"since": 1, "seats": {"x": [7, "s", "online", 1]}}',
    "a lease without a name": b'{"since": 1, "seats": {"x": ["", "s", "online", 1]}}',
}


@pytest.fixture(params=["redis_server", "redis_cluster"])
def world(request: pytest.FixtureRequest) -> Iterator[RedisWorld]:
    client = RedisAddress(request.getfixturevalue(request.param).url).client()
    yield RedisWorld(client, f"test-{new_id()}")
    client.close()


@pytest.fixture
def nodes(world: RedisWorld) -> list[TestNode]:
    made = [TestNode(world, f"node-{number}") for number in range(2)]
    for node in made:
        node.wait(0.25)
    return made


@pytest.fixture(params=list(GARBAGE.values()), ids=list(GARBAGE))
def garbage(request: pytest.FixtureRequest) -> Any:
    return request.param


def people_key(world: RedisWorld, stream: str = STREAM) -> str:
    return f"{world.prefix}:presence:{{{stream}}}"


def come_and_go(node: TestNode, name: str, *streams: str) -> None:
    tab = Tab(name, name)
    node.come(tab, *streams)
    node.presence.depart(tab.id)


class TestRecords:
    def test_who_comes_takes_the_place_of_garbage(self, world, nodes, garbage):
        world.client.hset(people_key(world), "ada", garbage)
        nodes[0].come(Tab("1", "ada"))

        assert nodes[1].people()["ada"]["connections"] == 1
        assert nodes[0].said("joined") == ["ada"]

    def test_all_others_of_the_batch_are_written(self, world, nodes, garbage):
        """The same call writes them: a failure of one was a failure of 200."""
        world.client.hset(people_key(world, "channel:b"), "ada", garbage)
        roster = nodes[0].come(Tab("1", "ada"), "channel:a", "channel:b", "channel:c")

        assert [found.count for found in roster.values()] == [1, 1, 1]

    def test_nobody_is_shown_and_it_is_removed(self, world, nodes, garbage):
        world.client.hset(people_key(world), "ada", garbage)
        nodes[0].come(Tab("2", "ben"))
        roster = nodes[1].presence.roster(STREAM)

        assert [person["user_id"] for person in roster["people"]] == ["ben"]
        assert roster["count"] == 1
        assert world.client.hkeys(people_key(world)) == [b"ben"]

    def test_who_asks_for_them_is_told_that_they_are_offline(self, world, nodes, garbage):
        world.client.hset(people_key(world, "user:ada"), "ada", garbage)
        nodes[0].presence.arrive(Tab("2", "ben"))

        online = nodes[1].presence.online(["ada", "ben"])

        assert [one["online"] for one in online] == [False, True]
        assert not world.client.exists(people_key(world, "user:ada"))

    def test_a_node_that_died_is_swept_up_all_the_same(self, world, nodes, garbage):
        nodes[0].come(Tab("1", "ada"))
        nodes[0].come(Tab("2", "ben"))
        world.client.hset(people_key(world), "ada", garbage)
        world.end(nodes[0].store)
        nodes[1].wait(600)

        assert nodes[1].people() == {}
        assert nodes[1].said("left") == ["ben"]
        assert world.leftovers() == []

    def test_one_spoilt_seat_leaves_the_others(self, world, nodes):
        nodes[0].come(Tab("1", "ada"))
        key = people_key(world)
        record = orjson.loads(world.client.hget(key, "ada"))
        record["seats"]["x"] = ["lease", None]
        world.client.hset(key, "ada", orjson.dumps(record))
        seen = nodes[1].people()["ada"]["connections"]
        nodes[1].come(Tab("2", "ada"))

        assert seen == 1
        assert nodes[0].people()["ada"]["connections"] == 2
        assert orjson.loads(world.client.hget(key, "ada"))["seats"].keys() == {"1", "2"}

    def test_a_name_that_is_no_text_is_nobody(self, world, nodes):
        record = orjson.dumps({"since": 1, "seats": {"x": SEAT}})
        world.client.hset(people_key(world), b"\xff", record)
        nodes[0].come(Tab("1", "ada"))

        assert nodes[1].people().keys() == {"ada"}

    def test_whatever_a_record_holds_the_next_one_is_ours(self, world, nodes, rng: random.Random):
        """Valid records, broken at random."""
        good = orjson.dumps({"since": FIRST_MS, "seats": {"1": SEAT, "2": SEAT}})
        for number in range(300):
            broken = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            world.client.hset(people_key(world), "ada", bytes(broken))
            if rng.random() < 0.5:
                assert len(nodes[1].people()) <= 1
            tab = Tab(f"tab {number}", "ada")
            nodes[0].come(tab)
            assert nodes[1].people().keys() == {"ada"}
            nodes[0].presence.depart(tab.id)
            world.client.delete(people_key(world))


class TestKeys:
    """A key of another type, where one of ours should be."""

    @pytest.fixture(params=["string", "list"])
    def spoil(self, request, world: RedisWorld) -> Any:
        def string(key: str) -> None:
            world.client.set(key, "garbage")

        def list_(key: str) -> None:
            world.client.delete(key)
            world.client.rpush(key, "garbage")

        return {"string": string, "list": list_}[request.param]

    def test_a_streams_people_are_written_and_read(self, world, nodes, spoil):
        spoil(people_key(world, "channel:b"))
        roster = nodes[0].come(Tab("1", "ada"), "channel:a", "channel:b", "channel:c")

        assert [found.count for found in roster.values()] == [1, 1, 1]
        assert nodes[1].people("channel:b").keys() == {"ada"}

    def test_it_is_nobody_to_who_only_reads(self, world, nodes, spoil):
        spoil(people_key(world))
        spoil(people_key(world, "user:ada"))

        assert nodes[0].store.counts([STREAM, "channel:b"]) == [0, 0]
        assert nodes[0].presence.roster(STREAM) == {"count": 0, "people": []}
        assert nodes[0].presence.online(["ada"])[0]["online"] is False

    def test_what_is_known_of_a_dead_node_is_swept_up(self, world, nodes, spoil):
        """Its list of people is gone with it: they are found by who reads them."""
        nodes[0].come(Tab("1", "ada"))
        spoil(f"{world.prefix}:presence:of:{{{nodes[0].store._name}}}")
        world.end(nodes[0].store)
        for _ in range(3):
            nodes[1].wait(600)
            nodes[1].people()
            nodes[1].presence.online(["ada"])

        assert nodes[1].people() == {}
        assert world.leftovers() == []

    def test_a_nodes_own_list_is_begun_anew(self, world, nodes, spoil):
        spoil(f"{world.prefix}:presence:of:{{{nodes[0].store._name}}}")
        nodes[0].come(Tab("1", "ada"))
        world.end(nodes[0].store)
        nodes[1].wait(600)

        assert nodes[1].people() == {}

    def test_leases_are_begun_anew(self, world, nodes, spoil):
        nodes[0].come(Tab("1", "ada"))
        nodes[1].come(Tab("2", "ben"))
        spoil(f"{world.prefix}:presence:nodes")
        for _ in range(8):
            for node in nodes:
                node.wait(0.25)
                node.now_s += 200

        assert nodes[0].people().keys() == nodes[1].people().keys() == {"ada", "ben"}
        assert nodes[0].said("left") == nodes[1].said("left") == []

    def test_a_lease_and_a_pair_that_are_no_text_hold_up_nothing(self, world, nodes):
        nodes[0].come(Tab("1", "ada"))
        name = nodes[0].store._name
        world.client.zadd(f"{world.prefix}:presence:nodes", {b"\xff": 0, b"garbage": 0})
        world.client.sadd(f"{world.prefix}:presence:of:{{{name}}}", b"\xff \xfe", b"garbage", b"")
        world.end(nodes[0].store)
        nodes[1].wait(600)

        assert nodes[1].people() == {}
        assert nodes[1].said("left") == ["ada"]
        assert world.leftovers() == []


class TestKeptByOthers:
    def test_what_takes_another_place_meanwhile_is_not_removed(self, world, nodes):
        """Between the read of garbage and its removal somebody came."""
        world.client.hset(people_key(world), "ada", b"garbage")
        store = nodes[0].store
        listed = world.client.hget(people_key(world), "ada")
        nodes[1].come(Tab("1", "ada"))
        store._forget(STREAM, [("ada", listed)])
        store._make_room([("HLEN", people_key(world))])

        assert nodes[0].people().keys() == {"ada"}
