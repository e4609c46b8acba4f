"""Lean readers by the doors over plain HTTP: polls that wait, and Server-Sent Events.

Each follows one shared stream and its user's own. The events of the shared one have to come with
offsets that follow one another: a gap, a repeat, an error or a goodbye is no figure.
"""

import time
from typing import Any

import orjson

from benchmarks.swarm import Client
from benchmarks.wire import WireError, header, request

Json = dict[str, Any]
_PATH = "/api/v1/events"
_WAIT_S = 60


class Reader(Client):
    """One reader of a stream; `seen` counts its events."""

    def __init__(self, token: str, stream: str) -> None:
        super().__init__()
        self.token = token
        self.stream = stream
        self.at = 0
        self.seen = 0
        self.seen_at = 0.0
        self._buffer = b""

    def _stand(self, positions: Json) -> None:
        if self.stream not in positions or len(positions) != 2:
            raise WireError(f"a reader was let in to {sorted(positions)}")
        self.at = positions[self.stream]["offset"]

    def _take(self, event: Json) -> None:
        if event["stream"] != self.stream or event["offset"] != self.at + 1:
            raise WireError(f"a reader that stood at {self.at} was given {event}")
        self.at += 1
        self.seen += 1
        self.seen_at = time.perf_counter()

    @property
    def _streams(self) -> str:
        return f"streams={self.stream},user:me"


class SseReader(Reader):
    """A stream of Server-Sent Events; `beats` counts the comments that break its silence."""

    def __init__(self, token: str, stream: str) -> None:
        super().__init__(token, stream)
        self.beats = 0
        self._text = b""
        self._is_begun = False

    def hello(self) -> bytes:
        """Ask for the stream."""
        return request(f"{_PATH}/stream?{self._streams}", self.token)

    def receive(self, data: bytes) -> None:
        """Take the blocks that are whole."""
        self._buffer += data
        if not self._is_begun:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise WireError(f"a stream was refused: {self._buffer[:500]!r}")
            self._is_begun, self._buffer = True, rest
        self._unchunk()
        *blocks, self._text = self._text.split(b"\n\n")
        for block in blocks:
            self._act_on(block)

    def _unchunk(self) -> None:
        while True:
            size, found, rest = self._buffer.partition(b"\r\n")
            if not found or len(rest) < int(size, 16) + 2:
                return
            if int(size, 16) == 0:
                raise WireError("the server ended a stream")
            self._text += rest[: int(size, 16)]
            self._buffer = rest[int(size, 16) + 2 :]

    def _act_on(self, block: bytes) -> None:
        if block == b":":
            self.beats += 1
            return
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
        if fields.get(b"event") == b"event":
            self._take(orjson.loads(fields[b"data"]))
        elif fields.get(b"event") == b"ready":
            self._stand(orjson.loads(fields[b"data"])["positions"])
            self.is_live = True
        elif b"retry" not in fields:
            raise WireError(f"a stream was told {block[:500]!r}")


class PollReader(Reader):
    """One poll after another, each when it is told to; live with the answer to the first.

    One that waited in vain waits again by itself: else the server would hang up in between.
    """

    def __init__(self, token: str, stream: str) -> None:
        super().__init__(token, stream)
        self.cursor = ""
        self.answers = 0
        self._waits = False

    def hello(self) -> bytes:
        """Ask by name."""
        return request(f"{_PATH}?{self._streams}", self.token)

    def go_on(self, wait_s: int = _WAIT_S) -> None:
        """Ask for what comes."""
        self._waits = wait_s > 0
        path = f"{_PATH}?cursor={self.cursor}&wait={wait_s}"
        self.socket.sendall(request(path, self.token))

    def receive(self, data: bytes) -> None:
        """Take an answer that is whole."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(header(head, "content-length")):
            return
        self._buffer = b""
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise WireError(f"a poll was refused: {body[:500]!r}")
        self._act_on(orjson.loads(body))

    def _act_on(self, answer: Json) -> None:
        if answer["bye"] or answer["resets"] or answer["unsubscribed"] or answer["signals"]:
            raise WireError(f"a poll was told {answer}")
        if not self.is_live:
            self._stand(answer["positions"])
        for event in answer["events"]:
            self._take(event)
        self.cursor = answer["cursor"]
        self.answers += 1
        self.is_live = True
        if self._waits and not answer["events"]:
            self.go_on()
