"""One node: puts the events of each watched stream in order, repairs gaps, answers subscriptions.

The node delivers offset top + 1, drops what it has delivered, and reads the log when a hint is
missing. Every few seconds it compares its tops with the log, so a lost hint costs that long.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from core import json
from core.errors import FanfareError
from core.events import Control, Event, Signal
from core.metrics import EVENTS, REPAIRS, STREAMS
from core.positions import Position, Reset, StreamState
from core.services.history import LogPage, LogReader, Wish
from realtime import green
from realtime.bus import Bus, Hint, SignalHint
from realtime.hub import ALWAYS, Frame, Hub, Watcher
from realtime.track import TailBudget, Track

_log = structlog.get_logger(__name__)

# Two commits of one stream may be announced in the wrong order by a hair. So long is waited
# for the earlier one before the log is asked.
_PATIENCE_S = 0.02
_COMPARE_AT_ONCE = 2_000
# So long are streams collected that the bus took up: after a reconnect it is all of them.
_JOINED_S = 0.1
_REPAIR_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one subscription: events in wire form, and where the watcher stands then."""

    stream: str
    position: Position
    events: list[bytes]
    more: bool
    reset: Reset | None


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """Sizes and times of a node."""

    page_bytes: int = 512 * 1024
    tail_events: int = 256
    tail_bytes: int = 64 * 1024 * 1024
    compare_interval_s: float = 2.0
    linger_s: float = 30.0


# Hands the outcomes to the watcher. Must not let others run: what is held is released after it.
Answer = Callable[[dict[str, Outcome]], None]


def _nothing(_streams: list[str]) -> None:
    """Prepare nothing."""


