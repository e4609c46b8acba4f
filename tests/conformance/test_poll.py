"""Long-poll: one call after the other, each good on any node, and nothing lost in between."""

import pytest

from tests.conformance.fallback import CallRefusedError, Poll, wish
from tests.conformance.people import Room, numbered, numbers, offsets
from tests.conformance.wire import Json, wait_until

FIELDS = {"events", "signals", "resets", "unsubscribed", "positions", "cursor", "bye"}


def waiting(login, room, cursor, **query):
    """Begin a poll, and go on when the server is seen to hold it."""
    poll = Poll(login, cursor=cursor, wait=60, presence=True, **query)
    wait_until(room.is_anybody_present)
    return poll


def begin(login, *streams, **query):
    """Name streams, and get the cursor where they stand."""
    return Poll(login, streams=list(streams), **query).answer()


class TestAnswers:
    def test_the_first_is_given_at_once_with_a_cursor(self, ada, room):
        answer = begin(ada, room.stream, "user:me")

        assert answer.keys() == FIELDS | {"streams"}
        # Of what others just did at another node, word may come while this one answers.
        assert [event for event in answer["events"] if event["stream"] == room.stream] == []
        assert (answer["signals"], answer["resets"]) == ([], [])
        assert (answer["unsubscribed"], answer["bye"]) == ([], None)
        assert answer["streams"] == {room.stream: room.stream, "user:me": ada.stream}
        assert answer["positions"][room.stream] == room.top()
        assert isinstance(answer["cursor"], str)

    def test_later_ones_hold_what_came_after_the_cursor(self, ada, room):
        first = begin(ada, room.stream)
        made = room.publish(3)
        second = Poll(ada, cursor=first["cursor"], wait=0).answer()
        third = Poll(ada, cursor=second["cursor"], wait=0).answer()

        assert second.keys() == FIELDS
        assert second["events"] == made
        assert second["positions"][room.stream]["offset"] == made[-1]["offset"]
        assert third["events"] == []

    def test_one_that_waits_is_given_as_soon_as_there_is_something(self, ada, room):
        with_wait = waiting(ada, room, begin(ada, room.stream)["cursor"])
        made = room.publish(1)

        assert with_wait.answer()["events"] == made

    def test_one_without_anything_ends_empty_and_goes_on(self, ada, room):
        first = begin(ada, room.stream)
        empty = Poll(ada, cursor=first["cursor"], wait=1).answer()
        made = room.publish(1)

        assert (empty["events"], empty["bye"]) == ([], None)
        assert Poll(ada, cursor=empty["cursor"], wait=0).answer()["events"] == made

    def test_the_same_cursor_gives_the_same_again(self, ada, room):
        """An answer may be lost on its way: the call is made again."""
        first = begin(ada, room.stream)
        made = room.publish(2)
        answers = [Poll(ada, cursor=first["cursor"], node=node).answer() for node in range(3)]

        assert [answer["events"] for answer in answers] == [made] * 3

    def test_history_gives_the_last_ones_first(self, ada, room):
        made = room.publish(4)

        assert begin(ada, room.stream, history=2)["events"] == made[-2:]

    def test_a_limit_makes_pages(self, ada, room):
        first = begin(ada, wish(room.stream, room.top()))
        room.publish(5)
        cursor, sizes = first["cursor"], set()
        seen: list[Json] = []
        while len(seen) < 5:
            answer = Poll(ada, cursor=cursor, wait=0, limit=2, node=len(seen)).answer()
            sizes.add(len(answer["events"]))
            seen += answer["events"]
            cursor = answer["cursor"]

        assert max(sizes) <= 2
        assert numbers(seen) == [0, 1, 2, 3, 4]

    def test_it_is_kept_by_no_cache(self, ada, room):
        poll = Poll(ada, streams=[room.stream])
        poll.answer()

        assert "no-store" in poll.header("Cache-Control")

    def test_it_is_packed_for_who_can_read_that(self, ada, room):
        room.owner.ok("POST", f"{room.path}/events", {"type": "test.big", "data": "x" * 20_000})
        poll = Poll(ada, streams=[room.stream], history=1, headers={"Accept-Encoding": "gzip"})
        (event,) = poll.answer()["events"]

        assert poll.header("Content-Encoding") == "gzip"
        assert event["data"] == "x" * 20_000

    def test_signals_come_while_it_waits(self, ada, bob, room):
        """A signal may be lost: it is sent until one arrives."""
        cursor = begin(bob, room.stream)["cursor"]
        for _ in range(20):
            poll = waiting(bob, room, cursor)
            ada.ok("POST", f"{room.path}/typing")
            room.publish(1)
            answer = poll.answer()
            cursor = answer["cursor"]
            if any(signal["type"] == "typing" for signal in answer["signals"]):
                return

        pytest.fail("no signal came")

    def test_who_polls_with_presence_is_seen_and_sees(self, ada, bob, room):
        """Only while the poll waits, or shortly after."""
        with ada.socket() as socket:
            socket.ok("subscribe", {"stream": room.stream, "presence": True})
            poll = Poll(bob, cursor=begin(bob, room.stream)["cursor"], wait=60, presence=True)
            _, joined = socket.read_until("signal")
            poll.close()
            _, left = socket.read_until("signal")

        assert (joined["type"], joined["data"]["user_id"]) == ("presence.joined", bob.id)
        assert (left["type"], left["data"]["user_id"]) == ("presence.left", bob.id)


