"""What a poll does with the answers of the node that no outside call can bring about at will."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from core.callers import Caller
from core.follow import Ask
from core.positions import Position
from core.services.history import Wish
from realtime.follower import Follower
from realtime.followers import FollowerLimits, FollowerParts, Followers
from realtime.node import Outcome

STREAM = "channel:a"
ADA = Caller("ada", "ada", "session", False, 2**53)
HERE = Position(7, "00c0ffee")


class HastyNode:
    """Says at first that there is more to read, and gives none: another came at the same time."""

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
        self.watchers: list[Follower] = []

    def tell_controls_to(self, listener: object) -> None:
        """Nobody's access ends here."""

    def subscribe(
        self,
        watcher: Follower,
        wishes: Mapping[str, Wish],
        _limit: int,
        answer: Callable[[dict[str, Outcome]], None],
        **_more: object,
    ) -> None:
        self.wishes.append(wishes[STREAM])
        is_first = len(self.wishes) == 1
        answer({STREAM: Outcome(STREAM, HERE, [], is_first, None)})
        if not is_first:
            self.watchers.append(watcher)

    def unsubscribe(self, watcher: Follower, _stream: str) -> None:
        """It leaves."""


class Lookups:
    """Everybody may read everything."""

    def readable_streams(self, _caller: Caller, asked: Mapping[str, object]) -> dict[str, str]:
        return {name: name for name in asked}


@pytest.fixture
def node() -> HastyNode:
    return HastyNode()


@pytest.fixture
def doors(node: HastyNode) -> Followers:
    limits = FollowerLimits(max_queued_bytes=1_000_000, max_per_user=5)
    nothing = cast("Any", None)
    parts = FollowerParts(
        cast("Any", node), nothing, nothing, cast("Any", Lookups()), nothing, "n1", limits
    )
    return Followers(parts)


class TestAPollThatIsAskedToReadOn:
    def test_does_so_before_it_waits(self, node: HastyNode, doors: Followers) -> None:
        """Else it would wait for a stream that it does not watch."""
        ask = Ask({STREAM: HERE}, is_named=False, history=0, limit=500, wait_s=0.0)

        answer = doors.poll(ADA, ask, {})

        assert node.wishes == [Wish(HERE), Wish(HERE)]
        assert len(node.watchers) == 1
        assert answer.positions == {STREAM: HERE}
