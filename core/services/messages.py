"""Messages of a channel: writing, editing, deleting, paging."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row

from core import json, permissions
from core.callers import Caller
from core.errors import ForbiddenError, NotFoundError
from core.events import Event
from core.ids import new_id
from core.pages import Json, Page, PageRequest
from core.services import access, intents
from core.services.intents import Content, Intent, Spot
from core.services.publish import check_bytes, check_size, digest_of, log_event
from core.services.users import Expect
from core.store import log
from core.store import messages as store
from core.store.database import Database, Write
from core.times import now_ms

_CREATED = "message.created"


@dataclass(frozen=True, slots=True)
class MessageDraft:
    """What somebody wants to say."""

    body: str
    data: Json | None = None
    reply_to: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """A message, the event that told of it (None: nothing changed), and whether it is a replay."""

    message: Json
    event: Event | None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages of a channel, by offset, author and text."""

    before: int | None = None
    after: int | None = None
    author: str | None = None
    search: str | None = None
    descending: bool = True


def create(
    db: Database, caller: Caller, ref: str, draft: MessageDraft, *, max_bytes: int
) -> Posted:
    """Post a message.

    Raises:
        NotFoundError, ForbiddenError, TooLargeError, InvalidError,
        ConflictError: the key was used for another message.
    """
    intent = intend(caller, ref, draft, max_bytes=max_bytes)
    intents.log_all(db, [intent])
    return posted(intent)


def posted(intent: Intent) -> Posted:
    """Give what became of it.

    Raises: what it was refused with.
    """
    event = intent.get_event()
    return Posted(json.loads(event.data), event, intent.is_replay)


def intend(caller: Caller, ref: str, draft: MessageDraft, *, max_bytes: int) -> Intent:
    """Make of a draft what can be logged together with others.

    Raises:
        TooLargeError.
    """
    data = b"" if draft.data is None else json.dumps(draft.data)
    size = len(draft.body.encode()) + len(data)
    check_bytes(size, max_bytes)
    return Intent(
        caller,
        f"channel:{ref}",
        _CREATED,
        partial(_content, caller, draft, data.decode() or None),
        size=2 * size,  # in the log, and among the messages
        key=draft.key,
        digest=_digest(draft) if draft.key else None,
        reply_to=draft.reply_to,
    )


def _digest(draft: MessageDraft) -> str:
    return digest_of(_CREATED, [draft.body, draft.data, draft.reply_to])


def _content(caller: Caller, draft: MessageDraft, data: str | None, spot: Spot) -> Content:
    values: Json = {
        "id": new_id(),
        "channel_id": spot.stream.removeprefix("channel:"),
        "author_id": caller.user_id,
        "body": draft.body,
        "data": data,
        "reply_to": draft.reply_to,
        "key": draft.key,
        "created_ms": spot.at_ms,
        "edited_ms": None,
        "deleted_ms": None,
        "offset": spot.offset,
        "version": spot.offset,
    }
    rendered = store.render(**values, author_username=caller.username)
    return Content(json.dumps(rendered).decode(), values)


def get_message(db: Database, caller: Caller, ref: str, message_id: str) -> Any:
    """Read a message.

    Raises:
        NotFoundError.
    """
    with db.read() as conn:
        return _get(conn, access.readable(conn, caller, ref), message_id)


def _get(conn: Any, found: access.Access, message_id: str) -> Any:
    row = store.find(conn, found.id, message_id)
    if row is None:
        raise NotFoundError("There is no such message.")
    return row


def get_version(db: Database, caller: Caller, ref: str) -> tuple[str, str]:
    """Give a channel's id, and the version of its messages.

    Every change is an event, so the place where the stream stands is a version of everything.

    Raises:
        NotFoundError.
    """
    channel_id, state = access.place_of(db, caller, ref)
    return channel_id, f"{state.epoch}-{state.top}"


def list_messages(
    db: Database, channel_id: str, request: PageRequest, wanted: MessageFilter
) -> Page:
    """List the messages of a channel that `get_version` gave."""
    with db.read() as conn:
        return store.list_page(
            conn,
            channel_id,
            request,
            before=wanted.before,
            after=wanted.after,
            author=wanted.author,
            search=wanted.search,
            descending=wanted.descending,
        )


def edit(
    db: Database,
    caller: Caller,
    ref: str,
    message_id: str,
    changes: Json,
    expect: Expect,
    *,
    max_bytes: int,
) -> Posted:
    """Change the body or data of one's own message.

    Raises:
        NotFoundError, ForbiddenError, TooLargeError, PreconditionFailedError.
    """
    with db.write() as write:
        found, present = _take(write, caller, ref, message_id, expect)
        if present.deleted_ms is not None:
            raise NotFoundError("This message was deleted.")
        if present.author_id != caller.user_id or not permissions.may_post(found.role):
            raise ForbiddenError("Only its author may edit a message.")
        stored = _as_stored(changes)
        values = {name: value for name, value in stored.items() if present._mapping[name] != value}
        if not values:
            return Posted(store.message_json(present), None)
        after = {**present._mapping, **values}
        check_size((after["body"] + (after["data"] or "")).encode(), max_bytes)
        now = now_ms()
        values["edited_ms"] = now
        return _change(write, caller, found, present, values, "message.updated", now)


def _as_stored(changes: Json) -> Json:
    if changes.get("data") is not None:
        return {**changes, "data": json.dumps(changes["data"]).decode()}
    return changes


def delete(db: Database, caller: Caller, ref: str, message_id: str, expect: Expect) -> Posted:
    """Delete a message, one's own or as a moderator. A tombstone stays; again changes nothing.

    Raises:
        NotFoundError, ForbiddenError, PreconditionFailedError.
    """
    with db.write() as write:
        found, present = _take(write, caller, ref, message_id, expect)
        own = present.author_id == caller.user_id and permissions.may_post(found.role)
        if not (own or permissions.may_moderate(found.role)):
            raise ForbiddenError("Only its author or a moderator may delete a message.")
        if present.deleted_ms is not None:
            return Posted(store.message_json(present), None)
        now = now_ms()
        values = {"body": None, "data": None, "deleted_ms": now}
        return _change(write, caller, found, present, values, "message.deleted", now)


def _take(
    write: Write, caller: Caller, ref: str, message_id: str, expect: Expect
) -> tuple[access.Access, Row[Any]]:
    log.lock(write, access.readable(write.conn, caller, ref).stream)
    found = access.readable(write.conn, caller, ref)
    present = _get(write.conn, found, message_id)
    expect(present.version)
    return found, present


def _change(
    write: Write,
    caller: Caller,
    found: access.Access,
    present: Row[Any],
    values: Json,
    type_: str,
    now: int,
) -> Posted:
    changed: Json = {}

    def apply(offset: int) -> Json:
        values["version"] = offset
        store.change(write, present.id, values)
        changed.update(store.render(**{**present._mapping, **values}))
        return changed

    event = log_event(write, found.stream, type_, apply, actor=caller.user_id, at_ms=now)
    return Posted(changed, event)
