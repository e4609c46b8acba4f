"""Events are made here, in the transaction of the change that they tell of.

Those that change nothing but the log and the messages go by `core/services/intents.py`, many in
one transaction.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core import json
from core.callers import Caller
from core.errors import InvalidError, TooLargeError
from core.events import Control, Event, Signal, is_application_type
from core.pages import Json
from core.services import access, intents
from core.services.intents import Content, Intent
from core.services.rights import Rights
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
        digest=digest_of(type_, asked) if key else None,
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


def digest_of(type_: str, asked: Any) -> str:
    """Tell what was asked for from all else that may be asked for with the same key."""
    # By the first word of the type: the same call may once create and once update.
    noun = type_.partition(".")[0]
    return hashlib.blake2b(json.dumps_canonical([noun, asked]), digest_size=16).hexdigest()


def log_control(write: Write, control: Control) -> None:
    """Tell the nodes, at the commit, that somebody's access ended."""
    write.controls.append(access_changes.append(write, control, now_ms()))


def check_size(data: bytes, limit: int = MAX_DATA_BYTES) -> None:
    """Hold event data to its limit.

    Raises:
        TooLargeError: there is more.
    """
    check_bytes(len(data), limit)


def check_bytes(size: int, limit: int) -> None:
    """Hold what is to be stored to a limit.

    Raises:
        TooLargeError: there is more.
    """
    if size > limit:
        raise TooLargeError(f"The data is {size} bytes; at most {limit} are allowed.")


def publish(db: Database, caller: Caller, draft: Draft, *, max_bytes: int) -> Published:
    """Publish an application's event to a stream that the caller may post to.

    Raises:
        NotFoundError, ForbiddenError, InvalidError, TooLargeError, ConflictError.
    """
    intent = intend(caller, draft, max_bytes=max_bytes)
    intents.log_all(db, [intent])
    return published(intent)


def intend(caller: Caller, draft: Draft, *, max_bytes: int) -> Intent:
    """Make of a draft what can be logged together with others.

    Raises:
        InvalidError, TooLargeError.
    """
    data = _checked(draft, max_bytes)
    content = Content(data.decode())
    return Intent(
        caller,
        draft.stream,
        draft.type,
        lambda _spot: content,
        size=len(data),
        key=draft.key,
        digest=digest_of(draft.type, [draft.type, draft.data]) if draft.key else None,
    )


def published(intent: Intent) -> Published:
    """Give what became of it.

    Raises: what it was refused with.
    """
    return Published(intent.get_event(), intent.is_replay)


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


def signal(rights: Rights, caller: Caller, draft: Draft, *, max_bytes: int) -> Signal:
    """Make a signal for a stream that the caller may post to. Nothing is stored.

    Raises:
        NotFoundError, ForbiddenError, InvalidError, TooLargeError.
    """
    data = _checked(draft, max_bytes)
    stream = rights.stream_to_post_to(caller, draft.stream)
    return Signal(stream, draft.type, data.decode(), caller.user_id, now_ms())


def typing(rights: Rights, caller: Caller, channel: str) -> Signal:
    """Make the signal that somebody is writing.

    Raises:
        NotFoundError, ForbiddenError.
    """
    stream = rights.stream_to_post_to(caller, f"channel:{channel}")
    return Signal(stream, "typing", "{}", caller.user_id, now_ms())


def _checked(draft: Draft, max_bytes: int) -> bytes:
    if not is_application_type(draft.type):
        raise InvalidError.of(
            "type", "is not a dotted name, or begins with a word that is kept for the server"
        )
    data = json.dumps(draft.data)
    check_size(data, max_bytes)
    return data