class Node:
    """The watched streams of this process."""

    def __init__(self, hub: Hub, bus: Bus, log: LogReader, limits: NodeLimits) -> None:
        self.hub = hub
        self._bus = bus
        self._log = log
        self._limits = limits
        self._tracks: dict[str, Track] = {}
        self._budget = TailBudget(limits.tail_bytes)
        self._control_listeners: list[Callable[[Control], None]] = []
        self._judge: Callable[[Control], Control | None] = lambda control: control
        # Streams that the bus took up a moment ago, still to be compared with the log.
        self._joined: set[str] = set()
        self._stopped = False

    def start(self) -> None:
        """Begin to hear other nodes and to compare tops."""
        self._bus.start(self)
        green.spawn(self._compare_for_ever)

    def stop(self) -> None:
        """Compare no more, and hear no other node."""
        self._stopped = True
        self._bus.stop()

    def hears_others(self) -> bool:
        """Tell whether the bus is up."""
        return self._bus.is_up()

    def tell_controls_to(self, listener: Callable[[Control], None]) -> None:
        """Say who acts on lost access. The listener must not wait for anything."""
        self._control_listeners.append(listener)

    def judge_controls_by(self, judge: Callable[[Control], Control | None]) -> None:
        """Say who knows what to do about word of the bus, which may be old, if anything at all."""
        self._judge = judge

    # What comes from this node's own commits.

    def committed(self, events: list[Event], controls: list[Control]) -> None:
        """Deliver what was just committed here, and give the other nodes a hint of it."""
        EVENTS.inc(len(events))
        for event in events:
            hint = Hint(event.stream, event.epoch, event.offset, event.json)
            self.on_hint(hint)
            self._bus.publish(hint)
        for control in controls:
            self.act_on(control)
            self._bus.control(control)

    def emit_signal(self, signal: Signal, but: Watcher | None = None) -> None:
        """Give a signal to whoever watches, here and on other nodes, but not to its maker."""
        hint = SignalHint(signal.stream, signal.json, signal.presence)
        self._fan_out(hint, but)
        self._bus.signal(hint)

    # What comes from the bus.

    def on_hint(self, hint: Hint) -> None:
        """Take a hint of a committed event."""
        track = self._tracks.get(hint.stream)
        if track is not None and not track.offer(hint.epoch, hint.offset, hint.json):
            self._repair_soon(track)

    def on_signal(self, signal: SignalHint) -> None:
        """Take a signal of another node."""
        self._fan_out(signal, None)

    def _fan_out(self, signal: SignalHint, but: Watcher | None) -> None:
        give = self.hub.fan_out_presence if signal.presence else self.hub.fan_out_signal
        give(signal.stream, Frame("signal", signal.json), but)

    def on_control(self, control: Control) -> None:
        """Take word of lost access; it may be late, and known by another way already."""
        judged = self._judge(control)
        if judged is not None:
            self.act_on(judged)

    def act_on(self, control: Control) -> None:
        """Have everybody here act on lost access."""
        for listener in self._control_listeners:
            listener(control)

    def on_joined(self, stream: str) -> None:
        """Look, once for many streams, whether a hint was missed before the bus took them up."""
        if not self._joined:
            green.later(_JOINED_S, self._compare_joined)
        self._joined.add(stream)

    # Subscriptions.

    def subscribe(
        self,
        watcher: Watcher,
        wishes: Mapping[str, Wish],
        limit: int,
        answer: Answer,
        *,
        prepare: Callable[[list[str]], None] = _nothing,
    ) -> None:
        """Subscribe a watcher to streams and answer with what it missed.

        `prepare` is called before the answer with the streams that will be watched after it,
        and may wait: what comes meanwhile is kept.

        Streams that have gone (or that the watcher lost meanwhile) are not in the answer. A
        stream with more to come, or none, is watched only when a later call reaches its end.

        Raises:
            UnavailableError: the log can't be read; nothing is watched then.
        """
        outcomes: dict[str, Outcome] = {}
        try:
            for stream in wishes:
                self._hold(stream, watcher)
            outcomes = self._outcomes(wishes, limit)
            prepare([s for s, o in outcomes.items() if not o.more and self.hub.is_held(s, watcher)])
            outcomes = {s: o for s, o in outcomes.items() if self.hub.is_held(s, watcher)}
            answer(outcomes)
        finally:
            for stream in wishes:
                outcome = outcomes.get(stream)
                if outcome is None or outcome.more:
                    self.unsubscribe(watcher, stream)
                else:
                    self.hub.release(stream, watcher, outcome.position.offset)

    def unsubscribe(self, watcher: Watcher, stream: str) -> bool:
        """Stop watching; tell whether there was anything to stop."""
        was = self.hub.drop(stream, watcher)
        track = self._tracks.get(stream)
        if track is not None and not self.hub.is_watched(stream):
            # It lingers: who was cut off comes back soon, and finds the tail still in memory.
            track.idle_since = time.monotonic()
            if track.top is None:
                self._forget(track)
        return was

    def _hold(self, stream: str, watcher: Watcher) -> None:
        if stream not in self._tracks:
            self._tracks[stream] = Track(
                stream, self._deliver, self._budget, self._limits.tail_events
            )
            self._bus.join(stream)
            STREAMS.set(len(self._tracks))
        self._tracks[stream].idle_since = None
        self.hub.hold(stream, watcher)

    def _deliver(self, track: Track, offset: int, body: bytes) -> None:
        frame = Frame("event", body, track.stream, Position(offset, track.epoch))
        self.hub.fan_out(track.stream, offset, frame)

    def _outcomes(self, wishes: Mapping[str, Wish], limit: int) -> dict[str, Outcome]:
        budget = self._limits.page_bytes
        outcomes: dict[str, Outcome] = {}
        for stream, wish in wishes.items():
            outcome = self._from_memory(self._tracks[stream], wish, limit, budget)
            if outcome is not None:
                outcomes[stream] = outcome
                budget -= sum(map(len, outcome.events))
        rest = {stream: wish for stream, wish in wishes.items() if stream not in outcomes}
        if rest:
            for stream, page in self._log.read(rest, limit, budget).items():
                # None: access was lost while the log was read, and nobody else watches.
                track = self._tracks.get(stream)
                if track is not None:
                    outcomes[stream] = self._from_log(track, page)
        return outcomes

    def tail(self, stream: str, after: Position, upto: int, limit: int) -> list[bytes] | None:
        """Give a stream's events after a position up to an offset, if all are in memory."""
        track = self._tracks.get(stream)
        if track is None:
            return None
        return track.tail_after(after, limit, self._limits.page_bytes, upto)

    def _from_memory(self, track: Track, wish: Wish, limit: int, budget: int) -> Outcome | None:
        if track.top is None:
            return None
        here = Position(track.top, track.epoch)
        after = wish.after or Position(max(0, track.top - wish.history), track.epoch)
        events = track.tail_after(after, max(limit, wish.history), budget)
        return None if events is None else Outcome(track.stream, here, events, False, None)

    def _from_log(self, track: Track, page: LogPage) -> Outcome:
        if not page.more:
            self._reach(track, page.state)
        # Two may come at once to a stream that is new here. If the later reader of the log was
        # the first to be done, delivery began after the earlier one's page, and what lies
        # between was kept for nobody: then there is more to ask for.
        more = page.more or not track.reaches(page.position)
        events = [event.json for event in page.events]
        return Outcome(track.stream, page.position, events, more, page.reset)

    def _reach(self, track: Track, state: StreamState) -> None:
        # The watcher will stand at the log's top; the node must stand there as well, or it
        # would deliver to that watcher what its answer held already.
        track.start(state.position)
        if track.epoch != state.epoch or (track.top or 0) < state.top:
            self._repair(track)
        elif track.has_gap:
            self._repair_soon(track)

    def tops(self, streams: Iterable[str]) -> dict[str, Position]:
        """Look up where streams stand; those that do not exist are left out.

        Raises:
            UnavailableError.
        """
        names = list(streams)
        return {name: s.position for name, s in self._log.tops(names).items()} if names else {}

    # Order and repair.

    def _repair_soon(self, track: Track) -> None:
        if not track.repairing:
            track.repairing = True
            green.later(_PATIENCE_S, self._repair_if_needed, track)

    def _repair_if_needed(self, track: Track) -> None:
        track.repairing = False
        if self._tracks.get(track.stream) is track:
            try:
                self._repair(track)
            except FanfareError as error:
                _log.warning("repair failed", stream=track.stream, code=error.code)

    def _repair(self, track: Track) -> None:
        """Read the log from the track's top on, until nothing is missing."""
        REPAIRS.inc()
        while track.top is not None:
            start = Position(track.top, track.epoch)
            wish = {track.stream: Wish(start)}
            page = self._log.read(wish, _REPAIR_EVENTS, self._limits.page_bytes).get(track.stream)
            if page is None:
                return
            if page.reset is not None:
                self._reset(track, start, page.reset)
                return
            for event in page.events:
                track.offer(event.epoch, event.offset, event.json)
            if not page.more:
                return

    def _reset(self, track: Track, start: Position, reset: Reset) -> None:
        if Position(track.top or 0, track.epoch) != start:
            return  # Somebody else repaired it while the log was read.
        _log.warning("stream reset", stream=track.stream, reason=reset.reason)
        track.restart(reset.top)
        told = {
            "stream": track.stream,
            "reason": reset.reason,
            "position": reset.top.as_json(),
        }
        frame = Frame("reset", json.dumps(told), track.stream, reset.top)
        self.hub.fan_out(track.stream, ALWAYS, frame)

    def _compare_for_ever(self) -> None:
        while not self._stopped:
            # Jitter: many nodes must not ask the database in step.
            wait_s = self._limits.compare_interval_s * random.uniform(0.75, 1.25)  # noqa: S311
            green.sleep(wait_s)
            try:
                self._forget_idle()
                self.compare()
            except FanfareError as error:
                _log.warning("comparing tops failed", code=error.code)
            except Exception:  # noqa: BLE001 - the loop must live on
                _log.exception("comparing tops failed")

    def compare(self) -> None:
        """Look up where all watched streams stand, and repair those that fell behind.

        Raises:
            UnavailableError.
        """
        self._compare(list(self._tracks))

    def _compare_joined(self) -> None:
        names, self._joined = self._joined, set()
        try:
            self._compare(names)
        except FanfareError as error:
            _log.warning("comparing tops failed", code=error.code)
        # Their first watcher still reads the log, perhaps as it stood before the bus took them up.
        for name in names:
            if name in self._tracks and self._tracks[name].top is None:
                self.on_joined(name)

    def _compare(self, streams: Iterable[str]) -> None:
        tracks = self._tracks
        places = [
            (name, (track.top, track.epoch))
            for name in streams
            if (track := tracks.get(name)) is not None and track.top is not None
        ]
        for first in range(0, len(places), _COMPARE_AT_ONCE):
            part = dict(places[first : first + _COMPARE_AT_ONCE])
            for name, state in self._log.moved(part).items():
                track = tracks.get(name)
                if track is not None and _is_behind(track, state):
                    self._repair(track)

    def _forget_idle(self) -> None:
        dead = time.monotonic() - self._limits.linger_s
        for track in list(self._tracks.values()):
            if track.idle_since is not None and track.idle_since < dead:
                self._forget(track)

    def _forget(self, track: Track) -> None:
        track.forget_tail()
        del self._tracks[track.stream]
        self._bus.leave(track.stream)
        STREAMS.set(len(self._tracks))


def _is_behind(track: Track, state: StreamState) -> bool:
    return track.top is not None and (state.epoch != track.epoch or state.top != track.top)
