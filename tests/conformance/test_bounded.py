"""Promise 7, bounded: who asks for too much, or reads too little, is told so and loses nothing."""

import contextlib

import pytest
import requests

from tests.conformance.fallback import CallRefusedError, Sse
from tests.conformance.people import Room, numbered, offsets
from tests.conformance.wire import RefusedError, Socket, wait_until

BIG = 60_000
# More than kernels and proxies on the way hold for somebody who does not read.
ON_THE_WAY = 16 * 1024 * 1024
MOST_SOCKETS = 64


@pytest.fixture(scope="module")
def many(target, ada):
    """One channel more than a connection may watch."""
    with ada.socket() as socket:
        most = socket.ready["limits"]["max_subscriptions"]
    if most > 500:
        pytest.skip(f"{most} subscriptions are allowed: too many to make as many channels")
    return [Room(ada).stream for _ in range(most + 1)]


class TestSubscriptions:
    def test_one_too_many_is_refused_and_the_others_stay(self, ada, many):
        *allowed, last = many
        start = {"offset": 0, "epoch": "?"}
        with ada.socket() as socket:
            acks = socket.ok("resume", {"positions": dict.fromkeys(allowed, start)})["streams"]
            refused = socket.refusal("subscribe", {"stream": last})
            path = f"/channels/{allowed[0].removeprefix('channel:')}/events"
            event = ada.ok("POST", path, numbered(1))["event"]

            assert {ack["ok"] for ack in acks.values()} == {True}
            assert refused["code"] == "too_many_subscriptions"
            assert socket.read_until("event") == ("event", event)

    def test_a_place_that_is_given_back_may_be_taken(self, ada, many):
        *allowed, last = many
        start = {"offset": 0, "epoch": "?"}
        with ada.socket() as socket:
            socket.ok("resume", {"positions": dict.fromkeys(allowed, start)})
            socket.ok("unsubscribe", {"stream": allowed[0]})

            assert socket.ok("subscribe", {"stream": last})["stream"] == last

    def test_too_many_in_one_call_are_refused_as_a_whole(self, ada, many):
        start = {"offset": 0, "epoch": "?"}
        with ada.socket() as socket:
            refused = socket.refusal("resume", {"positions": dict.fromkeys(many, start)})

        assert refused["code"] in ("too_many_subscriptions", "invalid")


class TestSizes:
    def test_an_event_that_is_too_large_is_refused_at_every_door(self, ada, room):
        with ada.socket() as socket:
            most = socket.ready["limits"]["max_event_bytes"]
            event = {"type": "test.big", "data": "x" * most}
            message = {"body": "x", "data": {"text": "x" * most}}
            codes = {
                socket.refusal("publish", {"stream": room.stream, **event})["code"],
                socket.refusal("message.create", {"channel": room.id, **message})["code"],
                ada.refusal("POST", f"{room.path}/events", event)[1],
                ada.refusal("POST", f"{room.path}/messages", message)[1],
            }
        outcomes = ada.ok("POST", "/publish", {"events": [{"stream": room.stream, **event}]})
        codes.add(outcomes["outcomes"][0]["error"]["code"])

        assert codes == {"too_large"}
        assert room.log(after=2) == []

    def test_an_event_of_just_the_limit_goes_through(self, ada, room):
        with ada.socket() as socket:
            socket.ok("subscribe", {"stream": room.stream})
            data = "x" * (socket.ready["limits"]["max_event_bytes"] - 2)
            event = {"stream": room.stream, "type": "test.big", "data": data}
            socket.ok("publish", event)
            if not socket.named("event"):
                socket.read_until("event")

        assert [event["data"] for event in socket.named("event")] == [data]

    def test_a_body_that_is_too_large_is_refused(self, ada, room):
        body = {"type": "test.big", "data": "x" * 2_000_000}
        # A server that refuses it before it has read it may be gone while it is still sent.
        with contextlib.suppress(requests.ConnectionError):
            assert ada.call("POST", f"{room.path}/events", body).status_code == 413

        assert room.log(after=2) == []

    def test_a_packet_that_is_too_large_costs_its_sender_the_connection(self, ada, room):
        """And nobody else anything."""
        with ada.socket() as good, ada.socket() as bad:
            big = {"stream": room.stream, "type": "test.big", "data": "x" * 4_000_000}
            with contextlib.suppress(ConnectionError):  # it may be cut while it still sends
                bad.send("publish", big)
            bad.read_to_the_end()

            assert good.ok("subscribe", {"stream": room.stream})["ok"]
        assert room.log(after=2) == []


