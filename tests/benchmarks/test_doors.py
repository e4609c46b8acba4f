"""The measure of the doors over plain HTTP runs, and its readers take every fault for one."""

import math
from contextlib import ExitStack
from typing import Any

import orjson
import pytest

from benchmarks import machine
from benchmarks.doors import waiting
from benchmarks.readers import PollReader, Reader, SseReader
from benchmarks.stage import Bench
from benchmarks.wire import WireError
from tests.benchmarks.test_on_several import EFFORT

STREAM = "channel:1"
Json = dict[str, Any]
PLACES = {STREAM: {"offset": 5, "epoch": "e"}, "user:9": {"offset": 0, "epoch": "u"}}


class TestTheMeasure:
    def test_it_gives_its_figures(self) -> None:
        """Everybody was told everything once, or there would be an error."""
        with ExitStack() as stack:
            rows = list(waiting(Bench("sqlite", machine.cores(), stack), EFFORT))

        assert len(rows) == 9
        assert all(math.isfinite(value) for row in rows for value in row.values)


def event(offset: int) -> Json:
    return {"stream": STREAM, "offset": offset}


def answer(*events: Json, **more: Any) -> bytes:
    rest = {"resets": [], "unsubscribed": [], "signals": [], "bye": None, **more}
    body = {"positions": PLACES, "events": events, "cursor": "c", **rest}
    text = orjson.dumps(body)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


def block(name: str, value: object) -> bytes:
    text = f"event: {name}\nid: c\ndata: {orjson.dumps(value).decode()}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(text), text)


@pytest.fixture
def poll() -> PollReader:
    """A poll that stands at offset 5."""
    reader = PollReader("token", STREAM)
    reader.receive(answer())
    return reader


@pytest.fixture
def stream() -> SseReader:
    """A stream that stands at offset 5."""
    reader = SseReader("token", STREAM)
    reader.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    reader.receive(block("ready", {"positions": PLACES}))
    return reader


def feed(reader: Reader, data: bytes) -> None:
    """Byte by byte, as a network may."""
    for number in range(len(data)):
        reader.receive(data[number : number + 1])


class TestWhatAReaderSees:
    def test_events_in_order_are_counted(self, poll: PollReader, stream: SseReader) -> None:
        """However they are cut into pieces; a beat is none."""
        feed(poll, answer(event(6), event(7)))
        feed(stream, block("event", event(6)) + b"3\r\n:\n\n\r\n" + block("event", event(7)))

        assert (poll.seen, poll.answers, stream.seen, stream.beats) == (2, 2, 2, 1)

    @pytest.mark.parametrize("offset", [5, 7])
    def test_a_repeat_or_a_gap_is_an_error(
        self, poll: PollReader, stream: SseReader, offset: int
    ) -> None:
        """Events have to follow one another."""
        with pytest.raises(WireError, match="stood at 5"):
            poll.receive(answer(event(offset)))
        with pytest.raises(WireError, match="stood at 5"):
            stream.receive(block("event", event(offset)))

    def test_a_goodbye_is_an_error(self, poll: PollReader, stream: SseReader) -> None:
        """Nobody is sent away while it is measured."""
        with pytest.raises(WireError, match="a poll was told"):
            poll.receive(answer(bye={"code": "draining"}))
        with pytest.raises(WireError, match="a stream was told"):
            stream.receive(block("bye", {"code": "draining"}))
        with pytest.raises(WireError, match="ended a stream"):
            stream.receive(b"0\r\n\r\n")

    def test_a_refusal_is_an_error(self) -> None:
        """Those who are not let in would cost nothing."""
        refusal = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
        for reader in (PollReader("token", STREAM), SseReader("token", STREAM)):
            with pytest.raises(WireError, match="refused"):
                reader.receive(refusal)
