"""Somebody who follows streams without a socket: by a poll that waits, or by SSE.

What is delivered is kept, bounded by bytes and count, until the answer takes it. Where a follower
stands moves only with what it took: what found no room comes again from the log.
"""

from collections import deque
from collections.abc import Callable, Mapping

from core import json
from core.callers import Caller
from core.ids import new_id
from core.positions import Position
from core.times import now_ms
from realtime import green
from realtime.hub import Frame
from realtime.node import Outcome

# What a note weighs beside its body.
_NOTE_BYTES = 200
# So long before its token expires, a follower is told.
_WARNING_S = 60


class Follower:
    """One poll or one stream of SSE."""

    def __init__(self, caller: Caller, *, max_bytes: int, max_events: int | None = None) -> None:
        self.id = new_id()
        self.caller = caller
        self.streams: set[str] = set()
        self.presence: set[str] = set()
        self.positions: dict[str, Position] = {}
        self.bell = green.Bell()
        self.bye: dict[str, object] | None = None
        # It found no room: from then on nothing more is kept.
        self.is_full = False
        self.is_gone = False
        # It was shown to others, and is to be taken away again.
        self.has_arrived = False
        self.on_full: Callable[[], object] = bool
        self.on_bye: Callable[[], object] = bool
        self._notes: deque[Frame] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._events_left = max_events
        self._timers: list[green.Timer] = []

    @property
    def user_id(self) -> str:
        """Whose eyes these are."""
        return self.caller.user_id

    @property
    def session_id(self) -> str:
        """The login session behind it: one device."""
        return self.caller.session_id

    def is_over(self) -> bool:
        """Tell whether nothing more is to be kept for it."""
        return self.is_gone or self.bye is not None

    def wants_presence(self, stream: str) -> bool:
        """Tell whether it asked for signals of who comes and goes."""
        return stream in self.presence

    def deliver(self, frame: Frame) -> None:
        """Keep what must not be lost, or nothing any more."""
        if self.is_full or self.is_over():
            return
        weight = _NOTE_BYTES + len(frame.json)
        if self._bytes + weight > self._max_bytes or self._events_left == 0:
            self.is_full = True
            self.bell.ring()
            self.on_full()
            return
        if frame.name == "event" and self._events_left is not None:
            self._events_left -= 1
        self._keep(frame, weight)

    def deliver_signal(self, frame: Frame) -> None:
        """Keep what may be dropped: half of the room is kept for what may not."""
        if not (self.is_full or self.is_over()) and self._bytes < self._max_bytes // 2:
            self._keep(frame, _NOTE_BYTES + len(frame.json))

    def _keep(self, frame: Frame, weight: int) -> None:
        self._notes.append(frame)
        self._bytes += weight
        self.bell.ring()

    def emit(self, name: str, value: object) -> None:
        """Keep something for this one alone."""
        self.deliver(Frame.of(name, value))

    def take_outcome(self, outcome: Outcome, after: Position | None) -> None:
        """Keep what a subscription from `after` on answered."""
        at, count = outcome.position, len(outcome.events)
        first = at.offset - count
        self.positions[outcome.stream] = Position(first, at.epoch)
        if outcome.reset is not None:
            # It has to be told first: who is cut off before, or has no room, is told again.
            self.positions[outcome.stream] = after or at
            told = {"stream": outcome.stream, **outcome.reset.as_json(), "position": at.as_json()}
            self.deliver(Frame("reset", json.dumps(told), outcome.stream, at))
        for number, body in enumerate(outcome.events, 1):
            position = Position(first + number, at.epoch)
            self.deliver(Frame("event", body, outcome.stream, position))

    def lose(self, stream: str, code: str) -> None:
        """Follow a stream no more, and tell so. Until it is told, a cursor still names it."""
        self.streams.discard(stream)
        told = json.dumps({"stream": stream, "code": code})
        self.deliver(Frame("unsubscribed", told, stream))

    def has_notes(self) -> bool:
        """Tell whether anything waits to be taken."""
        return bool(self._notes)

    def has_reason_to_answer(self) -> bool:
        """Tell whether a poll need not wait any longer."""
        return self.has_notes() or self.is_full or self.is_over()

    def take(self) -> list[Frame]:
        """Take all that was kept, in order. `pass_on` each of it then."""
        notes, self._notes, self._bytes = list(self._notes), deque(), 0
        return notes

    def pass_on(self, frame: Frame) -> None:
        """Stand after what was just told."""
        if frame.name == "unsubscribed":
            self.positions.pop(frame.stream, None)
        elif frame.position is not None:
            self.positions[frame.stream] = frame.position

    def where(self) -> Mapping[str, Position]:
        """Say where it stands in the streams that it follows, as far as it was told."""
        return self.positions

    def watch_expiry(self, *, within_s: float | None, warn: bool) -> None:
        """End with the access token, if that is so soon; `warn` a minute before."""
        left_s = max(0.0, (self.caller.expires_at_ms - now_ms()) / 1000)
        if within_s is not None and left_s > within_s:
            return
        self._timers.append(green.later(left_s, self._expire))
        if warn:
            self._timers.append(green.later(max(0.0, left_s - _WARNING_S), self._warn))

    def _warn(self) -> None:
        left_s = max(0, round((self.caller.expires_at_ms - now_ms()) / 1000))
        self.emit("auth.expiring", {"expires_in": left_s})

    def _expire(self) -> None:
        self.say_goodbye("token_expired", "The access token has expired.", "now")

    def say_goodbye(self, code: str, detail: str, retry: str, retry_after: float = 0) -> None:
        """End with a word why; what was kept is still told."""
        if not self.is_over():
            self.bye = {"code": code, "detail": detail, "retry": retry, "retry_after": retry_after}
            self.bell.ring()
            self.on_bye()

    def go(self) -> None:
        """End without a word: the client has gone."""
        self.is_gone = True
        self.bell.ring()

    def cancel_timers(self) -> None:
        """Forget what was to come."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
