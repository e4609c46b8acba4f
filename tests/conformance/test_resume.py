"""Promise 3, resume anywhere: what came after a position, exactly, or word that it can't be."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.conformance.doors import read_to, read_to_reset
from tests.conformance.people import Room, numbers, offsets
from tests.conformance.wire import wait_until

OTHER_EPOCH = "conformance-0"


class TestResume:
    def test_from_a_position_comes_exactly_what_came_after(self, bob, room, follow):
        room.publish(3)
        at = room.top()
        room.publish(4, 3)
        follower = follow(bob, {room.stream: at})

        assert numbers(read_to(follower, room.stream, at["offset"] + 4)) == [3, 4, 5, 6]
        assert follower.resets == []

    def test_from_before_the_first_event_comes_everything(self, bob, room, follow):
        """Offset 0 is a position like any other."""
        room.publish(2)
        top = room.top()
        follower = follow(bob, {room.stream: {**top, "offset": 0}})

        assert offsets(read_to(follower, room.stream, top["offset"])) == list(
            range(1, top["offset"] + 1)
        )

    def test_who_has_seen_no_event_resumes_too(self, bob, room, follow):
        """The position of an answer without events is good for it."""
        first = follow(bob, {room.stream: None})
        at = first.positions[room.stream]
        first.close()
        room.publish(3)
        second = follow(bob, {room.stream: at})

        assert first.events == []
        assert numbers(read_to(second, room.stream, at["offset"] + 3)) == [0, 1, 2]

    def test_who_is_at_the_top_goes_on_live(self, bob, room, follow):
        room.publish(2)
        top = room.top()
        follower = follow(bob, {room.stream: top})
        room.publish(2, 2)

        assert numbers(read_to(follower, room.stream, top["offset"] + 2)) == [2, 3]

    def test_cut_again_and_again_nothing_is_lost_or_doubled(self, ada, room, follow, rng):
        """Each time through the next address, and cut at any moment."""
        at, seen, made = room.top(), [], 0
        for node in range(6):
            follower = follow(ada, {room.stream: at}, node=node)
            count = rng.randrange(4)
            room.publish(count, made, node=node + 1)
            made += count
            seen += read_to(follower, room.stream, at["offset"] + rng.randrange(count + 1))
            at = dict(follower.positions[room.stream])
            follower.close()
        last = follow(ada, {room.stream: at})
        seen += read_to(last, room.stream, room.top()["offset"])

        assert numbers(seen) == list(range(made))
        assert offsets(seen) == offsets(room.log(2))

    def test_a_position_of_another_numbering_is_answered_with_a_reset(self, bob, room, follow):
        """Not with silence, and not with events that may be others."""
        room.publish(2)
        top = room.top()
        follower = follow(bob, {room.stream: {"offset": 1, "epoch": OTHER_EPOCH}})

        assert read_to_reset(follower) == [(room.stream, "epoch")]
        assert follower.events == []
        assert follower.positions[room.stream] == top

    def test_a_position_ahead_of_the_log_is_answered_with_a_reset(self, bob, room, follow):
        top = room.top()
        follower = follow(bob, {room.stream: {**top, "offset": top["offset"] + 1}})

        assert read_to_reset(follower) == [(room.stream, "ahead")]
        assert follower.positions[room.stream] == top

    def test_after_a_reset_it_goes_on_from_the_top(self, bob, room, follow):
        follower = follow(bob, {room.stream: {"offset": 1, "epoch": OTHER_EPOCH}})
        read_to_reset(follower)
        top = follower.positions[room.stream]["offset"]
        room.publish(2)

        assert numbers(read_to(follower, room.stream, top + 2)) == [0, 1]


class TestOfTheSocket:
    def test_many_streams_resume_in_one_call(self, ada, bob):
        rooms = [Room(ada) for _ in range(5)]
        positions = {}
        for room in rooms:
            positions[room.stream] = room.top()
            room.publish(3)
        with bob.socket() as socket:
            streams = socket.ok("resume", {"positions": positions})["streams"]
            rooms[0].publish(1, 3)
            socket.read_until("event")

        assert [numbers(streams[room.stream]["events"]) for room in rooms] == [[0, 1, 2]] * 5
        assert numbers(socket.named("event")) == [3]

    def test_what_is_gone_is_told_for_that_stream_alone(self, bob, room):
        gone = "channel:nowhere-to-be-found"
        positions = {room.stream: room.top(), gone: {"offset": 7, "epoch": OTHER_EPOCH}}
        with bob.socket() as socket:
            streams = socket.ok("resume", {"positions": positions})["streams"]

        assert streams[room.stream]["ok"] is True
        assert (streams[gone]["ok"], streams[gone]["error"]["code"]) == (False, "not_found")

    def test_ones_own_stream_resumes(self, ada, bob):
        """What happened to oneself while away: here, to be let into a channel."""
        with bob.socket() as socket:
            at = socket.ready["position"]
        room = Room(ada, "private", [bob.id])
        with bob.socket() as socket:
            ack = socket.ok("subscribe", {"stream": "user:me", "after": at})

        assert ack["stream"] == bob.stream
        joined = [event for event in ack["events"] if event["type"] == "member.joined"]
        assert [event["data"]["channel_id"] for event in joined] == [room.id]

    def test_more_means_to_call_again_and_then_it_is_live(self, bob, room):
        """Pages of a limit, each from the position of the one before; no live event in between."""
        room.publish(7)
        at, seen = {**room.top(), "offset": 0}, []
        with bob.socket() as socket:
            while True:
                wish = {"stream": room.stream, "after": at, "limit": 2}
                ack = socket.ok("subscribe", wish)
                assert len(ack["events"]) <= 2
                seen += ack["events"]
                at = ack["position"]
                if not ack["more"]:
                    break
                assert at["offset"] == seen[-1]["offset"]
            (live,) = room.publish(1, 7)
            name, event = socket.read()

        assert offsets(seen) == list(range(1, live["offset"]))
        assert (name, event) == ("event", live)

    @pytest.mark.parametrize("count", [0, 1, 3, 1000])
    def test_history_gives_the_last_ones_first(self, bob, room, count):
        made = room.publish(5)
        with bob.socket() as socket:
            ack = socket.ok("subscribe", {"stream": room.stream, "history": count})

        whole = [1, 2, *offsets(made)]
        assert offsets(ack["events"]) == whole[max(0, len(whole) - count) :]
        assert ack["position"]["offset"] == made[-1]["offset"]

    def test_the_first_live_event_is_the_one_after_the_ack(self, ada, bob, room):
        """The ack leaves before any later event, also while somebody writes without pause."""
        answered = Event()
        with bob.socket() as socket, ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write_until, answered, room)
            wait_until(lambda: room.top()["offset"] > 5)
            ack_id = socket.send("subscribe", {"stream": room.stream, "history": 1})
            ack = socket.read_ack(ack_id)
            answered.set()
            last = writing.result()
            socket.read_while(lambda packet: packet != ("event", last))

        first, *events = about(room, socket.packets)
        assert first == ("ack", (ack_id, ack))
        assert offsets([event for _, event in events]) == list(
            range(ack["position"]["offset"] + 1, last["offset"] + 1)
        )

    def test_a_reset_tells_where_the_log_begins_and_ends(self, bob, room):
        top = room.top()
        after = {"offset": 1, "epoch": OTHER_EPOCH}
        with bob.socket() as socket:
            ack = socket.ok("subscribe", {"stream": room.stream, "after": after})

        assert ack["reset"] == {"reason": "epoch", "oldest": 1, "top": top}
        assert (ack["events"], ack["more"], ack["position"]) == ([], False, top)


def write_until(answered, room):
    """Publish without pause until something has happened, and once more; give the last."""
    while not answered.is_set():
        room.publish(1)
    return room.publish(1)[0]


def about(room, packets):
    """Give the acks, and the events of a room, in order."""
    return [
        (name, data)
        for name, data in packets
        if name == "ack" or (name == "event" and data["stream"] == room.stream)
    ]
