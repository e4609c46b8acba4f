"""The crowd of the benchmarks: what it takes for a fault, so that no figure stands for losses."""

from typing import Any

import orjson
import pytest

from benchmarks.swarm import Guest
from benchmarks.wire import WireError

STREAM = "channel:1"
Json = dict[str, Any]


def event(offset: int) -> Json:
    return {"stream": STREAM, "offset": offset}


def ack(top: int, *missed: int, **more: object) -> Json:
    position = {"offset": top, "epoch": "e"}
    events = [event(offset) for offset in missed]
    return {"ok": True, "stream": STREAM, "position": position, "events": events, **more}


def live(guest: Guest, offset: int) -> None:
    guest.take(b'42["event",%s]' % orjson.dumps(event(offset)))


def answer(guest: Guest, body: Json) -> None:
    guest.take(b"431[%s]" % orjson.dumps(body))


@pytest.fixture
def guest() -> Guest:
    """Somebody who stands at offset 5, and has dropped out."""
    guest = Guest("token", b"packet")
    guest.ready = {"user": {"id": "9"}, "position": {"offset": 0, "epoch": "u"}}
    answer(guest, ack(5))
    guest.positions()
    return guest


class TestWhatAGuestSees:
    def test_events_in_order_are_counted(self, guest: Guest) -> None:
        """Missed ones come with the answer, later ones live."""
        answer(guest, {"ok": True, "streams": {STREAM: ack(7, 6, 7)}})
        live(guest, 8)

        assert guest.has_seen(3)

    def test_it_resumes_both_its_streams(self, guest: Guest) -> None:
        """It names where it stands in its channel, and in its own stream."""
        live(guest, 6)

        assert guest.positions() == {
            STREAM: {"offset": 6, "epoch": "e"},
            "user:9": {"offset": 0, "epoch": "u"},
        }

    @pytest.mark.parametrize("offset", [5, 7])
    def test_a_repeat_or_a_gap_is_an_error(self, guest: Guest, offset: int) -> None:
        """Live events have to follow one another."""
        with pytest.raises(WireError, match="stood at 5"):
            live(guest, offset)

    def test_an_answer_that_leaves_something_out_is_an_error(self, guest: Guest) -> None:
        """What it missed has to lead up to where it is told that it stands."""
        with pytest.raises(WireError, match="told that it is at 7"):
            answer(guest, {"ok": True, "streams": {STREAM: ack(7, 6)}})

    @pytest.mark.parametrize(
        "body", [{"ok": False, "error": {}}, ack(5, more=True), ack(5, reset={"reason": "epoch"})]
    )
    def test_an_answer_that_is_not_the_end_is_an_error(self, guest: Guest, body: Json) -> None:
        """Refusals, resets and pages that leave some for later are no coming back."""
        with pytest.raises(WireError, match="not let in"):
            answer(guest, body)

    def test_more_than_was_written_is_an_error(self, guest: Guest) -> None:
        """Nobody may be given what others were not."""
        live(guest, 6)
        live(guest, 7)

        with pytest.raises(WireError, match="2 events came in place of 1"):
            guest.has_seen(1)

    @pytest.mark.parametrize("text", [b'42["bye",{}]', b"44{}"])
    def test_a_goodbye_is_an_error(self, guest: Guest, text: bytes) -> None:
        """Nobody is sent away while it is measured."""
        with pytest.raises(WireError, match="ended a connection"):
            guest.take(text)
