"""Server-Sent Events: each with the cursor behind it, good on any node, and a word at the end."""

import pytest

from tests.conformance.fallback import Poll, Sse, wish
from tests.conformance.people import Room, numbered, numbers, offsets


@pytest.fixture
def listen():
    """`listen(login, streams=[…])` opens a stream; it is closed at the end."""
    opened = []

    def open_one(login, **query):
        opened.append(Sse(login, **query))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


class TestStreams:
    def test_it_begins_with_ready(self, ada, room, listen):
        sse = listen(ada, streams=[room.stream, "user:me"])
        ready = sse.ready()

        assert ready.keys() == {"streams", "positions", "unsubscribed", "node", "server_time"}
        assert ready["streams"] == {room.stream: room.stream, "user:me": ada.stream}
        assert ready["positions"][room.stream] == room.top()
        assert sse.retry is not None
        assert sse.last_id

    def test_its_headers_keep_proxies_from_holding_it_back(self, ada, room, listen):
        sse = listen(ada, streams=[room.stream])
        sse.ready()

        assert sse.header("Content-Type").startswith("text/event-stream")
        assert "no-store" in sse.header("Cache-Control")

    def test_each_event_has_an_id_to_go_on_from(self, ada, room, listen):
        sse = listen(ada, streams=[room.stream])
        sse.ready()
        made = room.publish(3)
        notes = [sse.read_until("event") for _ in made]

        assert [data for _, _, data in notes] == made
        assert all(cursor for _, cursor, _ in notes)
        assert len({cursor for _, cursor, _ in notes}) == 3

    def test_a_comment_keeps_it_open(self, ada, room, listen):
        """Every 15 seconds, where nothing happens."""
        sse = listen(ada, streams=[room.stream])
        sse.ready()

        assert sse.read_comment().startswith(":")
        made = room.publish(1)
        assert sse.read_until("event")[2] == made[0]

    def test_signals_come_without_an_id(self, ada, bob, room, listen):
        """A signal may be lost: it is sent until one arrives."""
        sse = listen(bob, streams=[room.stream])
        sse.ready()
        for _ in range(20):
            assert ada.call("POST", f"{room.path}/typing").status_code == 202
            last = room.publish(1)[0]
            while sse.read_until("event")[2] != last:
                pass
            if sse.named("signal"):
                break
        name, cursor, signal = next(note for note in sse.notes if note[0] == "signal")

        assert (name, cursor) == ("signal", None)
        assert (signal["type"], signal["actor"]) == ("typing", ada.id)
        assert not {"offset", "key"} & signal.keys()


class TestLastIds:
    def test_the_last_id_goes_on_exactly_behind_it(self, ada, room, listen):
        """On any node; also the id of `ready`, when no event had come yet."""
        first = listen(ada, streams=[room.stream])
        first.ready()
        begun = first.last_id
        room.publish(2)
        second = first.read_until("event")[1]
        first.close()
        room.publish(1, 2)

        for node, (last_id, wanted) in enumerate([(begun, [0, 1, 2]), (second, [1, 2])]):
            again = listen(ada, headers={"Last-Event-ID": last_id}, node=node)
            again.ready()
            seen = [again.read_until("event")[2] for _ in wanted]
            assert numbers(seen) == wanted

    def test_the_last_id_wins_over_the_address(self, ada, room, listen):
        """A browser connects again to the address that it was given, with the id beside it."""
        first = listen(ada, streams=[room.stream])
        first.ready()
        room.publish(2)
        last_id = first.read_until("event")[1]
        again = listen(ada, streams=[room.stream], history=2, headers={"Last-Event-ID": last_id})
        again.ready()

        assert numbers([again.read_until("event")[2]]) == [1]

    def test_an_id_is_a_cursor_of_the_poll_too(self, ada, room, listen):
        sse = listen(ada, streams=[room.stream])
        sse.ready()
        room.publish(2)
        cursor = sse.read_until("event")[1]

        assert numbers(Poll(ada, cursor=cursor).answer()["events"]) == [1]

    def test_a_cursor_of_the_poll_opens_it(self, ada, room, listen):
        cursor = Poll(ada, streams=[room.stream]).answer()["cursor"]
        room.publish(1)
        sse = listen(ada, cursor=cursor, node=1)
        sse.ready()

        assert numbers([sse.read_until("event")[2]]) == [0]

    def test_history_comes_first(self, ada, room, listen):
        made = room.publish(4)
        sse = listen(ada, streams=[room.stream], history=3)
        sse.ready()

        assert [sse.read_until("event")[2] for _ in range(3)] == made[-3:]

    def test_more_than_a_page_comes_whole(self, ada, room, listen):
        """A thousand and more events behind."""
        at = room.top()
        for _ in range(12):
            room.publish_batch([numbered(0)] * 100)
        sse = listen(ada, streams=[wish(room.stream, at)])
        sse.ready()
        seen = [sse.read_until("event")[2] for _ in range(1200)]

        assert offsets(seen) == list(range(at["offset"] + 1, at["offset"] + 1201))

    def test_a_reset_has_an_id_and_says_why(self, ada, room, listen):
        sse = listen(ada, streams=[wish(room.stream, {"offset": 1, "epoch": "other"})])
        sse.ready()
        _, cursor, reset = sse.read_until("reset")
        made = room.publish(1)

        assert cursor
        assert (reset["stream"], reset["reason"]) == (room.stream, "epoch")
        assert sse.read_until("event")[2] == made[0]


class TestWhoMayListen:
    def test_a_ticket_opens_it_once(self, ada, room, listen):
        """For browsers, which can't set a header there."""
        ticket = ada.ok("POST", "/auth/ticket")["ticket"]
        first = listen(ada, streams=[room.stream], ticket=ticket)
        first.ready()
        made = room.publish(1)
        again = listen(ada, streams=[room.stream], ticket=ticket, node=1)

        assert first.read_until("event")[2] == made[0]
        assert again.refused().code == "unauthorized"

    def test_what_may_not_be_read_is_named_and_the_others_work(self, ada, bob, room, listen):
        secret = Room(ada, "private")
        sse = listen(bob, streams=[secret.stream, room.stream])
        ready = sse.ready()
        made = room.publish(1)

        assert ready["unsubscribed"] == [{"stream": secret.stream, "code": "not_found"}]
        assert sse.read_until("event")[2] == made[0]

    def test_what_is_refused_is_a_problem_and_no_stream(self, ada, listen):
        refused = {
            "not_found": listen(ada, streams=["channel:nowhere"]),
            "invalid": listen(ada, cursor="no-cursor"),
        }

        for code, sse in refused.items():
            assert sse.header("Content-Type").startswith("application/problem+json")
            assert sse.refused().code == code

    def test_too_many_streams_are_invalid(self, ada, listen):
        streams = [f"channel:nowhere-{number}" for number in range(129)]

        assert listen(ada, streams=streams).refused().code == "invalid"
