"""The core's smaller parts: server-sent events, the outbox, and the forms of a call."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfare_client.core.calls import (
    QUERY_AT_MOST,
    Published,
    channel_path,
    of_answer,
    publish_call,
    streams_query,
    subscribe_argument,
)
from fanfare_client.core.errors import from_wire
from fanfare_client.core.events import Position
from fanfare_client.core.outbox import Entry, Outbox, line, replay
from fanfare_client.core.sse import Parser, Sent
from fanfare_client.core.streams import Follow

TEXT = (
    "retry: 3000\n\nevent: ready\nid: c0\ndata: {}\n\n: a comment\n\n"
    'event: event\nid: c1\ndata: {"offset":\ndata:  1}\n\nevent: signal\ndata: {}\n\n'
)
SENT = [
    Sent("ready", "{}", "c0"),
    Sent("event", '{"offset":\n 1}', "c1"),
    Sent("signal", "{}", "c1"),
]


class TestSse:
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @given(cuts=st.lists(st.integers(0, 200), max_size=12))
    def test_it_reads_the_same_however_it_is_cut(self, end, cuts):
        text = TEXT.replace("\n", end)
        places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
        parser = Parser()
        pieces = [text[a:b] for a, b in pairwise(places)]
        sent = [one for piece in pieces for one in parser.feed(piece)]
        sent += parser.feed("\n")  # a CR at the very end waits for its LF

        assert sent == SENT

    def test_what_is_not_complete_is_not_given(self):
        assert Parser().feed("event: event\ndata: {}\n") == []

    def test_other_fields_are_passed_over(self):
        assert Parser().feed("colour: red\ndata\ndata:x\n\n") == [Sent("message", "\nx", "")]


def entry(key: str, stream: str = "channel:a", kind: str = "message") -> Entry:
    return Entry(key, stream, kind, {"body": key})


def keys(entries: list[Entry]) -> list[str]:
    return [one.key for one in entries]


class TestOutbox:
    def test_one_of_each_stream_is_under_way(self):
        outbox = Outbox([entry("1"), entry("2"), entry("3", "channel:b")])

        assert keys(outbox.take()) == ["1", "3"]
        assert outbox.take() == []

    def test_the_next_goes_when_the_one_before_is_done(self):
        first = entry("1")
        outbox = Outbox([first, entry("2")])
        outbox.take()
        outbox.done(first)

        assert keys(outbox.take()) == ["2"]
        assert len(outbox) == 1

    def test_a_key_waits_once_for_a_stream(self):
        outbox = Outbox([entry("1"), entry("1", "channel:b")])

        with pytest.raises(ValueError, match="already"):
            outbox.add(entry("1"))

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20))
    def test_a_journal_brings_back_what_is_not_done_in_order(self, writes):
        wanted: list[Entry] = []
        journal: list[str] = []
        for number, (stream, done) in enumerate(writes):
            one = entry(str(number), stream)
            journal.append(line(one))
            wanted.append(one)
            if done:
                journal.append(line(wanted.pop(0), done=True))

        assert keys(replay(journal)) == keys(wanted)

    def test_a_torn_line_is_passed_over(self):
        whole = line(entry("1"))

        assert keys(replay([whole, whole[:-9]])) == ["1"]


class TestCalls:
    def test_a_message_is_the_same_at_both_doors(self):
        call = publish_call(Entry("k", "channel:or/ders", "message", {"body": "Hello"}))

        assert call.packet == "message.create"
        assert call.argument == {"channel": "or/ders", "body": "Hello", "key": "k"}
        assert call.path == "/channels/or%2Fders/messages"
        assert call.body == {"body": "Hello", "key": "k"}

    def test_an_event_of_the_own_stream_goes_by_publish(self):
        body = {"type": "note.made", "data": 1}
        call = publish_call(Entry("k", "user:me", "event", body))
        wanted = {"stream": "user:me", **body, "key": "k"}

        assert call.argument == wanted
        assert (call.path, call.body) == ("/publish", {"events": [wanted]})

    def test_an_answer_tells_position_and_replay(self):
        headers = {"Fanfare-Position": "channel:a@4/9f3c", "Idempotent-Replay": "true"}
        message = {"id": "m"}

        assert of_answer(entry("1"), message, headers) == Published(
            Position(4, "9f3c"), replayed=True, message=message
        )

    def test_a_refused_outcome_is_given_as_it_is(self):
        error = {"code": "not_found"}
        answer = {"outcomes": [{"ok": False, "error": error}]}

        assert of_answer(entry("1"), answer, {}) == error

    def test_an_answer_of_somebody_in_between_is_none(self):
        """A captive portal says 200 to everything: the publish is tried again."""
        told = of_answer(entry("1"), {"welcome": "to our hotel"}, {})

        assert from_wire(told).retryable

    def test_streams_are_named_with_their_positions_while_that_is_short(self):
        few = [Follow("channel:a", Position(4, "9f3c")), Follow("channel:b")]
        many = [Follow(f"channel:{n:036}", Position(n, "9f3c12ab")) for n in range(40)]

        assert streams_query(few) == "channel:a@4/9f3c,channel:b"
        assert streams_query(many) is None
        assert QUERY_AT_MOST < 4000

    def test_subscribing_goes_on_from_a_position_or_begins_with_history(self):
        on = Follow("channel:a", Position(4, "9f3c"), history=5, presence=True)

        assert subscribe_argument(on) == {
            "stream": "channel:a",
            "after": {"offset": 4, "epoch": "9f3c"},
            "presence": True,
        }
        assert subscribe_argument(Follow("channel:a", history=5)) == {
            "stream": "channel:a",
            "history": 5,
        }

    @pytest.mark.parametrize("channel", ["..", "a/b", "a?b", "ä"])
    def test_a_channel_stays_one_part_of_the_address(self, channel):
        path = channel_path(channel).removeprefix("/channels/")

        assert not set("/?#.") & set(path)


class TestErrors:
    def test_the_code_decides_where_nothing_is_said(self):
        assert from_wire({"code": "unavailable"}).retryable
        assert not from_wire({"code": "forbidden"}).retryable
        assert from_wire({"code": "conflict", "retryable": True}).retryable

    @pytest.mark.parametrize(("status", "code"), [(502, "unavailable"), (403, "forbidden")])
    def test_what_is_not_ours_is_told_by_its_status(self, status, code):
        assert from_wire("<html>", status=status).code == code

    def test_the_wait_is_the_servers(self):
        assert from_wire({"code": "rate_limited", "retry_after": 0.4}).retry_after == 0.4
        assert from_wire({"code": "rate_limited"}, retry_after=2).retry_after == 2
