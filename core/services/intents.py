"""Events that many callers want at once: judged one by one, written in one transaction.

Everybody is answered as if they had come alone, in the order in which they came. Rights, keys
and tops are read under the streams' locks; who is refused or comes again gets no offset.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.callers import Caller
from core.errors import ConflictError, InvalidError, NotFoundError
from core.events import Event, user_stream
from core.ids import is_id
from core.pages import Json
from core.services import access
from core.store import appends, channels
from core.store.appends import Asked, Standing
from core.store.database import Database, Write
from core.times import now_ms

# What an event weighs beside its data, so that many small ones end a round as well.
_OVERHEAD = 4 * 1024


class Spot(NamedTuple):
    """Where an event is to stand, and since when."""

    stream: str
    offset: int
    at_ms: int


class Content(NamedTuple):
    """An event's data as JSON text, and the message, if it makes one."""

    data: str
    message: Json | None = None


@dataclass(slots=True)
class Intent:
    """An event that a caller wants in a stream, and what became of it.

    `make` may raise; then it is refused with that. `digest` tells a retry from another event that
    takes the same key.
    """

    caller: Caller
    stream: str  # as asked for, then by its full name
    type: str
    make: Callable[[Spot], Content]
    size: int
    key: str | None = None
    digest: str | None = None
    reply_to: str | None = None
    event: Event | None = field(default=None, init=False)
    is_replay: bool = field(default=False, init=False)
    error: Exception | None = field(default=None, init=False)
    trace: TracebackType | None = field(default=None, init=False)
    is_waiting: bool = field(default=False, init=False)

    def begin(self) -> None:
        """Know nothing of what becomes of it: it may be tried again."""
        self.event = self.error = self.trace = None
        self.is_replay = self.is_waiting = False

    def refuse(self, error: Exception) -> None:
        """Have it be told that it was refused with this."""
        self.error, self.trace = error, error.__traceback__

    def get_event(self) -> Event:
        """Give its event.

        Raises: what it was refused with.
        """
        if self.event is not None:
            return self.event
        if self.error is None:
            raise RuntimeError("an intent was left undone")
        # As it was caught: it may be others' as well, and would grow with everybody who raises it.
        raise self.error.with_traceback(self.trace)

    @property
    def channel_id(self) -> str | None:
        """The id of its channel, once the stream is known by its full name."""
        kind, _, ref = self.stream.partition(":")
        return ref if kind == "channel" else None


def log_all(db: Database, intents: Sequence[Intent]) -> None:
    """Log what may be logged, in this order; each intent then has an event or an error."""
    _write(db, _append, intents)
    held: dict[str, list[Intent]] = {}
    for intent in intents:
        if intent.is_waiting:
            held.setdefault(intent.stream, []).append(intent)
    for stream, waiting in held.items():
        _write(db, _append_in_line, waiting, lane=stream)


def _write(db: Database, work: Any, intents: Sequence[Intent], lane: str = "") -> None:
    size = sum(intent.size + _OVERHEAD for intent in intents)
    try:
        # Alone each waits for its stream: one that passed by another would change their order.
        failed = db.write_together(work, intents, alone=_append_in_line, size=size, lane=lane)
    except Exception as error:  # noqa: BLE001 - raised again, for each of them
        failed = [(intent, error) for intent in intents]
    for intent, reason in failed:
        intent.begin()
        intent.refuse(reason)


def _append(write: Write, intents: Sequence[Intent], *, waits: bool = False) -> None:
    for intent in intents:
        intent.begin()
    named = _name_streams(write.conn, intents)
    locked = appends.lock(write, {intent.stream for intent in named}, waits=waits)
    asked = [Asked(one.stream, one.channel_id, one.caller.user_id, one.key) for one in named]
    standings = appends.look_up(write.conn, asked) if asked else []
    wanted = {one.reply_to for one in named if one.reply_to is not None}
    taken = _Round(set(locked), appends.find_messages(write.conn, wanted), now_ms())
    for intent, standing in zip(named, standings, strict=True):
        taken.take(intent, standing)
    appends.add(write, taken.rows, taken.tops, taken.messages)
    write.events += taken.events


