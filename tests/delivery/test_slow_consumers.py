"""A client that stops reading: it is cut off, the others notice nothing, memory stays bounded.

It loses nothing: what it had read is without a hole, and it comes back with its position.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self

import psutil
import pytest

from realtime import native
from tests.delivery.conftest import UNLIMITED
from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.support import needs
from tests.support.client import RestClient, registered
from tests.support.server import Server
from tests.support.tree import copy_program
from tests.support.wait import wait_until

BIG = 60 * 1024
EVENTS = 1000  # 60 MB: what a queue without a bound would hold for each that does not read
# The node keeps the last 256 in memory (15 MB), and each queue up to 1 MiB.
GROWTH_MIB = 45
SLOW = 3


@pytest.fixture(scope="module", params=["plain", "native"])
def roomy(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose people may open many connections; what waits for one stays the default.

    It is run as it is, and again from a copy of the program with the helper in C.
    """
    if request.param == "plain":
        with Server(**UNLIMITED) as running:
            yield running
        return
    needs.require_compiler()
    root = copy_program(tmp_path_factory.mktemp("program"))
    native.build(root / "realtime")
    with Server(root=root, NATIVE_WRITER="on", **UNLIMITED) as running:
        assert "native=True" in running.log
        yield running


def cuts(who: RestClient) -> float:
    """How many connections the server has cut off."""
    lines = who.raw("GET", "/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("fanfare_cuts_total ")))


class Slow:
    """A connection that has subscribed and reads no more; the kernel holds little for it."""

    def __init__(self, server: Server, who: RestClient, room: Room) -> None:
        self.reader = Reader(room.stream)
        self.connection = RawSocket(server.url, who.access_token, receive_buffer=4096)

    def __enter__(self) -> Self:
        self.reader.subscribe(self.connection)
        self.connection.packets.clear()
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.close()

    def read_what_is_left(self) -> None:
        """Read to the end: what came before the cut is in order, and then there is no more."""
        self.connection.read_to_the_end()
        for packet in self.connection.packets:
            self.reader.take_packet(packet)


class TestSlowConsumers:
    def test_they_are_cut_off_and_nobody_else_suffers(self, roomy):
        with registered(roomy.url) as who, ExitStack() as stack:
            room = Room(who)
            slow = [stack.enter_context(Slow(roomy, who, room)) for _ in range(SLOW)]
            good = Reader(room.stream)
            process, cut = psutil.Process(roomy.pid), cuts(who)
            with RawSocket(roomy.url, who.access_token) as connection:
                good.subscribe(connection)
                room.publish(10, BIG)
                good.read_to(connection, room.top)
                before = process.memory_info().rss
                for _ in range(EVENTS // 10):
                    room.publish(10, BIG)
                    good.read_to(connection, room.top)
                    connection.packets.clear()
                    good.seen.clear()
                grown = process.memory_info().rss - before
                wait_until(lambda: cuts(who) >= cut + SLOW, deadline_s=30, what="the cuts")
                assert connection.named("bye") == []

            assert cuts(who) == cut + SLOW
            assert grown < GROWTH_MIB * 1024 * 1024
            for one in slow:
                one.read_what_is_left()
                with RawSocket(roomy.url, who.access_token) as again:
                    one.reader.subscribe(again, 1000)
                assert one.reader.offsets == list(range(3, room.top + 1))
                assert one.reader.resets == []

    def test_one_that_reads_on_in_time_is_told_why(self, roomy):
        """It was only slow for a moment: it gets all that was queued, and then the goodbye."""
        with registered(roomy.url) as who:
            room, cut = Room(who), cuts(who)
            with Slow(roomy, who, room) as slow:
                while cuts(who) == cut:
                    room.publish(5, BIG)
                slow.read_what_is_left()

        byes = [(bye["code"], bye["retry"]) for bye in slow.connection.named("bye")]
        assert byes == [("slow_consumer", "now")]
        assert slow.connection.packets[-1][0] in ("bye", "close")
        assert 0 < len(slow.reader.seen) < room.top

    def test_signals_are_dropped_for_it_before_it_is_cut_off(self, roomy):
        """They are true for a moment only: a client that reads slowly needs the events."""
        with registered(roomy.url) as who:
            room, cut = Room(who), cuts(who)
            signal = {"stream": room.stream, "type": "test.signal", "data": "x" * BIG}
            with Slow(roomy, who, room) as slow:
                for _ in range(20):
                    events = [{**signal, "ephemeral": True}] * 10
                    assert who.post("/publish", {"events": events}).ok
                room.publish(1)
                slow.reader.read_to(slow.connection, room.top)

            assert 0 < len(slow.connection.named("signal")) < 200
            assert cuts(who) == cut
            assert slow.reader.offsets == [3]
