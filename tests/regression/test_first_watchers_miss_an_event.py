"""Two clients came at once to a stream that the node did not follow yet, and one missed an event.

The first was waiting for the log when an event was committed: its node had no top yet, so the
event was kept. The second read a newer page, and the node began at the top of that: what was kept
lay below and was dropped, though the first one's page ended before it. No comparison could tell.
A client whose access ended in that moment also made the others' streams fail, as `internal`.
"""

from core.positions import Position
from core.services.history import Wish
from tests.delivery.test_node import OTHER, STREAM, FakeWatcher, World, upto


class TestFirstWatchers:
    def test_what_was_committed_between_their_reads_reaches_both(self):
        world = World()
        world.publish(3)
        first, second = FakeWatcher("first"), FakeWatcher("second")
        world.log.during = [
            lambda: world.publish(1),
            lambda: world.subscribe(second, after=0),
        ]

        world.subscribe(first, after=0)
        while first.outcomes[STREAM].more:
            world.subscribe(first, after=first.outcomes[STREAM].position.offset)
        world.publish(1)

        assert first.offsets() == upto(5)
        assert second.offsets() == upto(5)

    def test_access_to_one_of_two_streams_lost_meanwhile_leaves_the_other(self):
        world = World()
        for stream in (STREAM, OTHER):
            world.publish(2, stream)
        watcher = FakeWatcher()
        world.log.during = [lambda: world.node.unsubscribe(watcher, STREAM)]
        wishes = {stream: Wish(Position(0, "e1")) for stream in (STREAM, OTHER)}

        world.node.subscribe(watcher, wishes, 500, watcher.answer)
        for stream in (STREAM, OTHER):
            world.publish(1, stream)

        assert watcher.offsets(STREAM) == []
        assert watcher.offsets(OTHER) == upto(3)
