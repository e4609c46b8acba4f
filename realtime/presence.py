"""Who of this node's connections is where: written to the store, and told to watchers.

What this node wants to be true stands here, so a store that is away or loses everything is filled
again. One batch is written at a time: what follows upon another can't overtake it. Who drops out
is shown for a short grace more, so a reconnect is seen by nobody.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from core import json
from core.errors import UnavailableError
from core.events import Signal, user_stream
from core.metrics import PRESENCE_SWEPT, PRESENT
from core.times import now_ms, rfc3339_or_none, to_rfc3339
from realtime import green
from realtime.hub import Watcher
from realtime.presence_place import Guest, Place
from realtime.presence_store import Change, Entry, PresenceStore, Roster, Write

_log = structlog.get_logger(__name__)

_WRITTEN_AT_ONCE = 200
# Beyond it those who dropped out first leave without the rest of their grace.
_MOST_LEAVING = 10_000
_TICK_S = 0.25
_TELL_COUNTS_S = 1.0
_RETRY_S = 1.0
# So long the lease of a node that ends lasts: its people have come back elsewhere, or not.
_LAST_LEASE_S = 3.0


@dataclass(frozen=True, slots=True)
class PresenceLimits:
    """Sizes and times."""

    lease_s: float = 15
    grace_s: float = 3
    roster_most: int = 200


@dataclass(frozen=True, slots=True)
class _Todo:
    """A write that waits. A `quiet` one is told to nobody by itself."""

    entry: Entry
    leaves: bool
    quiet: bool = False


class Emit(Protocol):
    """Hands a signal to the watchers of its stream."""

    def __call__(self, signal: Signal, but: Watcher | None = None) -> None:
        """Give it to all but one."""


class Presence:
    """Presence of the connections of this node."""

    def __init__(
        self,
        store: PresenceStore,
        emit: Emit,
        limits: PresenceLimits,
        *,
        clock: Callable[[], int] = now_ms,
        spawn: Callable[..., None] = green.spawn,
    ) -> None:
        self._store = store
        self._emit = emit
        self._limits = limits
        self._clock = clock
        self._spawn = spawn
        self._turn = green.make_lock()
        self._places: dict[str, Place] = {}
        # How many connections of a user are in a stream here.
        self._pairs: dict[tuple[str, str], int] = {}
        self._todo: dict[tuple[str, str], _Todo] = {}
        self._is_settling = False
        self._leaving: deque[tuple[float, str]] = deque()
        self._crowds: set[str] = set()
        self._counts_told_s = float("-inf")
        self._renew_at_s = float("-inf")
        self._is_lost = False
        self._suspects: frozenset[str] = frozenset()
        self._stopped = False

    # Connections.

    def arrive(self, guest: Guest) -> None:
        """Show a new connection, in its user's own stream. Does not wait."""
        place = self._places[guest.id] = Place.of(guest, self._clock())
        self._put(place, place.own, place.at_ms)
        self._settle_soon()

    def enter(self, connection_id: str, streams: Iterable[str]) -> dict[str, Roster | None]:
        """Show a connection in streams and say who is there; None where it is not known now."""
        found: dict[str, Roster | None] = dict.fromkeys(streams)
        place = self._places.get(connection_id)
        if place is None or place.is_leaving:
            return found  # It ended meanwhile: nobody would take it out again.
        for stream in found:
            self._put(place, stream, self._clock())
        try:
            self._settle([(stream, connection_id) for stream in found])
            rosters = self._store.rosters(list(found), self._limits.roster_most)
        except UnavailableError:
            return found
        return dict(zip(found, rosters, strict=True))

    def leave(self, connection_id: str, stream: str) -> None:
        """Take a connection out of a stream at once. Does not wait."""
        place = self._places.get(connection_id)
        if place is not None and self._drop(place, stream):
            self._settle_soon()

    def set_status(self, connection_id: str, status: str) -> None:
        """Set a connection's status wherever it is present."""
        place = self._places.get(connection_id)
        if place is None or place.is_leaving:
            return
        place.status, place.at_ms = status, max(self._clock(), place.at_ms + 1)
        streams = place.streams()
        for stream in streams:
            self._want(place, stream)
        try:
            self._settle([(stream, connection_id) for stream in streams])
        except UnavailableError:
            pass  # It is remembered, and written once the store is back.

    def depart(self, connection_id: str) -> None:
        """Take a connection out of everything at once: its access ended. Does not wait."""
        if connection_id in self._places:
            self._depart(connection_id)
            self._settle_soon()

    def gone(self, connection_id: str, now_s: float) -> None:
        """Let a connection that ended leave, after the grace. Does not wait."""
        place = self._places.get(connection_id)
        if place is None or place.is_leaving:
            return
        place.is_leaving = True
        self._leaving.append((now_s + self._limits.grace_s, connection_id))
        while len(self._leaving) > _MOST_LEAVING:
            self._depart(self._leaving.popleft()[1])

    def _put(self, place: Place, stream: str, at_ms: int) -> None:
        if place.since(stream) is None:
            place.put(stream, at_ms)
            pair = (stream, place.guest.user_id)
            self._pairs[pair] = self._pairs.get(pair, 0) + 1
            PRESENT.inc()
        self._want(place, stream)

    def _drop(self, place: Place, stream: str) -> bool:
        if place.since(stream) is None:
            return False
        self._want(place, stream, leaves=True)
        place.drop(stream)
        pair = (stream, place.guest.user_id)
        self._pairs[pair] -= 1
        if not self._pairs[pair]:
            del self._pairs[pair]
        PRESENT.dec()
        return True

    def _depart(self, connection_id: str) -> None:
        place = self._places.pop(connection_id, None)
        if place is not None:
            for stream in place.streams():
                self._drop(place, stream)

    # Writing.

    def _want(
        self, place: Place, stream: str, *, leaves: bool = False, quiet: bool = False
    ) -> None:
        guest = place.guest
        entry = Entry(
            stream,
            guest.user_id,
            guest.id,
            place.session_id,
            place.status,
            place.since(stream) or 0,
            place.at_ms,
        )
        # In place of what was still to be done for it, and behind all else.
        self._todo.pop((stream, guest.id), None)
        self._todo[stream, guest.id] = _Todo(entry, leaves, quiet)

    def _settle(self, keys: Sequence[tuple[str, str]]) -> None:
        while any(key in self._todo for key in keys):
            self._write_some()

    def _settle_soon(self) -> None:
        if not self._is_settling:
            self._is_settling = True
            self._spawn(self._settle_all)

    def _settle_all(self) -> None:
        self._is_settling = False
        try:
            while self._todo:
                self._write_some()
        except UnavailableError:
            pass  # All is written again once the store is back.

    def _write_some(self) -> None:
        with self._turn:
            keys = list(self._todo)[:_WRITTEN_AT_ONCE]
            todos = [self._todo.pop(key) for key in keys]
            if not todos or self._stopped:
                return
            try:
                changes = self._store.write([self._as_write(todo) for todo in todos])
            except Exception:
                # Nobody knows what of it was done.
                self._is_lost = True
                self._renew_at_s = float("-inf")
                raise
            for todo, change in zip(todos, changes, strict=True):
                if todo.quiet:
                    self._crowd(change.stream)
                else:
                    self._tell(change)

    def _as_write(self, todo: _Todo) -> Write:
        pair = (todo.entry.stream, todo.entry.user_id)
        return Write(todo.entry, todo.leaves, is_last=pair not in self._pairs)

    # Telling.

    def _tell(self, change: Change) -> None:
        if change.what is None or change.stream.startswith("user:"):
            return
        most_there = change.count + (change.what == "left")
        if most_there > self._limits.roster_most:
            self._crowd(change.stream)
            return
        told: dict[str, Any] = {"user_id": change.user_id, "count": change.count}
        if change.what != "left":
            told |= {"status": change.status, "since": to_rfc3339(change.since_ms)}
        place = self._places.get(change.connection_id)
        but = place.guest if place else None
        self._signal(change.stream, change.what, told, change.at_ms, but)

    def _crowd(self, stream: str) -> None:
        if stream.startswith("channel:"):
            self._crowds.add(stream)

    def _signal(
        self,
        stream: str,
        what: str,
        told: dict[str, Any],
        at_ms: int,
        but: Watcher | None = None,
    ) -> None:
        data = json.dumps(told).decode()
        actor = told["user_id"]
        signal = Signal(stream, f"presence.{what}", data, actor, at_ms, presence=True)
        self._emit(signal, but)

    def _tell_counts(self) -> None:
        streams, self._crowds = list(self._crowds), set()
        try:
            counts = self._store.counts(streams)
        except UnavailableError:
            self._crowds.update(streams)
            raise
        for stream, count in zip(streams, counts, strict=True):
            self._signal(stream, "updated", {"user_id": None, "count": count}, self._clock())

    # Time.

    def run_for_ever(self, monotonic: Callable[[], float]) -> None:
        """Do what has to be done from time to time, until `stop`."""
        while not self._stopped:
            try:
                self.tick(monotonic())
            except UnavailableError as error:
                _log.info("presence waits for its store", code=error.code)
            except Exception:  # noqa: BLE001 - the loop must live on
                _log.exception("presence failed")
            green.sleep(_TICK_S)

    def tick(self, now_s: float) -> None:
        """Let go of those whose grace is over, renew the lease, sweep, tell counts: what is due.

        Raises:
            UnavailableError: the store is away; the next tick goes on.
        """
        while self._leaving and self._leaving[0][0] <= now_s:
            self._depart(self._leaving.popleft()[1])
        if now_s >= self._renew_at_s:
            self._renew_at_s = now_s + _RETRY_S
            self._renew()
            self._renew_at_s = now_s + self._limits.lease_s / 3
        while self._todo:
            self._write_some()
        if self._crowds and now_s >= self._counts_told_s + _TELL_COUNTS_S:
            self._counts_told_s = now_s
            self._tell_counts()

    def _renew(self) -> None:
        suspects, self._suspects = self._suspects, frozenset()
        with self._turn:
            if self._stopped:
                return
            renewed = self._store.renew(afresh=self._is_lost)
            if renewed.is_new:
                self._enter_again()
            self._is_lost = False
        self._suspects = renewed.dead
        # Seen dead twice, with nothing amiss between: after a failure of the store everybody's
        # lease has ended, and all are about to renew it.
        for name in sorted(renewed.dead & suspects):
            self._sweep(name)

    def _enter_again(self) -> None:
        for place in self._places.values():
            for stream in place.streams():
                waiting = self._todo.get((stream, place.guest.id))
                if waiting is None:
                    self._want(place, stream, quiet=True)

    def _sweep(self, name: str) -> None:
        _log.info("sweeping up after a node", lease=name)
        for changes in self._store.sweep(name):
            for change in changes:
                PRESENCE_SWEPT.inc(change.what == "left")
                self._tell(change)

    def stop(self) -> None:
        """Write no more, and have this node's people swept away soon: they are back elsewhere."""
        self._stopped = True
        try:
            with self._turn:
                self._store.leave_soon(_LAST_LEASE_S)
        except UnavailableError:
            pass  # The lease ends by itself, later.

    # Questions.

    def roster(self, stream: str) -> dict[str, Any]:
        """Give who is in a stream, on any node.

        Raises:
            UnavailableError.
        """
        (found,) = self._store.rosters([stream], self._limits.roster_most)
        return found.as_json()

    def online(self, user_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Say of users whether they are connected, to any node.

        Raises:
            UnavailableError.
        """
        found = self._store.find([(user_stream(user_id), user_id) for user_id in user_ids])
        return [
            {
                "user_id": user_id,
                "online": person is not None,
                "status": person.status if person else None,
                "since": rfc3339_or_none(person.since_ms if person else None),
            }
            for user_id, person in zip(user_ids, found, strict=True)
        ]
