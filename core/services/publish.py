"""Events are made here and nowhere else, in the transaction of the change that they tell of."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core import json
from core.callers import Caller
from core.errors import InvalidError, TooLargeError
from core.events import Control, Event, Signal, is_application_type
from core.pages import Json
from core.services import access
from core.store import access_changes, log
from core.store.database import Database, Write
from core.times import now_ms

MAX_DATA_BYTES = 64 * 1024

Payload = Callable[[int], Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """What an application wants to publish."""

    stream: str
    type: str
    data: Any
    key: str | None = None
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """The event, and whether an earlier call with the same key had made it."""

    event: Event
    replayed: bool = False


def log_event(
    write: Write,
    stream: str,
    type_: str,
    payload: Payload,
    *,
    actor: str | None,
    at_ms: int,
    key: str | None = None,
    asked: Any = None,
) -> Event:
    """Append the event of a change; `payload(offset)` is its data.

    `asked` is what the caller asked for: a retry with the same key must ask for the same.

    Raises:
        ReplayedError: the key took effect before. Leave the transaction, then answer with it.
        ConflictError: the key took effect before, for something else.
    """
    return log.append(
        write,
        stream,
        type_,
        _renderer(payload),
        actor=actor,
        at_ms=at_ms,
        key=key,
        # By the first word of the type: the same call may once create and once update.
        digest=_digest(type_.partition(".")[0], asked) if key else None,
    )


def log_event_for_many(
    write: Write, streams: list[str], type_: str, data: Json, *, actor: str | None, at_ms: int
) -> None:
    """Append the same event to many streams."""
    text = json.dumps(data).decode()
    log.append_to_many(write, streams, type_, text, actor=actor, at_ms=at_ms)


def log_events(
    write: Write,
    stream: str,
    type_: str,
    payloads: Sequence[Payload],
    *,
    actor: str | None,
    at_ms: int,
) -> None:
    """Append many events of one type to one stream."""
    renders = [_renderer(payload) for payload in payloads]
    log.append_batch(write, stream, type_, renders, actor=actor, at_ms=at_ms)


def _renderer(payload: Payload) -> Callable[[int], str]:
    return lambda offset: json.dumps(payload(offset)).decode()


def _digest(noun: str, asked: Any) -> str:
    return hashlib.blake2b(json.dumps_canonical([noun, asked]), digest_size=16).hexdigest()


def log_control(write: Write, control: Control) -> None:
    """Tell the nodes, at the commit, that somebody's access ended."""
    write.controls.append(access_changes.append(write, control, now_ms()))


def check_size(data: bytes, limit: int = MAX_DATA_BYTES) -> None:
    """Hold event data to its limit.

    Raises:
        TooLargeError: there is more.
    """
    if len(data) > limit:
        raise TooLargeError(f"The data is {len(data)} bytes; at most {limit} are allowed.")


def publish(db: Database, caller: Caller, draft: Draft, *, max_bytes: int) -> Published:
    """Publish an application's event to a stream that the caller may post to.

    Raises:
        NotFoundError, ForbiddenError, InvalidError, TooLargeError, ConflictError.
    """
    data = _checked(draft, max_bytes)
    try:
        with db.write() as write:
            stream = access.postable_stream(write.conn, caller, draft.stream)
            event = _append(write, stream, draft, data, caller.user_id)
            # Judged again with the stream's lock held: nobody leaves, or is removed, in between.
            access.check_postable(write.conn, caller, stream)
    except log.ReplayedError as replay:
        with db.read() as conn:
            access.check_postable(conn, caller, replay.event.stream)
        return Published(replay.event, replayed=True)
    return Published(event)


def publish_as_server(db: Database, draft: Draft, *, max_bytes: int) -> Published:
    """Publish without a user, from the command line. The stream is named by its id."""
    data = _checked(draft, max_bytes)
    try:
        with db.write() as write:
            stream = access.resolve_as_server(write.conn, draft.stream)
            event = _append(write, stream, draft, data, None)
    except log.ReplayedError as replay:
        return Published(replay.event, replayed=True)
    return Published(event)


def _append(write: Write, stream: str, draft: Draft, data: bytes, actor: str | None) -> Event:
    return log_event(
        write,
        stream,
        draft.type,
        lambda _offset: json.Raw(data),
        actor=actor,
        at_ms=now_ms(),
        key=draft.key,
        asked=[draft.type, draft.data],
    )


def signal(db: Database, caller: Caller, draft: Draft, *, max_bytes: int) -> Signal:
    """Make a signal for a stream that the caller may post to. Nothing is stored.

    Raises:
        NotFoundError, ForbiddenError, InvalidError, TooLargeError.
    """
    data = _checked(draft, max_bytes)
    with db.read() as conn:
        stream = access.postable_stream(conn, caller, draft.stream)
    return Signal(stream, draft.type, data.decode(), caller.user_id, now_ms())


def typing(db: Database, caller: Caller, channel: str) -> Signal:
    """Make the signal that somebody is writing.

    Raises:
        NotFoundError, ForbiddenError.
    """
    with db.read() as conn:
        stream = access.postable(conn, caller, channel).stream
    return Signal(stream, "typing", "{}", caller.user_id, now_ms())


def _checked(draft: Draft, max_bytes: int) -> bytes:
    if not is_application_type(draft.type):
        raise InvalidError.of(
            "type", "is not a dotted name, or begins with a word that is kept for the server"
        )
    data = json.dumps(draft.data)
    check_size(data, max_bytes)
    return data
