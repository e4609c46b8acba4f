"""One log by four doors: socket, Server-Sent Events, long-poll, and pages of REST.

Readers move between doors and between three nodes, are cut off, and lose their nodes. They keep
where they stand and nothing else, and each sees what the log holds: all of it, once, in order.
"""

import random
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import requests

from tests.delivery.world import Core, Room, trim
from tests.fallback.doors import Stream
from tests.fallback.nomad import DOORS, LAST, Nomad
from tests.nodes.load import MADE, Publisher
from tests.nodes.world import Trio
from tests.support.client import RestClient, registered
from tests.support.wait import wait_until

ROOMS = 3
READERS = 8
KILLS = 3
DEADLINE_S = 240.0


class Writer(threading.Thread):
    """Publishes by REST, each with a key, on one node after another, and insists on an answer."""

    def __init__(self, urls: list[str], token: str, rooms: list[Room], name: str) -> None:
        super().__init__(daemon=True)
        self.keys: list[tuple[str, str]] = []
        self.stop = threading.Event()
        self._clients = [RestClient(url, token=token) for url in urls]
        self._rooms = rooms
        self._name = name
        self._at = 0

    def run(self) -> None:
        """Publish until told to stop."""
        for number in count():
            if self.stop.wait(0.03):
                return
            self.insist(f"{self._name}-{number}", self._rooms[number % len(self._rooms)], MADE)

    def insist(self, key: str, room: Room, type_: str) -> None:
        """Publish one event until a node answers that it is in the log."""
        body = {"type": type_, "data": {"key": key}, "key": key}
        end_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < end_s:
            try:
                answer = self._clients[self._at % 3].post(f"/channels/{room.id}/events", body)
            except requests.RequestException:
                answer = None
            if answer is not None and answer.status_code < 500:
                assert answer.status_code in (200, 201), answer.text
                self.keys.append((room.stream, key))
                return
            self._at += 1
        raise AssertionError(f"{key} was not taken in time")


@pytest.fixture
def owner(breakable: Trio) -> Iterator[RestClient]:
    with registered(breakable.urls[0]) as client:
        yield client


class TestEveryReaderSeesTheLog:
    def test_by_any_door_at_any_node_over_any_cut(
        self, breakable: Trio, owner: RestClient, rng: random.Random, tell: Any
    ) -> None:
        """Nothing lost, nothing doubled, in order; the run's seed repeats all choices."""
        rooms = [Room(owner) for _ in range(ROOMS)]
        token = str(owner.access_token)
        starts = {room.stream: room.position(0) for room in rooms}
        readers = [
            Nomad(breakable.urls, token, starts, rng.randrange(2**32)) for _ in range(READERS)
        ]
        writer = Writer(breakable.urls, token, rooms, "rest")
        publisher, stop = Publisher("1", breakable, token, rooms), threading.Event()
        publishing = threading.Thread(target=publisher.run, args=(stop,), daemon=True)
        for reader in readers:
            reader.end_s = time.monotonic() + DEADLINE_S
        for thread in (*readers, writer, publishing):
            thread.start()
        for _ in range(KILLS):
            wait_for_more(readers, 60)
            end_one(breakable, rng)
        wait_for_more(readers, 60)
        stop.set()
        writer.stop.set()
        publishing.join(DEADLINE_S)
        writer.join(DEADLINE_S)
        for number, room in enumerate(rooms):
            writer.insist(f"last-{number}", room, LAST)
        for reader in readers:
            reader.finish()

        logs = {room.stream: room.log() for room in rooms}
        keyed = [(s, e["key"]) for s, log in logs.items() for e in log if e["key"] is not None]
        published = [(stream, key) for key, (stream, _offset) in publisher.acked.items()]
        assert sorted(keyed) == sorted(writer.keys + published)
        assert [reader.resets for reader in readers] == [[]] * READERS
        for reader in readers:
            assert reader.seen == logs
        stays = [stay for reader in readers for stay in reader.stays]
        counts = {door: sum(stay[0] == door for stay in stays) for door in DOORS}
        tell(
            f"{sum(map(len, logs.values()))} events to {READERS} readers: {counts} stays, "
            f"{sum(reader.cuts for reader in readers)} of them cut; nothing lost or doubled"
        )
        assert {stay[1] for stay in stays} == {0, 1, 2}
        assert all(counts.values())


