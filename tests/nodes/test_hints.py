"""A node hears of what it has watchers for, and of nothing else: counted at Redis and at nodes."""

from contextlib import ExitStack
from typing import Any

from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.nodes.world import Trio
from tests.support.client import RestClient

HINTS = "fanfare_bus_hints_total"
PUBLISHES = 60


def hints(trio: Trio) -> list[float]:
    """Count the hints that each node has heard."""
    return [trio.metric(number, HINTS) for number in range(3)]


def watch(stack: ExitStack, trio: Trio, number: int, who: RestClient, room: Room) -> Any:
    """Watch a room on a node."""
    connection = stack.enter_context(RawSocket(trio.urls[number], who.access_token))
    reader = Reader(room.stream)
    reader.subscribe(connection)
    return connection, reader


class TestWhoHears:
    def test_only_nodes_with_a_watcher_hear_of_a_stream(self, three_nodes, ada):
        """Whoever publishes: what passes by costs the others nothing."""
        room = Room(ada)
        with ExitStack() as stack:
            connection, reader = watch(stack, three_nodes, 1, ada, room)
            three_nodes.wait_until_heard(room.stream, 1)
            before = hints(three_nodes)
            room.publish(PUBLISHES)
            reader.read_to(connection, room.top)
            heard = [new - old for old, new in zip(before, hints(three_nodes), strict=True)]

        assert heard == [0, PUBLISHES, 0]

    def test_a_stream_that_nobody_watches_is_heard_by_nobody(self, three_nodes, ada):
        room, watched = Room(ada), Room(ada)
        with ExitStack() as stack:
            connection, reader = watch(stack, three_nodes, 2, ada, watched)
            three_nodes.wait_until_heard(watched.stream, 1)
            before = hints(three_nodes)
            room.publish(PUBLISHES)
            watched.publish(1)  # once this one has come, all before it would have
            reader.read_to(connection, watched.top)
            heard = [new - old for old, new in zip(before, hints(three_nodes), strict=True)]

        assert three_nodes.hearers(room.stream) == 0
        assert heard == [0, 0, 1]

    def test_ten_watchers_of_a_node_cost_one_hint(self, three_nodes, ada):
        room = Room(ada)
        with ExitStack() as stack:
            all_ = [watch(stack, three_nodes, 1, ada, room) for _ in range(10)]
            three_nodes.wait_until_heard(room.stream, 1)
            before = hints(three_nodes)[1]
            room.publish(PUBLISHES)
            for connection, reader in all_:
                reader.read_to(connection, room.top)

            assert hints(three_nodes)[1] - before == PUBLISHES
