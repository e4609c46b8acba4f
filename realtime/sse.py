"""Server-Sent Events: what one follower is told, as `text/event-stream`.

Each thing that moves the reader carries the cursor behind it as its id, so a browser's own
`Last-Event-ID` goes on from there, on any node.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from core.errors import FanfareError
from core.event_cursor import EventCursors
from core.times import now_ms, to_rfc3339
from realtime.follower import Follower
from realtime.hub import Frame

_log = structlog.get_logger(__name__)

# A line of silence is broken, or proxies take the stream for dead.
BEAT_S = 15.0
_RETRY_MS = 3000


class SseStream:
    """The pieces of one stream, as an iterable that must be closed.

    `read_on` reads more of the log for the follower, if there is more, and tells so.
    """

    def __init__(
        self, follower: Follower, cursors: EventCursors, read_on: Callable[[], bool]
    ) -> None:
        self._follower = follower
        self._cursors = cursors
        self._read_on = read_on
        self._at_end: list[Callable[[], object]] = []
        self._greeting = b""
        self._is_over = False

    def greet(self, names: Mapping[str, str], lost: Sequence[object], node_id: str) -> None:
        """Say first where the reader stands: it may be cut off before the first event."""
        told = {
            "streams": names,
            "positions": {name: at.as_json() for name, at in self._follower.where().items()},
            "unsubscribed": lost,
            "node": node_id,
            "server_time": to_rfc3339(now_ms()),
        }
        ready = self._render(Frame.of("ready", told), with_id=True)
        self._greeting = b"retry: %d\n\n" % _RETRY_MS + ready

    def at_end(self, work: Callable[[], object]) -> None:
        """Do something when the stream is closed."""
        self._at_end.append(work)

    def __iter__(self) -> Iterator[bytes]:
        """Give the pieces until the follower's end."""
        return self

    def __next__(self) -> bytes:
        """Wait for the next piece."""
        if self._greeting:
            greeting, self._greeting = self._greeting, b""
            return greeting
        while not self._is_over:
            if self._follower.has_notes():
                return b"".join(map(self._tell, self._follower.take()))
            if self._follower.is_over():
                return self._end()
            if not self._has_read_on() and not self._follower.bell.wait(BEAT_S):
                return b":\n\n"
        raise StopIteration

    def _end(self) -> bytes:
        self._is_over = True
        if self._follower.bye is None:
            raise StopIteration
        return self._render(Frame.of("bye", self._follower.bye))

    def _has_read_on(self) -> bool:
        try:
            return self._read_on()
        except FanfareError as error:
            self._follower.say_goodbye(error.code, error.detail, "later", 1)
            return True

    def _tell(self, frame: Frame) -> bytes:
        self._follower.pass_on(frame)
        return self._render(frame, with_id=frame.name in ("event", "reset", "unsubscribed"))

    def _render(self, frame: Frame, *, with_id: bool = False) -> bytes:
        cursor = self._cursors.write(self._follower.where()).encode() if with_id else b""
        mark = b"id: " + cursor + b"\n" if with_id else b""
        return b"event: %s\n%sdata: %s\n\n" % (frame.name.encode(), mark, frame.json)

    def close(self) -> None:
        """Let go of everything. Called by the server, however the answer ended."""
        self._is_over = True
        for work in self._at_end:
            work()
        self._at_end.clear()
