"""What a connection notes: its streams, and how fast it goes. It is kept small, and right."""

import random
from dataclasses import dataclass

import pytest

from core.callers import Caller
from core.metrics import CONNECTIONS
from realtime.connection import Connection, ConnectionLimits
from realtime.connections import Connections
from realtime.limits import Bucket

LIMITS = ConnectionLimits(max_queued_bytes=1000, max_events_per_s=10, max_subscriptions=100)


def connection() -> Connection:
    caller = Caller("u", "ada", "s", False, 2**53)
    return Connection(None, caller, LIMITS)  # type: ignore[arg-type]


class TestStreams:
    def test_they_are_those_of_a_set(self, rng: random.Random):
        """Through few and many, and whatever is named twice or was never there."""
        one, model = connection(), set[str]()
        names = [f"channel:{number}" for number in range(30)]
        for _ in range(2000):
            some = rng.sample(names, rng.choice([0, 1, 1, 2, 10]))
            if rng.random() < 0.5:
                one.watch(some)
                model.update(some)
            else:
                one.unwatch(some)
                model.difference_update(some)

            assert len(one.streams) == len(model)
            assert set(one.streams) == model
            assert all((name in one.streams) == (name in model) for name in names)

    def test_few_take_no_set(self):
        one = connection()
        one.watch(["user:u", "channel:1", "channel:2", "channel:3"])
        one.unwatch(["channel:2"])

        assert isinstance(one.streams, tuple)


@dataclass
class Plain:
    """A bucket as it is told of: so many turns are left, and more as time goes by."""

    per_s: float
    most: float
    left: float
    at_s: float = 0.0

    def take(self, now_s: float, turns: int) -> float:
        self.left = min(self.most, self.left + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.left < turns:
            return (turns - self.left) / self.per_s
        self.left -= turns
        return 0.0


class TestABucket:
    def test_it_is_as_if_its_turns_were_counted(self, rng: random.Random):
        for per_s, most in ((4, 0), (4, 16), (1024, 2048), (0.5, 4)):
            bucket, plain, now_s = Bucket(per_s, 0.0, most), Plain(per_s, most or per_s, 0), 0.0
            plain.left = plain.most
            for _ in range(2000):
                # In eighths, which are no less exact however they are added up.
                now_s += rng.choice([0, 0, 0.125, 0.25, 8])
                turns = rng.choice([0, 1, 1, 3, 8])

                assert bucket.take(now_s, turns) == plain.take(now_s, turns)
                if rng.random() < 0.2:
                    bucket.give_back(1)
                    plain.left += 1

    def test_presence_has_none_until_it_is_wanted(self):
        one = connection()
        before = one._presence_bucket

        assert before is None
        assert one.presence_bucket is one.presence_bucket


class TestConnections:
    def test_they_are_found_by_name_and_user(self, rng: random.Random):
        known: Connections[Connection] = Connections(CONNECTIONS)
        made: dict[str, Connection] = {}
        for number in range(300):
            if made and rng.random() < 0.4:
                name = rng.choice(list(made))
                assert known.remove(name) is made.pop(name)
                assert known.remove(name) is None
            else:
                made[str(number)] = connection()
                known.add(str(number), made[str(number)])

            assert set(known.of_user("u")) == set(made.values())
            assert known.count("u") == len(known) == len(made)
            assert known.latest("u") is (list(made.values())[-1] if made else None)
        CONNECTIONS.set(0)

    @pytest.mark.parametrize("stranger", ["", "v"])
    def test_a_stranger_has_none(self, stranger):
        known: Connections[Connection] = Connections(CONNECTIONS)

        assert known.latest(stranger) is None
        assert known.of_user(stranger) == []
