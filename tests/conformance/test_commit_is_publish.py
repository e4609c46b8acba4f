"""Promise 1, commit is publish: what is done is in the log at once and reaches every watcher."""

import re

from tests.conformance.doors import read_to
from tests.conformance.people import numbered, numbers, offsets


class TestCommitIsPublish:
    def test_what_was_answered_is_in_the_log(self, ada, room):
        """The answer's header names the place where the event then stands."""
        response = ada.call("POST", f"{room.path}/messages", {"body": "Hello"})
        stream, _, at = response.headers["Fanfare-Position"].partition("@")
        offset, _, epoch = at.partition("/")
        (event,) = room.log(after=int(offset) - 1)

        assert stream == room.stream == event["stream"]
        assert event["offset"] == int(offset) == response.json()["offset"]
        assert room.top() == {"offset": int(offset), "epoch": epoch}

    def test_the_event_tells_what_the_call_did(self, ada, room):
        message = ada.ok("POST", f"{room.path}/messages", {"body": "Hello", "data": {"n": 1}})
        ada.ok("PATCH", f"{room.path}/messages/{message['id']}", {"body": "Hello, all"})
        ada.ok("DELETE", f"{room.path}/messages/{message['id']}")
        created, updated, deleted = room.log()[-3:]

        assert created["data"] == message
        assert (updated["data"]["body"], updated["type"]) == ("Hello, all", "message.updated")
        assert (deleted["data"]["body"], deleted["type"]) == (None, "message.deleted")

    def test_every_watcher_gets_what_was_committed(self, ada, bob, room, follow):
        """Whoever wrote it, through whichever door."""
        followers = [
            follow(who, {room.stream: room.top()}, node=n) for n, who in enumerate([ada, bob])
        ]
        with ada.socket() as socket:
            for number in range(0, 20, 2):
                room.publish(1, number)
                stream = {"stream": room.stream, **numbered(number + 1)}
                last = socket.ok("publish", stream)["position"]

        for follower in followers:
            assert numbers(read_to(follower, room.stream, last["offset"])) == list(range(20))

    def test_what_was_refused_reaches_nobody(self, ada, room, follow):
        """No event of it, and no gap where it would have been."""
        before = room.top()
        follower = follow(ada, {room.stream: before})
        ada.refusal("POST", f"{room.path}/events", {"type": "message.created", "data": None})
        ada.refusal("POST", f"{room.path}/messages", {"body": ""})
        (event,) = room.publish(1)

        seen = read_to(follower, room.stream, event["offset"])
        assert offsets(seen) == [before["offset"] + 1]
        assert seen == [event]

    def test_an_event_looks_the_same_at_every_door(self, ada, bob, room, follow):
        follower = follow(bob, {room.stream: room.top()})
        made = ada.ok("POST", f"{room.path}/events", numbered(7, key="seven"))["event"]

        (seen,) = read_to(follower, room.stream, made["offset"])
        assert seen == made
        assert sorted(seen) == ["actor", "at", "data", "key", "offset", "stream", "type"]
        assert (seen["actor"], seen["key"]) == (ada.id, "seven")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", seen["at"])

    def test_data_arrives_as_it_was_sent(self, ada, room, follow):
        data = {"text": 'Ünï\u2028code 🎺 "\\ \u0001', "n": [1, -2, 2.5, 1e20, True, None], "e": {}}
        follower = follow(ada, {room.stream: room.top()})
        made = ada.ok("POST", f"{room.path}/events", {"type": "test.data", "data": data})["event"]

        (seen,) = read_to(follower, room.stream, made["offset"])
        assert seen["data"] == data


class TestSignals:
    def test_a_signal_is_not_in_the_log(self, ada, room):
        before = room.top()
        body = {"type": "cursor.moved", "data": {"x": 3}, "ephemeral": True}

        assert ada.call("POST", f"{room.path}/events", body).status_code == 202
        assert room.top() == before

    def test_a_signal_reaches_who_watches_but_not_its_maker(self, ada, bob, room):
        """A signal may be lost: it is sent until one arrives."""
        with ada.socket() as mine, bob.socket() as theirs:
            mine.ok("subscribe", {"stream": room.stream})
            theirs.ok("subscribe", {"stream": room.stream})
            for _ in range(50):
                mine.ok("typing", {"channel": room.id})
                last = room.publish(1)[0]["offset"]
                for socket in (mine, theirs):
                    socket.read_while(
                        lambda p, last=last: p[0] != "event" or p[1]["offset"] != last
                    )
                if theirs.named("signal"):
                    break

            signal = theirs.named("signal")[0]
            assert (signal["stream"], signal["type"]) == (room.stream, "typing")
            assert (signal["actor"], signal["data"]) == (ada.id, {})
            assert not {"offset", "key"} & signal.keys()
            assert mine.named("signal") == []
