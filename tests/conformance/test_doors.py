"""All doors show the same log: who moves between them loses nothing and sees nothing twice."""

from itertools import pairwise

import pytest

from tests.conformance.doors import DOORS, read_to
from tests.conformance.people import numbers, offsets

MOVES = [(a, b) for a in DOORS for b in DOORS if a != b]


class TestTheSameAtEveryDoor:
    def test_the_same_list(self, ada, bob, room):
        """What is published while all of them watch, and what was before."""
        room.publish(5)
        at = room.top()
        followers = [
            door(who, {room.stream: {**at, "offset": 0}}, node=node)
            for node, (door, who) in enumerate((d, w) for d in DOORS.values() for w in (ada, bob))
        ]
        try:
            room.publish(10, 5)
            seen = [read_to(one, room.stream, at["offset"] + 10) for one in followers]
        finally:
            for one in followers:
                one.close()

        assert all(events == seen[0] for events in seen)
        assert offsets(seen[0]) == list(range(1, at["offset"] + 11))

    @pytest.mark.parametrize("move", MOVES, ids="_to_".join)
    def test_a_move_loses_nothing_and_doubles_nothing(self, ada, room, move):
        """By the positions alone; events come before, during and after the move."""
        first = DOORS[move[0]](ada, {room.stream: room.top()})
        room.publish(3)
        seen = read_to(first, room.stream, 4)
        at = dict(first.positions[room.stream])
        first.close()
        room.publish(2, 3)
        second = DOORS[move[1]](ada, {room.stream: at}, node=1)
        try:
            room.publish(2, 5)
            seen += read_to(second, room.stream, 9)
        finally:
            second.close()

        assert numbers(seen) == [0, 1, 2, 3, 4, 5, 6]

    def test_moved_at_random_the_list_stays_the_same(self, ada, room, rng):
        """From door to door and from node to node, while somebody writes."""
        at, seen, made = room.top(), [], 0
        names = [rng.choice(list(DOORS)) for _ in range(12)]
        for node, name in enumerate(names):
            follower = DOORS[name](ada, {room.stream: at}, node=node)
            count = rng.randrange(5)
            room.publish(count, made, node=node + 1)
            made += count
            seen += read_to(follower, room.stream, at["offset"] + rng.randrange(count + 1))
            at = dict(follower.positions[room.stream])
            follower.close()
        last = DOORS["pages"](ada, {room.stream: at})
        seen += read_to(last, room.stream, room.top()["offset"])

        assert numbers(seen) == list(range(made)), names
        assert all(b - a == 1 for a, b in pairwise(offsets(seen)))
