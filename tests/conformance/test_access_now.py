"""Promise 6, access now: what ends somebody's access ends it on everything that is open, at once.

Within a second, says the protocol; here the only deadline is that of a test that would hang.
"""

from contextlib import ExitStack

import pytest

from tests.conformance.doors import read_to, read_to_loss
from tests.conformance.fallback import Poll, Sse
from tests.conformance.people import Room
from tests.conformance.wire import PASSWORD, Json, RefusedError, Socket, unique, wait_until


def end_of(socket):
    """Read to the end; give the code and the advice of the goodbye."""
    socket.read_to_the_end()
    (bye,) = socket.named("bye")
    assert bye.keys() == {"code", "detail", "retry", "retry_after"}
    return bye["code"], bye["retry"]


class TestSessions:
    def test_logout_ends_every_socket_of_the_session(self, ada):
        """On whichever node they are, and they are told why."""
        session = ada.again()
        with ExitStack() as stack:
            sockets = [stack.enter_context(session.socket(node)) for node in range(3)]
            session.ok("POST", "/auth/logout", node=1)

            assert [end_of(socket) for socket in sockets] == [("token_revoked", "never")] * 3

    def test_logout_leaves_other_sessions_alone(self, ada, room):
        session = ada.again()
        with ada.socket() as socket, session.socket() as theirs:
            socket.ok("subscribe", {"stream": room.stream})
            session.ok("POST", "/auth/logout")
            theirs.read_to_the_end()
            room.publish(1)
            socket.read_until("event")

            assert socket.named("bye") == []

    def test_after_logout_the_token_is_good_for_nothing(self, ada, room):
        session = ada.again()
        session.ok("POST", "/auth/logout")
        with pytest.raises(RefusedError) as refused:
            Socket(session.target.url(1), session.token)

        assert session.refusal("GET", "/me", node=1) == (401, "token_revoked")
        assert refused.value.code == "token_revoked"

    def test_a_session_that_is_ended_from_another_one_ends(self, ada):
        session = ada.again()
        with session.socket(1) as socket:
            (this,) = [
                one for one in session.ok("GET", "/auth/sessions")["items"] if one["current"]
            ]
            ada.ok("DELETE", f"/auth/sessions/{this['id']}")

            assert end_of(socket) == ("token_revoked", "never")

    def test_a_new_password_ends_every_other_session(self, target):
        one = target.register("carol")
        other = one.again()
        with other.socket(1) as theirs, one.socket() as mine:
            body = {"current_password": PASSWORD, "new_password": unique("fresh")}
            one.ok("PUT", "/me/password", body)

            assert end_of(theirs) == ("token_revoked", "never")
            assert mine.ok("subscribe", {"stream": "user:me"})["ok"]

    def test_a_refresh_token_that_is_used_twice_ends_its_session(self, ada):
        """One of the two who used it may be a thief."""
        session = ada.again()
        with session.socket(1) as socket:
            used = session.refresh_token
            session.refresh()
            again = session.target.http(0).call("POST", "/auth/refresh", token=used)

            assert again.status_code == 401
            assert end_of(socket) == ("token_revoked", "never")

    def test_the_own_stream_tells_of_the_end(self, ada):
        """So that other devices can show who is logged in."""
        with ada.socket() as socket:
            session = ada.again()
            session.ok("POST", "/auth/logout")
            name, event = socket.read_while(
                lambda p: p[0] != "event" or p[1]["type"] != "session.revoked"
            )

        assert (name, event["data"]["reason"]) == ("event", "logout")


