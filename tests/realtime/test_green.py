"""Greenlets that are used again: each piece of work is done once, and nothing is held by them."""

import gc
import socket
import weakref

import eventlet
import pytest

from realtime import green


class Thing:
    """Something to hold."""


@pytest.fixture(autouse=True)
def deadline():
    with eventlet.Timeout(20):
        yield


def settle() -> None:
    for _ in range(5):
        eventlet.sleep(0)


class TestRun:
    def test_everything_is_done_once_and_in_order(self):
        done: list[int] = []
        for number in range(1000):
            green.run(done.append, number)
        settle()

        assert done == list(range(1000))

    def test_what_comes_meanwhile_waits_for_the_next_turn(self):
        """Work that makes work for ever lets others have a turn."""
        done: list[str] = []

        def again() -> None:
            done.append("again")
            if len(done) < 1000:
                green.run(again)

        green.run(again)
        green.run(done.append, "first turn")
        green.soon(done.append, "loop")
        while len(done) < 1000:
            eventlet.sleep(0)

        assert done[:4] == ["again", "first turn", "loop", "again"]

    def test_a_greenlet_that_is_killed_ends_nobody_elses_work(self):
        done: list[int] = []

        def die() -> None:
            raise eventlet.greenlet.GreenletExit

        for number in range(5):
            green.run(die)
            green.run(done.append, number)
        settle()
        green.run(done.append, 5)
        settle()

        assert done == list(range(6))

    def test_work_that_waits_holds_nobody_up(self):
        done: list[str] = []

        def slow() -> None:
            eventlet.sleep(0.02)
            done.append("slow")

        green.run(slow)
        green.run(done.append, "quick")
        while len(done) < 2:
            eventlet.sleep(0.001)

        assert done == ["quick", "slow"]

    def test_work_that_fails_is_logged_and_its_greenlet_goes_on(self):
        done: list[int] = []

        def fail() -> None:
            raise ZeroDivisionError

        before = green.count_greenlets()
        for number in range(10):
            green.run(fail)
            green.run(done.append, number)
            settle()

        assert done == list(range(10))
        assert green.count_greenlets() == before

    def test_idle_ones_hold_nothing_of_what_they_did(self):
        """A greenlet holds its first arguments to its end, if they are not taken from it."""
        things = [Thing() for _ in range(20)]
        seen = [weakref.ref(thing) for thing in things]

        def hold(_thing: Thing) -> None:
            eventlet.sleep(0.001)

        for thing in things:
            green.run(hold, thing)
        del thing
        things.clear()
        eventlet.sleep(0.05)
        gc.collect()

        assert [ref() for ref in seen] == [None] * 20

    def test_idle_ones_are_let_go_in_time(self):
        def wait() -> None:
            eventlet.sleep(0.001)

        for _ in range(100):
            green.run(wait)
        many = 0
        while many < 20:  # some may be let go already by a wheel of another test
            eventlet.sleep(0)
            many = len(green._idle)
        for _ in range(10):
            green.let_idle_go()
            settle()

        assert len(green._idle) <= 1


class TestWatching:
    def test_what_can_be_read_is_told_until_nobody_wants_to_know(self):
        ours, theirs = socket.socketpair()
        told: list[int] = []

        def read(descriptor: int) -> None:
            told.append(descriptor)
            ours.recv(10)

        with ours, theirs:
            listener = green.watch_readable(ours.fileno(), read)
            theirs.send(b"x")
            settle()
            green.unwatch(listener)
            theirs.send(b"x")
            settle()

            assert told == [ours.fileno()]

    def test_it_holds_nothing_but_the_call(self):
        """There is one for each connection; and a greenlet would hold all that hangs on it."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            greenlet = eventlet.spawn(green.watch_readable, ours.fileno(), ours.recv)
            listener = greenlet.wait()
            held = gc.get_referents(listener)
            green.unwatch(listener)

        assert not hasattr(listener, "__dict__")
        assert [one for one in held if isinstance(one, eventlet.greenlet.greenlet)] == []

    def test_a_descriptor_that_is_somebody_elses_by_now_is_watched_no_more(self):
        """The loop is told so where a new file has a number that it still watches."""
        ours, theirs = socket.socketpair()
        told: list[int] = []
        with ours, theirs:
            listener = green.watch_readable(ours.fileno(), told.append)
            eventlet.hubs.notify_opened(ours.fileno())
            theirs.send(b"x")
            settle()
            green.unwatch(listener)
            again = green.watch_readable(ours.fileno(), told.append)
            while not told:
                eventlet.sleep(0)
            green.unwatch(again)

            assert listener.spent
            assert told == [ours.fileno()]

    def test_others_of_the_loop_are_as_they_were(self):
        """They wait for a greenlet, and are woken with an error where the file was closed."""
        ours, theirs = socket.socketpair()

        def wait() -> Exception | None:
            try:
                eventlet.hubs.trampoline(ours, read=True)
            except eventlet.hubs.IOClosed as error:
                return error
            return None

        with ours, theirs:
            green.unwatch(green.watch_readable(ours.fileno(), print))
            waiter = eventlet.spawn(wait)
            settle()
            eventlet.hubs.notify_opened(ours.fileno())
            settle()

            assert isinstance(waiter.wait(), eventlet.hubs.IOClosed)