class TestCursors:
    def test_it_holds_every_stream(self, ada, room):
        rooms = [room, *[Room(ada) for _ in range(4)]]
        cursor = begin(ada, *[one.stream for one in rooms])["cursor"]
        for number, one in enumerate(rooms):
            one.publish(1, number)
        at = cursor
        seen: list[Json] = []
        while len(seen) < 5:
            answer = Poll(ada, cursor=at).answer()
            seen += answer["events"]
            at = answer["cursor"]

        assert sorted(numbers(seen)) == [0, 1, 2, 3, 4]

    def test_one_is_made_of_positions(self, ada, room):
        """For a client that comes from another door, with its positions alone."""
        room.publish(2)
        at = room.top()
        room.publish(3, 2)
        made = ada.ok("POST", "/events/cursor", {"streams": {room.stream: at, "user:me": None}})

        assert made.keys() == {"cursor", "positions", "streams", "unsubscribed"}
        assert made["positions"][room.stream] == at
        assert numbers(Poll(ada, cursor=made["cursor"]).answer()["events"]) == [2, 3, 4]

    def test_it_is_nobodys_own(self, ada, bob, room):
        """It holds positions and no rights: those are judged at each call."""
        cursor = begin(ada, room.stream)["cursor"]
        made = room.publish(1)

        assert Poll(bob, cursor=cursor).answer()["events"] == made

    def test_it_opens_nothing_to_who_may_not_read(self, ada, bob):
        secret = Room(ada, "private")
        cursor = begin(ada, secret.stream)["cursor"]
        secret.publish(1)

        with pytest.raises(CallRefusedError) as refused:
            Poll(bob, cursor=cursor, wait=0).answer()
        assert (refused.value.status, refused.value.code) == (404, "not_found")

    @pytest.mark.parametrize("spoil", ["cut", "longer", "changed", "garbage", "empty"])
    def test_a_spoilt_one_is_refused(self, ada, room, spoil):
        """Wherever it was changed; nothing is guessed from what is left of it."""
        cursor = begin(ada, room.stream)["cursor"]
        middle = len(cursor) // 2
        other = "A" if cursor[middle] != "A" else "B"
        spoilt = {
            "cut": cursor[:-3],
            "longer": cursor + "AAAA",
            "changed": cursor[:middle] + other + cursor[middle + 1 :],
            "garbage": "no-cursor",
            "empty": "",
        }[spoil]

        with pytest.raises(CallRefusedError) as refused:
            Poll(ada, cursor=spoilt, wait=0).answer()
        assert (refused.value.status, refused.value.code) == (422, "invalid")


class TestPositionsInNames:
    def test_some_streams_resume_and_others_begin_at_the_top(self, ada, room):
        other = Room(ada)
        at = room.top()
        room.publish(2)
        other.publish(1, 9)
        answer = begin(ada, wish(room.stream, at), other.stream)

        assert numbers(answer["events"]) == [0, 1]
        assert answer["positions"][other.stream] == other.top()

    def test_a_stream_without_access_is_named_and_the_others_work(self, ada, bob, room):
        secret = Room(ada, "private")
        answer = begin(bob, secret.stream, room.stream)
        made = room.publish(1)

        assert answer["unsubscribed"] == [{"stream": secret.stream, "code": "not_found"}]
        assert answer["positions"].keys() == {room.stream}
        assert Poll(bob, cursor=answer["cursor"]).answer()["events"] == made

    def test_a_reset_tells_where_the_log_begins_and_ends(self, ada, room):
        top = room.top()
        (reset,) = begin(ada, wish(room.stream, {"offset": 1, "epoch": "other"}))["resets"]

        assert reset == {
            "stream": room.stream,
            "reason": "epoch",
            "oldest": 1,
            "top": top,
            "position": top,
        }


class TestRefusals:
    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"streams": "user:me", "cursor": "x"},
            {"streams": ""},
            {"streams": "user:me", "wait": 999},
            {"streams": "user:me", "limit": 0},
            {"streams": "user:me", "history": -1},
            {"streams": "user:me", "colour": "red"},
            {"streams": "user:me@x/y"},
        ],
        ids=str,
    )
    def test_what_can_not_be_meant_is_invalid(self, ada, query):
        assert Poll(ada, **query).refused().code == "invalid"

    def test_too_many_streams_are_invalid(self, ada):
        streams = [f"channel:nowhere-{number}" for number in range(129)]

        assert Poll(ada, streams=streams).refused().code == "invalid"

    def test_nothing_that_may_be_read_is_not_found(self, ada):
        assert Poll(ada, streams=["channel:nowhere"]).refused().code == "not_found"


class TestManyStreams:
    def test_as_many_as_are_allowed_fit_into_one_short_cursor(self, ada):
        """128 streams, in an address that every proxy takes."""
        rooms = [Room(ada) for _ in range(128)]
        cursor = begin(ada, *[room.stream for room in rooms])["cursor"]
        made = rooms[77].publish(1)

        assert len(cursor) < 4096
        assert Poll(ada, cursor=cursor).answer()["events"] == made


class TestSeams:
    def test_nothing_is_lost_between_two_polls(self, ada, room, rng):
        """Whatever is published while nobody asks, and while somebody does."""
        answer = begin(ada, room.stream)
        made = 0
        seen: list[Json] = []
        while made < 60 or len(seen) < made:
            if made < 60:
                count = rng.randrange(4)
                room.publish(count, made, node=made)
                made += count
            answer = Poll(ada, cursor=answer["cursor"], wait=0, node=len(seen)).answer()
            seen += answer["events"]

        assert numbers(seen) == list(range(made))
        assert offsets(seen) == list(range(3, made + 3))


class TestFollowers:
    def test_a_poll_goes_on_where_the_socket_stood(self, ada, bob, room):
        with bob.socket() as socket:
            at = socket.ok("subscribe", {"stream": room.stream})["position"]
        ada.ok("POST", f"{room.path}/events", numbered(5))
        answer = begin(bob, wish(room.stream, at))

        assert numbers(answer["events"]) == [5]
