"""Counting in memory: what a window holds, what is forgotten, and that nobody fills it."""

import random
from collections import defaultdict

import pytest

from api import windows
from api.limits import RateLimits
from api.windows import Windows
from core.errors import RateLimitedError


class TestCounting:
    def test_it_is_what_the_last_seconds_held(self, rng: random.Random):
        """At every moment the same as by looking at all that ever happened."""
        counted, now_s = Windows(5, 10.0), 0.0
        happened: dict[str, list[float]] = defaultdict(list)
        for _ in range(5000):
            now_s += rng.choice([0.0, 0.5, 1.0, 3.0])
            name = rng.choice("abc")
            recent = [at for at in happened[name] if at > now_s - 10]
            if counted.take(name, now_s):
                happened[name].append(now_s)
                recent.append(now_s)
                assert len(recent) <= 5
            else:
                assert len(recent) == 5
            left, reset_s = counted.standing(name, now_s)
            assert left == 5 - len(recent)
            assert reset_s == pytest.approx(recent[0] + 10 - now_s)

    def test_a_name_that_was_never_counted_has_all(self):
        assert Windows(5, 10.0).standing("a", 0.0) == (5, 0.0)


class TestForgetting:
    def test_names_that_are_over_are_forgotten(self):
        """Each guess at another name left something behind for ever."""
        counted = Windows(5, 10.0)
        for number in range(1000):
            counted.take(f"name {number}", float(number))

        assert len(counted) == 10

    def test_a_refused_name_does_not_hold_those_after_it(self):
        counted = Windows(1, 10.0)
        counted.take("a", 0.0)
        counted.take("b", 1.0)
        counted.take("a", 9.0)  # refused
        counted.take("c", 20.0)

        assert len(counted) == 1

    def test_however_many_come_at_once_they_are_bounded(self, monkeypatch):
        monkeypatch.setattr(windows, "_MOST_NAMES", 50)
        counted = Windows(5, 10.0)
        for number in range(1000):
            counted.take(f"name {number}", 0.0)

        assert len(counted) == 50

    def test_beyond_the_bound_those_go_who_were_quiet_for_longest(self, monkeypatch):
        monkeypatch.setattr(windows, "_MOST_NAMES", 2)
        counted = Windows(5, 10.0)
        for name in "abac":
            counted.take(name, 0.0)

        assert [counted.standing(name, 0.0)[0] for name in "abc"] == [3, 5, 4]


class TestRateLimits:
    def test_many_names_leave_nothing_behind(self, monkeypatch):
        """Of the window before, once another one is counted."""
        clock = [0.0]
        monkeypatch.setattr("api.limits.time.monotonic", lambda: clock[0])
        limits = RateLimits(is_on=True, events_per_s=1)
        for number in range(1000):
            limits.take("login", f"192.0.2.1 name-{number}")
        clock[0] = 61.0
        limits.take("login", "192.0.2.1 ada")

        assert len(limits._own["login"]) == 1

    def test_who_was_refused_is_told_when_to_come_back(self, monkeypatch):
        clock = [0.0]
        monkeypatch.setattr("api.limits.time.monotonic", lambda: clock[0])
        limits = RateLimits(is_on=True, events_per_s=1)
        for _ in range(10):
            limits.take("login", "ada")
        clock[0] = 45.5
        with pytest.raises(RateLimitedError) as refused:
            limits.take("login", "ada")
        clock[0] += refused.value.retry_after_s

        assert refused.value.retry_after_s == 15
        assert limits.take("login", "ada") is not None
