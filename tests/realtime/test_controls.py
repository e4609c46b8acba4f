"""Word of access that ended: from this node, from the bus in time, and from the bus too late."""

from dataclasses import replace

from core.events import Control
from realtime.bus_memory import MemoryBus, MemoryExchange
from realtime.hub import Hub
from realtime.node import Node, NodeLimits

LOST = Control("access_lost", user_id="ada", stream="channel:a", id=7)


class NoLog:
    """No control reads the log."""


def make_nodes() -> tuple[Node, Node, list[Control]]:
    """Two nodes that hear one another, and what the second one acts on."""
    exchange = MemoryExchange()
    made = [Node(Hub(), MemoryBus(exchange), NoLog(), NodeLimits()) for _ in "ab"]  # type: ignore[arg-type]
    acted: list[Control] = []
    made[1].tell_controls_to(acted.append)
    for node in made:
        node._bus.start(node)
    return made[0], made[1], acted


class TestControls:
    def test_another_node_acts_on_it(self):
        speaker, _, acted = make_nodes()

        speaker.committed([], [LOST])

        assert acted == [LOST]

    def test_what_was_acted_on_already_is_not_acted_on_again(self):
        """A frozen Redis delivers seconds later; somebody removed may have joined again by then."""
        speaker, hearer, acted = make_nodes()
        hearer.judge_controls_by(lambda control: None if control.id == 7 else control)

        speaker.committed([], [LOST])

        assert acted == []

    def test_what_is_too_old_to_tell_is_acted_on_as_it_was_judged(self):
        speaker, hearer, acted = make_nodes()
        hearer.judge_controls_by(lambda control: replace(control, stream=""))

        speaker.committed([], [LOST])

        assert acted == [replace(LOST, stream="")]

    def test_ones_own_is_always_acted_on(self):
        _, hearer, acted = make_nodes()
        hearer.judge_controls_by(lambda control: None)

        hearer.committed([], [LOST])

        assert acted == [LOST]