# Waits for its turn at the stream, where others pass by.
_append_in_line = partial(_append, waits=True)


def _name_streams(conn: Connection, intents: Sequence[Intent]) -> list[Intent]:
    """Give all their streams' full names; refuse, and leave out, who names none."""
    parts = [intent.stream.partition(":") for intent in intents]
    slugs = {ref for kind, _, ref in parts if kind == "channel" and not is_id(ref)}
    ids = channels.find_ids(conn, slugs) if slugs else {}
    for intent, (kind, _, ref) in zip(intents, parts, strict=True):
        if kind == "channel" and (is_id(ref) or ref in ids):
            intent.stream = f"channel:{ids.get(ref, ref)}"
        elif kind == "channel":
            intent.refuse(NotFoundError("There is no such channel."))
        elif kind == "user" and ref in ("me", intent.caller.user_id):
            intent.stream = user_stream(intent.caller.user_id)
        else:
            intent.refuse(NotFoundError("There is no such stream."))
    return [intent for intent in intents if intent.error is None]


class _Round:
    """What a transaction is to add, gathered one after the other."""

    def __init__(self, locked: set[str], replies: set[tuple[str, str]], at_ms: int) -> None:
        self.rows: list[Json] = []
        self.events: list[Event] = []
        self.messages: list[Json] = []
        self.tops: dict[int, int] = {}
        self._locked = locked
        self._replies = replies
        self._at_ms = at_ms
        self._used: dict[tuple[str, str, str], Intent] = {}

    def take(self, intent: Intent, standing: Standing) -> None:
        """Judge an intent, and take it in or refuse it."""
        try:
            self._take(intent, standing)
        except Exception as error:  # noqa: BLE001 - raised again, to whoever wanted it
            intent.refuse(error)

    def _take(self, intent: Intent, standing: Standing) -> None:
        if intent.channel_id is not None:
            access.check_may_post(intent.caller, standing.kind, standing.role)
        if standing.stream_id is None:
            raise NotFoundError("There is no such channel.")
        if standing.used is not None:
            _repeat(intent, standing.used.event, standing.used.digest)
        elif intent.stream not in self._locked:
            intent.is_waiting = True
        elif not self._is_repeated(intent):
            self._check_reply(intent)
            self._add(intent, standing.stream_id, standing)

    def _is_repeated(self, intent: Intent) -> bool:
        """Tell whether somebody of this round was first to use the key."""
        if intent.key is None:
            return False
        first = self._used.get((intent.stream, intent.caller.user_id, intent.key))
        if first is not None:
            _repeat(intent, first.get_event(), first.digest)
        return first is not None

    def _check_reply(self, intent: Intent) -> None:
        if intent.reply_to is None:
            return
        if (intent.channel_id, intent.reply_to) not in self._replies:
            raise InvalidError.of("reply_to", "there is no such message in this channel")

    def _add(self, intent: Intent, stream_id: int, standing: Standing) -> None:
        spot = Spot(intent.stream, self.tops.get(stream_id, standing.top) + 1, self._at_ms)
        # Before anything is noted down: what can't be made leaves no hole.
        content = intent.make(spot)
        actor = intent.caller.user_id
        self.tops[stream_id] = spot.offset
        if intent.key is not None:
            self._used[(intent.stream, actor, intent.key)] = intent
        if content.message is not None:
            self.messages.append(content.message)
        self.rows.append(
            {
                "stream_id": stream_id,
                "offset": spot.offset,
                "type": intent.type,
                "data": content.data,
                "actor": actor,
                "key": intent.key,
                "digest": intent.digest,
                "at_ms": spot.at_ms,
            }
        )
        intent.event = Event(
            stream=intent.stream,
            offset=spot.offset,
            epoch=standing.epoch,
            type=intent.type,
            data=content.data,
            actor=actor,
            key=intent.key,
            at_ms=spot.at_ms,
        )
        self.events.append(intent.event)


def _repeat(intent: Intent, event: Event, digest: str | None) -> None:
    if digest != intent.digest:
        raise ConflictError("This key was used before, for something else.")
    intent.event, intent.is_replay = event, True