class TestRates:
    def test_packets_that_come_too_fast_are_refused_with_a_time_to_wait(self, ada, room):
        """Nothing is done for those, and the connection goes on."""
        with ada.socket() as socket:
            most = socket.ready["limits"]["max_events_per_s"]
            if most > 1000:
                pytest.skip(f"{most} packets a second are allowed: too many to exceed them")
            asked = [socket.send("typing", {"channel": room.id}) for _ in range(4 * most)]
            acks = [socket.read_ack(ack_id) for ack_id in asked]

        refused = [ack["error"] for ack in acks if not ack["ok"]]
        assert refused
        assert {error["code"] for error in refused} == {"rate_limited"}
        assert all(error["retryable"] and error["retry_after"] >= 0 for error in refused)
        assert acks[0]["ok"]

    def test_more_sockets_than_a_user_may_have_are_refused(self, target):
        """On one address; each user counts alone."""
        login, code = target.register("dora"), None
        open_ones: list[Socket] = []
        try:
            open_ones.extend(login.socket() for _ in range(MOST_SOCKETS))
        except RefusedError as refused:
            code = refused.code
        finally:
            for socket in open_ones:
                socket.cut()
        if code is None:
            pytest.skip(f"{MOST_SOCKETS} sockets of one user are allowed: too many to open more")

        assert code == "too_many_connections"


class TestSlowReaders:
    def test_who_does_not_read_is_cut_off_and_loses_nothing(self, ada, bob, room):
        """What it had read is without a hole, and it comes back with its position."""
        with bob.socket(receive_buffer=4096) as slow:
            most = slow.ready["limits"]["max_queued_bytes"]
            if most > ON_THE_WAY:
                pytest.skip(f"{most} bytes may wait for a connection: too many to exceed them")
            at = slow.ok("subscribe", {"stream": room.stream})["position"]
            top = fill(room, most + ON_THE_WAY)
            slow.read_to_the_end()
            seen = offsets(slow.named("event"))
            byes = slow.named("bye")
        read = at["offset"] + len(seen)

        assert seen == list(range(at["offset"] + 1, read + 1))
        assert read < top, "it was never cut off"
        assert [(bye["code"], bye["retry"]) for bye in byes] in ([], [("slow_consumer", "now")])
        assert resume(bob, room, {**at, "offset": read}) == list(range(read + 1, top + 1))

    def test_who_reads_does_not_notice(self, ada, bob, room):
        with bob.socket(receive_buffer=4096) as slow, bob.socket() as good:
            slow.ok("subscribe", {"stream": room.stream})
            at = good.ok("subscribe", {"stream": room.stream})["position"]["offset"]
            while len(good.named("event")) < 100:
                top = fill(room, 10 * BIG)
                while at < top:
                    at = good.read_until("event")[1]["offset"]

        assert offsets(good.named("event")) == list(range(3, top + 1))
        assert good.named("bye") == []


class TestOverPlainHttp:
    def test_too_many_streams_of_one_user_are_refused_until_some_end(self, target, room):
        """Who goes away gives the place back, without a goodbye."""
        login, code = target.register("erin"), None
        open_ones: list[Sse] = []
        try:
            while code is None and len(open_ones) < MOST_SOCKETS:
                open_ones.append(Sse(login, streams=[room.stream]))
                code = refusal_of(open_ones[-1])
        finally:
            for sse in open_ones:
                sse.close()
        if code is None:
            pytest.skip(f"{MOST_SOCKETS} streams of one user are allowed: too many to open more")

        assert code == "too_many_connections"
        wait_until(lambda: opens(login, room))

    def test_who_does_not_read_a_stream_is_cut_off_and_loses_nothing(self, ada, bob, room):
        """It goes on behind the last id that it has read."""
        with ada.socket() as socket:
            most = socket.ready["limits"]["max_queued_bytes"]
        if most > ON_THE_WAY:
            pytest.skip(f"{most} bytes may wait for a connection: too many to exceed them")
        slow = Sse(bob, streams=[room.stream])
        slow.ready()
        top = fill(room, most + ON_THE_WAY)
        slow.read_to_the_end()
        seen = offsets(slow.named("event"))
        again = Sse(bob, headers={"Last-Event-ID": slow.last_id}, node=1)
        again.ready()
        while not seen or seen[-1] < top:
            seen.append(again.read_until("event")[2]["offset"])
        again.close()

        assert len(slow.named("event")) < top - 2, "it was never cut off"
        assert {bye["code"] for bye in slow.named("bye")} <= {"slow_consumer"}
        assert seen == list(range(3, top + 1))


def refusal_of(sse):
    """Give the code with which a stream was refused, or None where it has begun."""
    try:
        sse.ready()
    except CallRefusedError as refused:
        return refused.code
    return None


def opens(login, room):
    """Tell whether one more stream may be opened."""
    sse = Sse(login, streams=[room.stream])
    code = refusal_of(sse)
    sse.close()
    return code is None


def fill(room, size):
    """Publish events of so many bytes in all; give the offset of the last."""
    event = {"type": "test.big", "data": "x" * BIG}
    for _ in range(0, size, 10 * BIG):
        last = room.publish_batch([event] * 10)
    offset: int = last["offset"]
    return offset


def resume(login, room, at):
    """Give the offsets of all that came after a position."""
    found = []
    with login.socket() as socket:
        while True:
            ack = socket.ok("subscribe", {"stream": room.stream, "after": at, "limit": 1000})
            assert ack["reset"] is None
            found += offsets(ack["events"])
            at = ack["position"]
            if not ack["more"]:
                return found
