"""The choice of the door, without a network: time and randomness are handed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfare_client.core.backoff import full_jitter
from fanfare_client.core.chooser import Chooser, Door, Kind, Step, Trouble
from fanfare_client.core.timing import Timing

TIMING = Timing()
BLOCKED = Trouble(Kind.BLOCKED)
UNREACHABLE = Trouble(Kind.UNREACHABLE)
LOST = Trouble(Kind.LOST)
LONG = 1000.0


def bye(code: str, retry: str = "now", after: float = 0.0) -> Trouble:
    return Trouble(Kind.BYE, code, "", retry, after)


@pytest.fixture
def chooser() -> Chooser:
    return Chooser(TIMING, lambda: 0.5)


def opened(chooser: Chooser, door: Door = Door.SOCKET) -> Chooser:
    chooser.opened(door, 0.0)
    return chooser


class TestDown:
    def test_a_blocked_door_costs_no_wait(self, chooser):
        """The sum of the budgets is what a bad network costs: less than 5 s."""
        first = chooser.failed(BLOCKED, 0.0)
        assert (chooser.door, first) == (Door.SSE, Step())
        second = chooser.failed(BLOCKED, 0.0)

        assert (chooser.door, second) == (Door.POLL, Step())
        assert TIMING.socket_s + TIMING.sse_s < 5

    def test_below_the_last_is_the_first_after_a_wait(self, chooser):
        for _ in range(3):
            step = chooser.failed(BLOCKED, 0.0)

        assert chooser.door == Door.SOCKET
        assert step.wait_s > 0

    def test_a_silent_socket_is_left_however_long_it_stood(self, chooser):
        step = opened(chooser).failed(Trouble(Kind.SILENT), LONG)

        assert (chooser.door, step) == (Door.SSE, Step())

    def test_a_door_that_is_not_served_is_passed_over(self, chooser):
        chooser.failed(BLOCKED, 0.0)
        chooser.failed(Trouble(Kind.REFUSED, "not_found"), 0.0)

        assert chooser.door == Door.POLL

    def test_a_door_that_breaks_at_once_again_and_again_is_left(self, chooser):
        chooser.opened(Door.SOCKET, 0.0)
        chooser.failed(LOST, 0.1)
        assert chooser.door == Door.SOCKET
        chooser.opened(Door.SOCKET, 1.0)
        chooser.failed(LOST, 1.1)

        assert chooser.door == Door.SSE


class TestTheSameDoor:
    @pytest.mark.parametrize("code", ["draining", "unavailable", "slow_consumer"])
    def test_what_the_server_says_is_no_fault_of_the_network(self, chooser, code):
        step = opened(chooser).failed(bye(code, "later", 3.0), LONG)

        assert chooser.door == Door.SOCKET
        assert 3.0 <= step.wait_s <= 3.0 + TIMING.backoff_s
        assert not step.end

    def test_nobody_there_is_no_reason_to_go_down(self, chooser):
        """A server that restarts must not find its clients on the last door."""
        chooser.failed(UNREACHABLE, 0.0)
        chooser.failed(UNREACHABLE, 0.0)

        assert chooser.door == Door.SOCKET

    def test_nobody_there_for_long_is(self, chooser):
        for _ in range(3):
            chooser.failed(UNREACHABLE, 0.0)

        assert chooser.door == Door.SSE

    def test_what_worked_last_is_tried_first(self, chooser):
        opened(chooser, Door.SSE).failed(LOST, LONG)

        assert chooser.door == Door.SSE

    def test_waits_grow_until_a_door_stands(self, chooser):
        waits = [chooser.failed(bye("unavailable"), 0.0).wait_s for _ in range(20)]
        opened(chooser).failed(bye("unavailable"), LONG)

        assert waits[:4] == [0.25, 0.5, 1.0, 2.0]
        assert waits[-1] == TIMING.backoff_most_s / 2
        assert chooser.failed(bye("unavailable"), LONG).wait_s == 0.5


class TestTheToken:
    def test_it_is_renewed_once(self, chooser):
        refused = Trouble(Kind.REFUSED, "token_expired")

        assert chooser.failed(refused, 0.0) == Step(renew=True)
        assert chooser.failed(refused, 0.0).end

    def test_after_a_door_was_open_it_is_renewed_again(self, chooser):
        for _ in range(3):
            opened(chooser)
            assert chooser.failed(bye("token_expired"), LONG) == Step(renew=True)

    def test_tokens_that_hold_for_a_moment_do_not_make_it_spin(self, chooser):
        waits = []
        for _ in range(6):
            opened(chooser)
            waits.append(chooser.failed(bye("token_expired"), 0.1).wait_s)

        assert waits == sorted(waits)
        assert waits[0] > 0

    def test_never_is_the_end(self, chooser):
        assert opened(chooser).failed(bye("token_revoked", "never"), LONG).end


class TestUp:
    @pytest.mark.parametrize(
        ("door", "higher"),
        [(Door.SOCKET, ()), (Door.SSE, ("socket",)), (Door.POLL, ("socket", "sse"))],
    )
    def test_better_doors_are_tried_beside(self, chooser, door, higher):
        assert opened(chooser, door).higher() == higher

    def test_at_first_soon_then_ever_more_rarely(self):
        chooser = Chooser(TIMING, lambda: 1.0)
        waits = [chooser.probe_wait() for _ in range(8)]

        assert waits == [10, 20, 40, 80, 160, 300, 300, 300]

    def test_a_socket_that_swallows_is_not_trusted_the_sooner_for_its_ready(self):
        """Let through, silent, left: the waits go on growing where they were."""
        chooser = Chooser(TIMING, lambda: 1.0)
        opened(chooser, Door.SSE)
        assert chooser.probe_wait() == 10
        opened(chooser, Door.SOCKET)
        chooser.failed(Trouble(Kind.SILENT), LONG)

        assert chooser.probe_wait() == 20

    def test_after_a_good_time_on_the_socket_it_begins_anew(self):
        chooser = Chooser(TIMING, lambda: 1.0)
        assert [chooser.probe_wait(), chooser.probe_wait()] == [10, 20]
        opened(chooser).failed(LOST, LONG)

        assert chooser.probe_wait() == 10


class TestForce:
    @pytest.mark.parametrize("door", list(Door))
    def test_no_other_door_is_tried(self, chooser, door):
        chooser.force(door)
        for trouble in (BLOCKED, UNREACHABLE, LOST, Trouble(Kind.SILENT), BLOCKED, BLOCKED):
            chooser.failed(trouble, 0.0)

            assert chooser.door == door
            assert chooser.higher() == ()

    def test_a_door_that_opens_late_does_not_undo_it(self, chooser):
        chooser.force(Door.POLL)
        chooser.opened(Door.SOCKET, 0.0)

        assert chooser.door == Door.POLL

    def test_none_chooses_again(self, chooser):
        chooser.force(Door.POLL)
        chooser.force(None)

        assert chooser.higher() == ("socket", "sse")


class TestBackoff:
    @given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
    def test_it_stays_within_its_bounds(self, attempt, drawn):
        wait = full_jitter(attempt, base_s=0.5, most_s=30, random=lambda: drawn)

        assert 0 <= wait <= min(30, 0.5 * 2.0 ** min(attempt, 60))

    @given(st.lists(st.sampled_from(list(Kind)), max_size=30))
    def test_no_trouble_makes_it_spin(self, kinds):
        """In any six failures in a row there is a wait: no loop hammers a server."""
        chooser = Chooser(TIMING, lambda: 0.5)
        waits = [chooser.failed(Trouble(kind, "unavailable"), 0.0).wait_s for kind in kinds]

        assert all(any(waits[i : i + 6]) for i in range(len(waits) - 5))