def wait_for_more(readers: list[Nomad], number: int) -> None:
    """Wait until each reader has seen so many more events, or failed."""
    goals = [seen_by(reader) + number for reader in readers]

    def are_there() -> bool:
        pairs = zip(readers, goals, strict=True)
        return all(reader.error or seen_by(reader) >= goal for reader, goal in pairs)

    wait_until(are_there, deadline_s=DEADLINE_S, every_s=0.1, what="the readers")
    for reader in readers:
        if reader.error is not None:
            raise reader.error


def seen_by(reader: Nomad) -> int:
    """Count what a reader has seen."""
    return sum(len(events) for events in reader.seen.values())


def end_one(trio: Trio, rng: random.Random) -> None:
    """Kill a node, or have it end in order, and start it again."""
    node = rng.choice(trio.nodes)
    if rng.random() < 0.7:
        node.kill()
    else:
        node.stop(deadline_s=60)
    node.start()
    node.wait_until_ready()


class TestTrimmed:
    def test_what_is_gone_is_told_at_every_door(
        self, busy_core: Core, ada: RestClient, rng: random.Random
    ) -> None:
        """From each offset before the edge a reset, and from the edge on all that is left."""
        rooms = [Room(ada), Room(ada)]
        for room in rooms:
            room.publish(9)
        oldest = trim(busy_core, rooms[0], 4)
        for after in (0, oldest - 2, oldest - 1, oldest):
            readers = {door: self.nomad(ada, rooms, after, rng) for door in DOORS}
            for door, reader in readers.items():
                reader.visit(door, ada.url)

            told = {door: [reset["reason"] for reset in r.resets] for door, r in readers.items()}
            expected = ["trimmed"] if after < oldest - 1 else []
            assert told == dict.fromkeys(DOORS, expected)
            left = list(range(after + 1, rooms[0].top + 1)) if not expected else []
            for reader in readers.values():
                for reset in reader.resets:
                    assert (reset["oldest"], reset["top"]) == (oldest, rooms[0].position(11))
                assert [event["offset"] for event in reader.seen[rooms[0].stream]] == left
                assert len(reader.seen[rooms[1].stream]) == rooms[1].top

    @pytest.mark.parametrize("limit", range(1, 13))
    def test_a_reset_that_finds_no_room_is_told_by_the_next_poll(
        self, busy_core: Core, ada: RestClient, limit: int
    ) -> None:
        """However many events of another stream come first."""
        plain, trimmed = Room(ada), Room(ada)
        for room in (plain, trimmed):
            room.publish(9)
        trim(busy_core, trimmed, 4)
        query: dict[str, Any] = {
            "streams": f"{plain.stream}@0/{plain.epoch},{trimmed.stream}@0/{trimmed.epoch}"
        }
        events, resets = [], []
        for _ in range(15):
            told = ada.get("/events", params={**query, "limit": limit}).json()
            events += [event["offset"] for event in told["events"]]
            resets += [reset["reason"] for reset in told["resets"]]
            query = {"cursor": told["cursor"], "wait": 0}

        assert resets == ["trimmed"]
        assert events == list(range(1, 12))
        assert told["positions"][trimmed.stream] == trimmed.position(11)

    def test_a_stream_that_is_cut_before_its_reset_is_told_of_it_again(
        self, busy_core: Core, ada: RestClient
    ) -> None:
        """The cursor of `ready` stands where the reader did, not behind what it was not told."""
        room = Room(ada)
        room.publish(9)
        trim(busy_core, room, 4)
        with Stream(ada, streams=f"{room.stream}@1/{room.epoch}") as stream:
            ready = stream.read_until("ready")
            early = stream.last_id
        with Stream(ada, last_id=early) as again:
            told = again.read_until("reset")
            late = again.last_id
        with Stream(ada, last_id=late) as last:
            room.publish(1)
            event = last.read_until("event")

        assert ready["positions"] == {room.stream: room.position(1)}
        assert told["reason"] == "trimmed"
        assert event["offset"] == 12
        assert [name for name, _data in last.told] == ["ready", "event"]

    @staticmethod
    def nomad(who: RestClient, rooms: list[Room], after: int, rng: random.Random) -> Nomad:
        """Make one that begins at such an offset of the first room, and is not cut off."""
        starts = {rooms[0].stream: rooms[0].position(after), rooms[1].stream: rooms[1].position(0)}
        made = Nomad([who.url], str(who.access_token), starts, rng.randrange(2**32))
        made.is_calm = True
        made.goals = {room.stream: room.top for room in rooms}
        return made