class TestMembership:
    def test_who_is_removed_while_watching_is_told(self, ada, bob, private, follow):
        follower = follow(bob, {private.stream: None}, node=1)
        ada.ok("DELETE", f"{private.path}/members/{bob.id}")

        ((stream, code),) = read_to_loss(follower)
        assert stream == private.stream
        assert code in ("forbidden", "not_found")

    def test_who_is_removed_sees_nothing_of_what_comes_after(self, ada, bob, private, follow):
        """The own removal may be told. Another stream goes on, to be sure that nothing is late."""
        other = Room(ada)
        wishes = {private.stream: None, other.stream: None}
        follower = follow(bob, wishes, node=1)
        before = follower.positions[private.stream]["offset"]
        ada.ok("DELETE", f"{private.path}/members/{bob.id}")
        private.publish(3)
        read_to_loss(follower)
        (last,) = other.publish(1)
        read_to(follower, other.stream, last["offset"])

        late = [
            event["type"]
            for event in follower.events
            if event["stream"] == private.stream and event["offset"] > before
        ]
        assert late in ([], ["member.left"])

    def test_for_who_is_removed_the_channel_is_gone(self, ada, bob, private):
        with bob.socket(1) as socket:
            at = socket.ok("subscribe", {"stream": private.stream})["position"]
            ada.ok("DELETE", f"{private.path}/members/{bob.id}")
            socket.read_until("unsubscribed")
            refused = socket.refusal("subscribe", {"stream": private.stream, "after": at})

        assert refused["code"] == "not_found"
        assert bob.refusal("GET", f"{private.path}/sync", node=1) == (404, "not_found")
        assert bob.refusal("GET", f"{private.path}/events") == (404, "not_found")
        assert bob.refusal("POST", f"{private.path}/messages", {"body": "?"}) == (404, "not_found")

    def test_who_is_let_in_again_reads_what_was_missed(self, ada, bob, private, follow):
        before = private.top()
        ada.ok("DELETE", f"{private.path}/members/{bob.id}")
        private.publish(2)
        ada.ok("PUT", f"{private.path}/members/{bob.id}", {"role": "member"})
        follower = follow(bob, {private.stream: before}, node=1)

        seen = read_to(follower, private.stream, before["offset"] + 4)
        assert [event["type"] for event in seen] == [
            "member.left",
            "test.number",
            "test.number",
            "member.joined",
        ]

    def test_the_end_of_a_channel_is_told(self, ada, bob, room, follow):
        follower = follow(bob, {room.stream: None}, node=1)
        ada.ok("DELETE", room.path)

        assert read_to_loss(follower) == [(room.stream, "not_found")]

    def test_who_may_not_post_any_more_is_refused_at_once(self, ada, bob, private):
        with bob.socket(1) as socket:
            asked = {"channel": private.id, "body": "Hello"}
            socket.ok("message.create", asked)
            ada.ok("PUT", f"{private.path}/members/{bob.id}", {"role": "guest"})

            assert socket.refusal("message.create", asked)["code"] == "forbidden"
        assert bob.refusal("POST", f"{private.path}/messages", {"body": "?"}) == (403, "forbidden")


class TestOverPlainHttp:
    """What waits, or is streamed, ends with the access; `presence` shows that it waits."""

    @pytest.fixture
    def session(self, bob):
        return bob.again()

    def wait(self, login, room):
        cursor = Poll(login, streams=[room.stream]).answer()["cursor"]
        poll = Poll(login, cursor=cursor, wait=60, presence=True)
        wait_until(room.is_anybody_present)
        return poll

    def test_logout_ends_a_poll_that_waits(self, session, room):
        poll = self.wait(session, room)
        session.ok("POST", "/auth/logout", node=1)

        refused = poll.refused()
        assert (refused.status, refused.code) == (401, "token_revoked")

    def test_logout_ends_a_stream_of_sse(self, session, room):
        sse = Sse(session, streams=[room.stream])
        sse.ready()
        session.ok("POST", "/auth/logout", node=1)
        sse.read_to_the_end()

        assert [(bye["code"], bye["retry"]) for bye in sse.named("bye")] == [
            ("token_revoked", "never")
        ]

    def test_after_logout_neither_begins(self, session, room):
        cursor = Poll(session, streams=[room.stream]).answer()["cursor"]
        session.ok("POST", "/auth/logout")

        assert Poll(session, streams=[room.stream], node=1).refused().code == "token_revoked"
        assert Poll(session, cursor=cursor).refused().code == "token_revoked"
        assert Sse(session, cursor=cursor, node=1).refused().code == "token_revoked"

    def test_who_is_removed_while_a_poll_waits_is_told(self, ada, bob, private, room):
        """The poll follows another stream too, and goes on with that."""
        cursor = Poll(bob, streams=[private.stream, room.stream]).answer()["cursor"]
        poll = Poll(bob, cursor=cursor, wait=60, presence=True)
        wait_until(private.is_anybody_present)
        ada.ok("DELETE", f"{private.path}/members/{bob.id}")
        private.publish(2)
        seen: list[Json] = []
        lost: list[Json] = []
        while not lost:
            answer = poll.answer()
            seen += answer["events"]
            lost += answer["unsubscribed"]
            poll = Poll(bob, cursor=answer["cursor"], wait=60)
        made = room.publish(1)
        last = poll.answer()

        assert [one["stream"] for one in lost] == [private.stream]
        assert {event["type"] for event in seen} <= {"member.left"}
        assert last["events"] == made
        assert last["positions"].keys() == {room.stream}

    def test_a_cursor_does_not_bring_back_what_was_lost(self, ada, bob, private, room):
        """It was made while access was there, and access is judged anew."""
        cursor = Poll(bob, streams=[private.stream, room.stream]).answer()["cursor"]
        private.publish(1)
        ada.ok("DELETE", f"{private.path}/members/{bob.id}")
        answer = Poll(bob, cursor=cursor, wait=0, node=1).answer()

        assert answer["events"] == []
        assert [one["stream"] for one in answer["unsubscribed"]] == [private.stream]
