"""The doors over plain HTTP: who follows streams by a poll that waits, or by SSE, on this node.

A follower is a watcher like a socket's connection: fed by the same hub, bounded, and ended by the
same controls. It holds no state beyond its request: a cursor goes on from there on any node.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from core.callers import Caller
from core.errors import (
    FanfareError,
    NotFoundError,
    TokenExpiredError,
    TokenRevokedError,
    TooManyConnectionsError,
)
from core.event_cursor import EventCursors
from core.follow import Answer, Ask
from core.metrics import CUTS, FOLLOWERS, FOLLOWERS_GONE
from core.positions import Position
from core.services.callers import Callers
from core.services.history import Wish
from core.services.lookups import Lookups
from realtime import green
from realtime.access_ends import AccessEnds
from realtime.connections import Connections
from realtime.follower import Follower
from realtime.green_line import Line
from realtime.node import Node, Outcome
from realtime.presence import Presence
from realtime.sse import SseStream

_log = structlog.get_logger(__name__)

_DRAINING = ("draining", "The node is shutting down.", "later")
# Events of one stream that are read at once for a stream of SSE.
_PAGE_EVENTS = 500
# How long somebody may take to read the goodbye.
_GOODBYE_S = 5.0
# What ends a poll with an error; any other goodbye is a part of the answer.
_ENDS: dict[object, type[FanfareError]] = {
    "token_expired": TokenExpiredError,
    "token_revoked": TokenRevokedError,
}


Lost = dict[str, str] | bytes


@dataclass(frozen=True, slots=True)
class FollowerLimits:
    """What is allowed at these doors."""

    max_queued_bytes: int
    max_per_user: int


@dataclass(frozen=True, slots=True)
class FollowerParts:
    """What these doors work with."""

    node: Node
    presence: Presence
    callers: Callers
    lookups: Lookups
    cursors: EventCursors
    node_id: str
    limits: FollowerLimits


class Followers:
    """Everybody who follows by plain HTTP."""

    def __init__(self, parts: FollowerParts) -> None:
        self.parts = parts
        self._all: Connections[Follower] = Connections(FOLLOWERS)
        self._access = AccessEnds(self, parts.callers, parts.lookups)
        self._spread: Callable[[int], list[float]] | None = None
        parts.node.tell_controls_to(self._access.on_control)

    # The doors.

    def poll(self, caller: Caller, ask: Ask, environ: dict[str, Any]) -> Answer:
        """Wait until there is something to tell, for `wait_s` at most, and tell it.

        Raises:
            NotFoundError: none of the streams may be read.
            TooManyConnectionsError, UnavailableError.
            TokenExpiredError, TokenRevokedError: also while it waits.
        """
        follower = self._admit(caller, max_events=ask.limit)
        line = Line(environ)
        try:
            more: set[str] = set()
            names, lost = self._follow(follower, ask, more)
            # Of a stream that is new here there may be more without an event: nothing of it would
            # come while one waits.
            while more and not follower.has_reason_to_answer():
                self._read_on(follower, more)
            if not (ask.is_named or follower.has_notes() or lost):
                self._wait(follower, line, ask.wait_s)
            return _answer(follower, names, lost)
        finally:
            line.close()
            self.leave(follower)

    def _wait(self, follower: Follower, line: Line, wait_s: float) -> None:
        follower.watch_expiry(within_s=wait_s, warn=False)
        line.watch(lambda: self._lose(follower))
        until = time.monotonic() + wait_s
        while not follower.has_reason_to_answer():
            if not follower.bell.wait(max(0.0, until - time.monotonic())):
                return

    def stream(self, caller: Caller, ask: Ask, environ: dict[str, Any]) -> SseStream:
        """Open a stream of SSE, and give its pieces. It must be closed.

        Raises:
            NotFoundError: none of the streams may be read.
            TooManyConnectionsError, UnavailableError.
        """
        follower = self._admit(caller, max_events=None)
        line = Line(environ)
        follower.on_full = lambda: self._cut(follower)
        # Whoever writes to it may wait for a client that reads nothing.
        follower.on_bye = lambda: green.later(_GOODBYE_S, line.cut)
        stream = SseStream(follower, self.parts.cursors, lambda: self._read_on(follower, more))
        try:
            more: set[str] = set()
            names, lost = self._follow(follower, ask, more)
            follower.watch_expiry(within_s=None, warn=True)
            line.watch(lambda: self._lose(follower))
            stream.greet(names, lost, self.parts.node_id)
        except BaseException:
            line.close()
            self.leave(follower)
            raise
        stream.at_end(line.close)
        stream.at_end(lambda: self.leave(follower))
        return stream

    def place(self, caller: Caller, asked: Mapping[str, Position | None]) -> Answer:
        """Tell where one stands in streams: where one says, or at their top.

        Raises:
            NotFoundError: none of them may be read.
            UnavailableError.
        """
        names = self._access.readable(caller, asked)
        tops = self.parts.node.tops({names[name] for name in names if asked[name] is None})
        answer = Answer(names, unsubscribed=_unreadable(asked, names))
        for name, full in names.items():
            at = asked[name] or tops.get(full)
            if at is not None:
                answer.positions[full] = at
        if not answer.positions:
            raise NotFoundError("There is no such stream.")
        return answer

    # Coming and going.

    def _admit(self, caller: Caller, *, max_events: int | None) -> Follower:
        limits = self.parts.limits
        if self._all.count(caller.user_id) >= limits.max_per_user:
            raise TooManyConnectionsError("You have too many polls and streams open.")
        follower = Follower(caller, max_bytes=limits.max_queued_bytes, max_events=max_events)
        self._all.add(follower.id, follower)
        if self._spread is not None:
            # It came in while everybody else was sent away.
            follower.say_goodbye(*_DRAINING, self._spread(len(self._all))[0])
        return follower

    def _follow(
        self, follower: Follower, ask: Ask, more: set[str] | None = None
    ) -> tuple[dict[str, str], list[Lost]]:
        names = self._access.readable(follower.caller, ask.streams)
        if not names:
            raise NotFoundError("There is no such stream.")
        follower.streams.update(names.values())
        shown = {full for name, full in names.items() if name in ask.presence}
        if shown:
            follower.has_arrived = True
            self.parts.presence.arrive(follower)
            follower.presence.update(shown)
        wishes = {full: _wish(ask, name) for name, full in names.items()}
        outcomes = self._subscribe(follower, wishes, ask.limit)
        if more is not None:
            more.update(name for name, outcome in outcomes.items() if outcome.more)
        return names, _unreadable(ask.streams, names)

    def _subscribe(
        self, follower: Follower, wishes: Mapping[str, Wish], limit: int
    ) -> Mapping[str, Outcome]:
        told: dict[str, Outcome] = {}

        def prepare(streams: list[str]) -> None:
            shown = [stream for stream in streams if stream in follower.presence]
            if shown:
                self.parts.presence.enter(follower.id, shown)

        def answer(outcomes: dict[str, Outcome]) -> None:
            told.update(outcomes)
            for stream in wishes.keys() - outcomes.keys():
                if stream in follower.streams:
                    follower.lose(stream, "not_found")
            for stream, outcome in outcomes.items():
                follower.take_outcome(outcome, wishes[stream].after)

        self.parts.node.subscribe(follower, wishes, limit, answer, prepare=prepare)
        return told

    def _read_on(self, follower: Follower, more: set[str]) -> bool:
        """Read the next page of the streams that have more; tell whether there were any."""
        wanted = more & follower.streams
        more.clear()
        if wanted:
            wishes = {stream: Wish(follower.positions[stream]) for stream in wanted}
            outcomes = self._subscribe(follower, wishes, _PAGE_EVENTS)
            more.update(name for name, outcome in outcomes.items() if outcome.more)
        return bool(wanted)

    def leave(self, follower: Follower) -> None:
        """Let go of everything that a follower held."""
        self._all.remove(follower.id)
        follower.cancel_timers()
        follower.is_gone = True
        for stream in follower.streams:
            self.parts.node.unsubscribe(follower, stream)
        if follower.has_arrived:
            self.parts.presence.gone(follower.id, time.monotonic())

    def _lose(self, follower: Follower) -> None:
        FOLLOWERS_GONE.inc()
        follower.go()

    def _cut(self, follower: Follower) -> None:
        CUTS.inc()
        _log.info("follower cut", follower=follower.id, code="slow_consumer")
        follower.say_goodbye("slow_consumer", "The connection does not keep up.", "now")

    # What `AccessEnds` asks for.

    def clients_of(self, user_id: str) -> list[Follower]:
        """Give a user's followers."""
        return self._all.of_user(user_id)

    def watchers_of(self, stream: str) -> list[Follower]:
        """Give those who follow a stream."""
        return [one for one in self.parts.node.hub.watchers(stream) if isinstance(one, Follower)]

    def end_subscription(self, follower: Follower, stream: str, code: str) -> None:
        """Stop somebody who lost access to a stream, and tell them."""
        self.parts.node.unsubscribe(follower, stream)
        if stream in follower.presence:
            follower.presence.discard(stream)
            self.parts.presence.leave(follower.id, stream)
        follower.lose(stream, code)
        if not follower.streams:
            follower.say_goodbye(code, "None of the streams may be read any more.", "never")

    def hide(self, follower: Follower) -> None:
        """Have somebody no longer be present anywhere."""
        self.parts.presence.depart(follower.id)

    # The end of the node.

    def begin_to_leave(self, spread: Callable[[int], list[float]]) -> None:
        """Answer everybody with what there is, and say when to come back."""
        self._spread = spread
        everybody = list(self._all)
        for follower, seconds in zip(everybody, spread(len(everybody)), strict=True):
            follower.say_goodbye(*_DRAINING, seconds)

    def go_on_leaving(self) -> bool:
        """Tell whether nobody is left."""
        return not len(self._all)


def _wish(ask: Ask, name: str) -> Wish:
    at = ask.streams[name]
    return Wish(at) if at is not None else Wish(history=ask.history)


def _unreadable(asked: Iterable[str], names: Mapping[str, str]) -> list[Lost]:
    return [{"stream": name, "code": "not_found"} for name in asked if name not in names]


def _answer(follower: Follower, names: dict[str, str], lost: list[Lost]) -> Answer:
    """Take what a follower was given for an answer."""
    if follower.bye is not None and follower.bye["code"] in _ENDS:
        raise _ENDS[follower.bye["code"]](str(follower.bye["detail"]))
    answer = Answer(names, unsubscribed=lost, bye=follower.bye)
    places: dict[str, list[Any]] = {
        "event": answer.events,
        "signal": answer.signals,
        "reset": answer.resets,
        "unsubscribed": answer.unsubscribed,
    }
    for frame in follower.take():
        places[frame.name].append(frame.json)
        follower.pass_on(frame)
    answer.positions = dict(follower.where())
    return answer
