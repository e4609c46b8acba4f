"""The load generator notices what a server does wrong, and takes nothing right for wrong."""

import subprocess
import time
from typing import Any

import pytest

from benchmarks import machine
from benchmarks.peers.build import load_generator
from benchmarks.peers.loads import LoadFailedError, Served, run
from tests.benchmarks.faulty_server import Fault, FaultyServer
from tests.support import needs

EVENT = '{"n":{n},"ts":{ts},"pad":"{pad}"}'
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def generator() -> None:
    """What is tested here is compiled first."""
    needs.require_compiler()


def load(server: FaultyServer, *words: str, seconds: float = 0.2) -> Json:
    """Load it with three watchers, and some forty events."""
    served = Served(pids=(), watch=("--url", f"{server.at}/watch", "--ready", "^welcome"))
    publish = ["--publish-url", f"{server.at}/publish", "--event", EVENT, "--rate", "200"]
    short = ["-n", "3", "--warmup", "0", "--patience", "0.5"]
    return run(served, machine.cores(), [*publish, *short, *words], seconds=seconds)


def faulty(fault: Fault) -> Json:
    with FaultyServer(fault) as server:
        return load(server)


class TestAGoodServer:
    def test_a_run_without_a_fault_is_complete(self) -> None:
        """Each of three watchers is given each event."""
        with FaultyServer() as server:
            result = load(server, "--rooms", "1")

        assert result["complete"]
        assert result["latency_ms"]["count"] == 3 * result["published"] > 0

    @pytest.mark.parametrize("in_flight", [1, 16])
    def test_a_closed_loop_has_so_many_in_flight(self, in_flight: int) -> None:
        """The next event waits until one has landed everywhere, here for ever."""
        came: list[bytes] = []

        def swallow(events: list[bytes]) -> list[bytes]:
            came[:] = events
            return []

        with FaultyServer(swallow) as server:
            result = load(server, "--rate", "0", "--in-flight", str(in_flight))

        assert len(came) == in_flight
        assert result["lost"] == 3 * in_flight

    def test_a_closed_loop_goes_on_when_events_land(self) -> None:
        """More are published than are ever in flight."""
        with FaultyServer() as server:
            result = load(server, "--rate", "0", "--in-flight", "4")

        assert result["complete"]
        assert result["deliveries"] > 3 * 4

    def test_what_is_counted_is_whole(self) -> None:
        """Events of the warm-up land before, and those that are counted before the end."""
        with FaultyServer() as server:
            result = load(server, "--rate", "0", "--in-flight", "16", "--warmup", "0.2")

        assert result["deliveries"] == 3 * result["published"] > 0

    def test_events_may_be_posted(self) -> None:
        """With an answer for each."""
        with FaultyServer() as server:
            result = load(server, "--publish-http")

        assert result["complete"]
        assert result["answers"] >= result["deliveries"] // 3 > 0

    def test_long_events_come_in_pieces(self) -> None:
        """Frames that no read brings whole are put together, and parted from the next ones."""
        with FaultyServer() as server:
            result = load(server, "--pad", "60000", "--rate", "0", "--in-flight", "32")

        assert result["complete"]

    def test_who_stalls_is_not_checked(self) -> None:
        """The others are, and are given all."""
        with FaultyServer() as server:
            result = load(server, "--stalled", "1")

        assert result["complete"]
        assert result["deliveries"] <= 2 * (result["published"] + 1)


class TestAFaultyServer:
    def test_a_lost_event_is_noticed(self) -> None:
        """By each watcher, also in the middle of others that come."""
        result = faulty(lambda events: [] if len(events) == 5 else events[-1:])

        assert not result["complete"]
        assert (result["lost"], result["doubled"], result["reordered"]) == (3, 0, 0)

    def test_a_lost_end_is_noticed(self) -> None:
        """Nothing comes after it that would show the gap."""
        result = faulty(lambda events: events[-1:] if len(events) <= 5 else [])

        assert not result["complete"]
        assert result["lost"] > 0

    def test_a_doubled_event_is_noticed(self) -> None:
        result = faulty(lambda events: events[-1:] * (2 if len(events) == 5 else 1))

        assert not result["complete"]
        assert (result["lost"], result["doubled"], result["reordered"]) == (0, 3, 0)

    def test_an_event_that_comes_late_is_noticed(self) -> None:
        """It is not lost, but out of order."""

        def swap(events: list[bytes]) -> list[bytes]:
            if len(events) == 5:
                return []
            return [events[-1], events[4]] if len(events) == 6 else events[-1:]

        result = faulty(swap)

        assert not result["complete"]
        assert (result["lost"], result["doubled"], result["reordered"]) == (0, 0, 3)

    def test_a_watcher_that_is_cut_off_is_noticed(self) -> None:
        """Though what it was given until then was in order."""
        with FaultyServer() as server:

            def cut(events: list[bytes]) -> list[bytes]:
                if len(events) == 5:
                    server.cut_one()
                return events[-1:]

            server._fault = cut
            result = load(server)

        assert not result["complete"]
        assert (result["dropped"], result["lost"]) == (1, 0)
        assert "closed by the server" in result["first_error"]

    def test_a_stall_counts_for_all_that_it_kept_waiting(self) -> None:
        """Latency begins when an event was due, also where it could not be sent by then."""

        def pause(events: list[bytes]) -> list[bytes]:
            if len(events) == 5:
                time.sleep(0.5)
            return events[-1:]

        with FaultyServer(pause) as server:
            # No more than 64 posts are under way, so most of these wait here for the server.
            result = load(server, "--publish-http", "--rate", "400", seconds=0.6)

        assert result["complete"]
        assert result["latency_ms"]["max"] >= 490
        assert result["latency_ms"]["p50"] >= 100

    def test_a_server_that_is_not_there_is_noticed(self) -> None:
        with FaultyServer() as server:
            pass
        result = load(server)

        assert not result["complete"]
        assert result["failed"] == 3


class TestWhatItRefuses:
    @pytest.mark.parametrize("host", ["10.0.0.1", "192.168.0.1", "0.0.0.0", "128.0.0.1"])
    def test_it_calls_nobody_else(self, host: str) -> None:
        """It is a tool for one's own machine."""
        command = [str(load_generator()), "--url", f"ws://{host}:80/", "--event", EVENT]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

        assert done.returncode == 2
        assert "not on this machine" in done.stderr

    def test_an_option_that_makes_no_sense_is_an_error(self) -> None:
        """And no run with something else instead."""
        served = Served(pids=(), watch=("--url", "ws://127.0.0.1:9/"))

        with pytest.raises(LoadFailedError, match="fanout needs --event"):
            run(served, machine.cores(), [], seconds=0.1)
