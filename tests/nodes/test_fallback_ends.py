"""Access that ends on one node ends waiting polls and streams on all, also where Redis is away.

Polls and streams of Server-Sent Events on three nodes, of six people: each loses access in another
way. The times are printed, and asserted by no more than a deadline for what hangs.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import chain
from typing import Any

import pytest

from tests.delivery.world import Room
from tests.fallback.herd import Herd
from tests.nodes.crowd import p99
from tests.nodes.world import Trio
from tests.support.client import RestClient, registered
from tests.support.wait import wait_until

EACH = 30  # polls, and as many streams, of each person
NOT_THERE = "unsubscribed not_found"
# What a poll and what a stream is told.
CODES = {
    "logout": ("401 token_revoked", "bye token_revoked"),
    "ended session": ("401 token_revoked", "bye token_revoked"),
    "disabled": ("401 token_revoked", "bye token_revoked"),
    "removed": ("unsubscribed forbidden", "unsubscribed forbidden"),
    "deleted": (NOT_THERE, NOT_THERE),
}


class People:
    """An administrator, and people whose access ends, with polls and streams on every node."""

    def __init__(self, trio: Trio) -> None:
        self.trio = trio
        self.url = trio.urls[0]
        self.admin = registered(self.url)
        done = trio.nodes[0].run("create-admin", self.admin.user["username"])
        assert done.returncode == 0, done.stderr
        self.people = {group: registered(self.url) for group in CODES}
        self.room = Room(self.admin, list(self.people.values()))
        self.doomed = Room(self.admin, [self.people["deleted"]])
        self.herd = Herd(trio.urls)

    def fill(self) -> None:
        """Have everybody wait at each door of each node, and hear of the room there."""
        before = self.waiting()
        for group, who in self.people.items():
            room = self.doomed if group == "deleted" else self.room
            place = {"streams": {room.stream: None, "user:me": None}}
            cursor = who.post("/events/cursor", place).json()["cursor"]
            self.herd.add(group, str(who.access_token), cursor, EACH)
        self.herd.wait_until_greeted()
        number = before + 2 * EACH * len(CODES)
        wait_until(lambda: self.waiting() == number, deadline_s=60, what="all to wait")

    def waiting(self) -> float:
        """Count the polls and streams on all nodes."""
        return sum(self.trio.metric(n, "fanfare_followers") for n in range(3))

    def end(self, group: str) -> None:
        """End the access of one person."""
        who = self.people[group]
        if group == "logout":
            answer = who.post("/auth/logout")
        elif group == "ended session":
            with RestClient(self.url) as laptop:
                assert laptop.login(who.user["username"]).ok
                sessions = laptop.get("/auth/sessions").json()["items"]
                other = next(one["id"] for one in sessions if not one["current"])
                answer = laptop.delete(f"/auth/sessions/{other}")
        elif group == "disabled":
            answer = self.admin.delete(f"/users/{who.id}")
        elif group == "deleted":
            answer = self.admin.delete(f"/channels/{self.doomed.id}")
        else:
            answer = self.admin.delete(f"/channels/{self.room.id}/members/{who.id}")
        assert answer.status_code == 204, answer.text

    def end_all(self) -> dict[str, list[float]]:
        """End everybody's access, one after the other; give the times of each."""
        times = {}
        for group in CODES:
            began_s = time.monotonic()
            self.end(group)
            self.herd.wait_for_the_end([group])
            times[group] = sorted((one.ended_s or 0) - began_s for one in self.herd.of(group))
        return times

    def close(self) -> None:
        """Let everybody go."""
        self.herd.close()
        for client in (self.admin, *self.people.values()):
            client.close()


@pytest.fixture
def people(breakable: Trio) -> Iterator[People]:
    breakable.wait_until_ready()
    with closing(People(breakable)) as made:
        yield made


def broken(trio: Trio, what: str) -> AbstractContextManager[Any]:
    """Take away what is named, for as long as a block takes."""
    return trio.redis.frozen() if what == "redis" else nullcontext()


class TestAllWhoWait:
    @pytest.mark.parametrize("away", ["nothing", "redis"])
    def test_are_told_on_all_nodes_and_nothing_is_left(self, people, breakable, tell, away):
        """Each with its code, at each door; where Redis answers nothing, the table tells of it."""
        people.fill()
        with broken(breakable, away):
            times = people.end_all()
        members = people.herd.members
        found = {(one.group, one.is_stream, one.code) for one in members}
        early = {event for one in people.herd.of("removed") for event in one.events}
        people.close()

        everybody = sorted(chain(*times.values()))
        figures = ", ".join(f"{group} {p99(took):.2f} s" for group, took in times.items())
        count = f"{len(everybody)} polls and streams"
        tell(f"{count}, {away} away: p99 {p99(everybody):.2f} s ({figures})")
        assert len(everybody) == 2 * EACH * len(CODES)
        # A poll that was answered by the very event of the end is told by the next one.
        assert early <= {"member.left"}
        assert found - {("removed", False, NOT_THERE)} == {
            (group, is_stream, codes[is_stream])
            for group, codes in CODES.items()
            for is_stream in (False, True)
        }
        wait_until(lambda: people.waiting() == 0, deadline_s=60, what="nobody to be left")
        assert not any("Traceback" in node.log for node in breakable.nodes)

    def test_a_token_that_expires_ends_them_by_itself(
        self, own_postgres, own_redis, tmp_path, tell
    ):
        """On each node, with no word from anybody."""
        with (
            Trio(own_postgres.create_database(), own_redis, tmp_path, ACCESS_TOKEN_TTL_S=6) as trio,
            registered(trio.urls[0]) as who,
            closing(Herd(trio.urls)) as herd,
        ):
            cursor = who.post("/events/cursor", {"streams": {"user:me": None}}).json()["cursor"]
            herd.add("expired", str(who.access_token), cursor, EACH)
            herd.wait_for_the_end(["expired"])

        ends = sorted(one.ended_s or 0 for one in herd.members)
        tell(f"{len(ends)} polls and streams expired within {ends[-1] - ends[0]:.2f} s")
        found = {(one.is_stream, one.code) for one in herd.members}
        assert found == {(False, "401 token_expired"), (True, "bye token_expired")}
