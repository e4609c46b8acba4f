"""Promise 2, order: a stream's events come in offset order, without a gap and without a repeat."""

from concurrent.futures import ThreadPoolExecutor

from tests.conformance.doors import read_to
from tests.conformance.people import Room, numbered, numbers, offsets

WRITERS = 4
EACH = 15


class TestOrder:
    def test_there_is_no_gap_and_no_repeat_while_many_write(self, ada, bob, room, follow):
        """Several writers at once, through every address; several watchers."""
        start = room.top()
        followers = [follow(who, {room.stream: start}, node=n) for n, who in enumerate([ada, bob])]
        with ThreadPoolExecutor(WRITERS) as pool:
            made = list(pool.map(lambda n: room.publish(EACH, n * EACH, node=n), range(WRITERS)))
        top = start["offset"] + WRITERS * EACH

        for follower in followers:
            seen = read_to(follower, room.stream, top)
            assert offsets(seen) == list(range(start["offset"] + 1, top + 1))
            assert sorted(numbers(seen)) == list(range(WRITERS * EACH))
        for events in made:
            assert offsets(events) == sorted(offsets(events))

    def test_every_watcher_sees_the_same(self, ada, bob, room, follow):
        start = room.top()
        followers = [follow(who, {room.stream: start}, node=n) for n, who in enumerate([ada, bob])]
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda n: room.publish(EACH, n * EACH, node=n), range(WRITERS)))
        top = start["offset"] + WRITERS * EACH

        first, second = (read_to(follower, room.stream, top) for follower in followers)
        assert first == second == room.log(start["offset"])

    def test_streams_do_not_disturb_each_other(self, ada, room, follow):
        """Each is in its own order, whatever there is of the other."""
        other = Room(ada)
        starts = {one.stream: one.top() for one in (room, other)}
        follower = follow(ada, starts)
        for number in range(10):
            room.publish(1, number)
            other.publish(1, 100 + number)

        ends = {stream: start["offset"] + 10 for stream, start in starts.items()}
        mine = read_to(follower, room.stream, ends[room.stream])
        theirs = read_to(follower, other.stream, ends[other.stream])
        assert numbers(mine) == list(range(10))
        assert numbers(theirs) == list(range(100, 110))


class TestPacketsOfOneClient:
    def test_they_take_effect_in_the_order_in_which_they_were_sent(self, ada, room):
        """Sent in one go, without waiting for an ack."""
        with ada.socket() as socket:
            asked = [
                socket.send("publish", {"stream": room.stream, **numbered(number)})
                for number in range(30)
            ]
            acks = [socket.read_ack(ack_id) for ack_id in asked]

        assert [ack["ok"] for ack in acks] == [True] * 30
        assert numbers(room.log()) == list(range(30))
        placed = [ack["position"]["offset"] for ack in acks]
        assert placed == sorted(placed)

    def test_acks_come_in_the_order_of_what_they_answer(self, ada, room):
        with ada.socket() as socket:
            asked = [
                socket.send("publish", {"stream": room.stream, **numbered(0)}),
                socket.send("subscribe", {"stream": room.stream}),
                socket.send("typing", {"channel": room.id}),
                socket.send("dance", {}),
                socket.send("unsubscribe", {"stream": room.stream}),
            ]
            socket.read_ack(asked[-1])

        assert [ack_id for ack_id, _ in socket.named("ack")] == asked

    def test_the_batch_of_a_call_is_done_in_order(self, ada, room):
        events = [{"stream": room.stream, **numbered(number)} for number in range(20)]
        outcomes = ada.ok("POST", "/publish", {"events": events})["outcomes"]

        assert [outcome["ok"] for outcome in outcomes] == [True] * 20
        assert numbers([outcome["event"] for outcome in outcomes]) == list(range(20))
        assert numbers(room.log()) == list(range(20))
