"""The core's one truth, the positions, against every order in which two doors may tell of a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfare_client.core.events import Event, Position, Reset, Unsubscribed
from fanfare_client.core.streams import HELD_AT_MOST, Follow, Output, Streams

NAME = "channel:01a1f8c4"
EPOCH = "9f3c12ab"


def wire(offset: int, **more: object) -> dict:
    return {"stream": NAME, "offset": offset, "type": "order.paid", "data": offset, **more}


def at(offset: int, epoch: str = EPOCH) -> Position:
    return Position(offset, epoch)


def offsets(out: Output) -> list[int]:
    return [item.offset for _, item in out if isinstance(item, Event)]


@pytest.fixture
def streams() -> Streams:
    return Streams()


def followed(streams: Streams, position: Position | None = None) -> Follow:
    follow = Follow("channel:orders-42", position)
    streams.add(follow)
    streams.bind(follow, NAME)
    return follow


class TestLive:
    def test_the_next_one_is_taken(self, streams):
        follow = followed(streams, at(3))

        assert offsets(streams.live(wire(4))) == [4]
        assert follow.position == at(4)

    def test_a_repeat_is_dropped(self, streams):
        follow = followed(streams, at(3))

        assert streams.live(wire(3)) == []
        assert follow.position == at(3)
        assert not follow.gap

    def test_one_from_further_on_is_put_aside_until_the_others_came(self, streams):
        follow = followed(streams, at(3))

        assert streams.live(wire(6)) == []
        assert follow.gap
        assert streams.live(wire(5)) == []
        assert offsets(streams.live(wire(4))) == [4, 5, 6]
        assert not follow.gap

    def test_what_is_put_aside_is_bounded(self, streams):
        follow = followed(streams, at(0))
        for offset in range(2, 2 * HELD_AT_MOST):
            streams.live(wire(offset))

        assert len(follow.held) == HELD_AT_MOST

    def test_one_of_another_epoch_is_dropped(self, streams):
        """A door that did not hear of the reset yet tells events of the old numbering."""
        follow = followed(streams, at(3, "bbbbbbbb"))

        assert streams.live(wire(4), epoch=EPOCH) == []
        assert follow.position == at(3, "bbbbbbbb")

    def test_one_of_a_stream_that_is_not_followed_is_dropped(self, streams):
        assert streams.live(wire(1)) == []

    def test_one_before_the_stream_has_begun_waits_for_it(self, streams):
        follow = followed(streams)

        assert streams.live(wire(8)) == []
        assert offsets(streams.page(follow, [wire(7)], at(7))) == [7, 8]


class TestPages:
    def test_a_new_stream_begins_where_the_page_ends(self, streams):
        follow = followed(streams)

        assert offsets(streams.page(follow, [wire(6), wire(7)], at(7))) == [6, 7]
        assert follow.started
        assert follow.position == at(7)

    def test_what_was_seen_by_another_door_is_not_given_again(self, streams):
        follow = followed(streams, at(3))
        streams.live(wire(4))

        assert offsets(streams.page(follow, [wire(4), wire(5)], at(5))) == [5]

    def test_a_page_never_leads_back(self, streams):
        follow = followed(streams, at(9))

        assert streams.page(follow, [wire(4)], at(4)) == []
        assert follow.position == at(9)

    def test_a_page_from_elsewhere_is_a_gap(self, streams):
        """A cursor that stood further on than this stream: 4 to 8 are missing."""
        follow = followed(streams, at(3))

        assert streams.page(follow, [wire(9)], at(9)) == []
        assert follow.gap
        assert follow.position == at(3)

    def test_an_empty_page_from_elsewhere_is_a_gap(self, streams):
        follow = followed(streams, at(3))

        assert streams.page(follow, [], at(9)) == []
        assert follow.gap
        assert follow.position == at(3)

    def test_what_still_does_not_fit_is_read_again_once(self, streams):
        follow = followed(streams, at(3))
        streams.live(wire(9))

        assert offsets(streams.page(follow, [wire(4)], at(4))) == [4]
        assert follow.gap
        assert streams.page(follow, [], at(4)) == []
        assert not follow.gap


class TestResets:
    def test_it_is_told_and_the_stream_stands_where_it_says(self, streams):
        follow = followed(streams, at(3))
        streams.live(wire(5))
        out = streams.reset(follow, "trimmed", at(20), asked=at(3))

        assert [item for _, item in out] == [Reset(NAME, "trimmed", at(20))]
        assert follow.position == at(20)
        assert not follow.held

    def test_one_that_another_door_was_faster_than_is_dropped(self, streams):
        follow = followed(streams, at(3))
        streams.live(wire(4))

        assert streams.reset(follow, "ahead", at(2), asked=at(3)) == []
        assert follow.position == at(4)

    def test_it_is_told_once(self, streams):
        follow = followed(streams, at(3))
        streams.reset(follow, "epoch", at(5, "bbbbbbbb"))

        assert streams.reset(follow, "epoch", at(5, "bbbbbbbb")) == []

    def test_a_page_read_before_it_is_dropped(self, streams):
        follow = followed(streams, at(3))
        streams.reset(follow, "epoch", at(5, "bbbbbbbb"))

        assert streams.page(follow, [wire(4)], at(4)) == []
        assert follow.position == at(5, "bbbbbbbb")


class TestNames:
    def test_a_stream_is_followed_once(self, streams):
        followed(streams)

        with pytest.raises(ValueError, match="already"):
            streams.add(Follow(NAME))

    def test_a_second_name_of_it_is_noticed(self, streams):
        followed(streams)
        second = Follow("channel:an-alias")
        streams.add(second)

        assert not streams.bind(second, NAME)

    def test_its_end_is_told_and_it_is_gone(self, streams):
        followed(streams, at(3))
        out = streams.unsubscribed(NAME, "forbidden")

        assert [item for _, item in out] == [Unsubscribed(NAME, "forbidden")]
        assert list(streams) == []
        assert streams.live(wire(4)) == []
        assert streams.unsubscribed(NAME, "forbidden") == []

    def test_signals_of_presence_go_to_who_wants_them(self, streams):
        follow = followed(streams)
        signal = {"stream": NAME, "type": "presence.joined", "data": {}, "at": ""}

        assert streams.signal(signal) == []
        follow.presence = True
        assert len(streams.signal(signal)) == 1


@st.composite
def tellings(draw: st.DrawFn) -> tuple[int, list[tuple[str, int, int]]]:
    """How two doors may tell a log of some length: live, or in pages; dropped, doubled, mixed."""
    top = draw(st.integers(1, 12))
    offset = st.integers(1, top)
    live = st.tuples(st.just("live"), offset, st.just(0))
    page = st.tuples(st.just("page"), st.integers(0, top), offset)
    return top, draw(st.lists(live | page, max_size=40))


class TestAnyOrder:
    @given(tellings())
    def test_what_comes_out_is_the_log_up_to_the_position(self, telling):
        """Whatever is told in whatever order: no gap, no repeat; a last page repairs the rest."""
        top, told = telling
        streams = Streams()
        follow = followed(streams, at(0))
        out: list[int] = []
        for kind, first, last in told:
            if kind == "live":
                out += offsets(streams.live(wire(first)))
            elif last >= first:
                events = [wire(offset) for offset in range(first + 1, last + 1)]
                out += offsets(streams.page(follow, events, at(last)))
            assert follow.position == at(len(out))
        rest = [wire(offset) for offset in range(len(out) + 1, top + 1)]
        out += offsets(streams.page(follow, rest, at(top)))

        assert out == list(range(1, top + 1))

    @given(st.permutations(range(1, 9)))
    def test_a_shuffled_burst_comes_out_in_order(self, order):
        streams = Streams()
        followed(streams, at(0))
        out = [offset for one in order for offset in offsets(streams.live(wire(one)))]

        assert out == list(range(1, 9))


def test_the_streams_can_change_while_one_walks_over_them(streams):
    follow = followed(streams)
    walked = iter(streams)
    streams.remove(follow)

    assert list(walked) == [follow]
