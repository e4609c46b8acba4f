"""Channels: making, finding, changing and deleting them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from core import permissions
from core.callers import Caller
from core.errors import ConflictError, ForbiddenError, InvalidError
from core.events import Control, channel_stream
from core.ids import new_id
from core.pages import Json, Page, PageRequest
from core.services import access, members
from core.services.publish import log_control, log_event
from core.services.users import Expect
from core.store import accounts, log
from core.store import channels as store
from core.store.database import Database, Write
from core.times import now_ms

MAX_FIRST_MEMBERS = 100


@dataclass(frozen=True, slots=True)
class ChannelDraft:
    """What a channel is to be. `members` are ids or usernames."""

    name: str
    kind: str
    slug: str | None = None
    topic: str = ""
    members: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """A channel and the event that last changed it (None: it is as it was)."""

    channel: Json
    event: Any
    existed: bool = False


def create(db: Database, caller: Caller, draft: ChannelDraft) -> Changed:
    """Make a channel, owned by the caller, with its first members.

    A direct channel of a pair that has one already is that one.

    Raises:
        InvalidError: a member does not exist, or a direct channel is not of two people.
        ConflictError: the slug is taken.
    """
    try:
        with db.write() as write:
            invited = _find_members(write, caller, draft)
            if draft.kind == "direct":
                existing = store.find_direct(write.conn, _pair(caller, invited))
                if existing is not None:
                    return Changed(store.channel_json(existing), None, existed=True)
            return _create(write, caller, draft, invited)
    except ConflictError:
        if draft.kind != "direct":
            raise
    # The other one of the pair was a moment faster.
    return create(db, caller, draft)


def _find_members(write: Write, caller: Caller, draft: ChannelDraft) -> list[str]:
    asked = list(draft.members)
    found = accounts.user_ids(write.conn, asked, asked)
    missing = [name for name in asked if name not in found]
    if missing:
        raise InvalidError.of("members", f"there is no user {missing[0]}")
    invited = sorted({found[name] for name in asked} - {caller.user_id})
    if draft.kind == "direct" and (len(invited) != 1 or draft.slug):
        raise InvalidError.of("members", "a direct channel has one other member, and no slug")
    return invited


def _pair(caller: Caller, invited: list[str]) -> str:
    return ":".join(sorted([caller.user_id, *invited]))


def _create(write: Write, caller: Caller, draft: ChannelDraft, invited: list[str]) -> Changed:
    channel_id, now = new_id(), now_ms()
    values = {
        "id": channel_id,
        "slug": draft.slug,
        "pair": _pair(caller, invited) if draft.kind == "direct" else None,
        "name": draft.name,
        "kind": draft.kind,
        "topic": draft.topic,
        "created_by": caller.user_id,
        "created_ms": now,
        "updated_ms": now,
        "version": 1,
    }
    store.add_channel(write, values)
    log.create(write, channel_stream(channel_id))
    row = store.find_access(write.conn, channel_id, caller.user_id)
    channel = store.channel_json(row)  # type: ignore[arg-type]
    event = log_event(
        write,
        channel_stream(channel_id),
        "channel.created",
        lambda _offset: channel,
        actor=caller.user_id,
        at_ms=now,
    )
    role = "owner" if draft.kind == "direct" else "member"
    # By id, as everywhere: two people who invite one another lock their streams in one order.
    for user_id in sorted([caller.user_id, *invited]):
        mine = user_id == caller.user_id
        members.add(write, channel_id, caller, user_id, "owner" if mine else role)
    return Changed(channel, event)


def list_channels(
    db: Database,
    caller: Caller,
    request: PageRequest,
    *,
    kind: str | None,
    mine: bool,
    search: str | None,
    sort: str,
) -> Page:
    """List the channels that the caller may see, or is a member of."""
    with db.read() as conn:
        return store.list_channels(
            conn,
            request,
            user_id=caller.user_id,
            see_all=caller.is_admin,
            mine=mine,
            kind=kind,
            search=search,
            sort=sort,
        )


def get_channel(db: Database, caller: Caller, ref: str) -> Row[Any]:
    """Read a channel.

    Raises:
        NotFoundError.
    """
    with db.read() as conn:
        return access.readable(conn, caller, ref).channel


def change(db: Database, caller: Caller, ref: str, changes: Json, expect: Expect) -> Changed:
    """Change a channel's name, topic or slug.

    Raises:
        NotFoundError, ForbiddenError, ConflictError, PreconditionFailedError, InvalidError.
    """
    with db.write() as write:
        found = _take(write, caller, ref, expect)
        if not permissions.may_moderate(found.role):
            raise ForbiddenError("Only moderators and owners may change a channel.")
        if not changes:
            return Changed(store.channel_json(found.channel), None)
        if found.channel.kind == "direct" and changes.get("slug"):
            raise InvalidError.of("slug", "a direct channel has none")
        return _log_change(write, caller, found, changes)


def _take(write: Write, caller: Caller, ref: str, expect: Expect) -> access.Access:
    # Once to find it, and once more with its stream locked: nobody changes it in between.
    stream = access.readable(write.conn, caller, ref).stream
    log.lock(write, stream)
    found = access.readable(write.conn, caller, ref)
    expect(found.channel.version)
    return found


def _log_change(write: Write, caller: Caller, found: access.Access, changes: Json) -> Changed:
    now, changed = now_ms(), {}

    def apply(offset: int) -> Json:
        row = store.change_channel(
            write, found.id, {**changes, "updated_ms": now, "version": offset}
        )
        changed.update(store.channel_json(row))
        return changed

    event = log_event(
        write, found.stream, "channel.updated", apply, actor=caller.user_id, at_ms=now
    )
    return Changed(changed, event)


def delete(db: Database, caller: Caller, ref: str, expect: Expect) -> Any:
    """Delete a channel for everybody; give the event. Watchers get it and are unsubscribed.

    Raises:
        NotFoundError, ForbiddenError, PreconditionFailedError.
    """
    now = now_ms()
    with db.write() as write:
        found = _take(write, caller, ref, expect)
        if not permissions.may_own(found.role):
            raise ForbiddenError("Only owners may delete a channel.")
        # The slug, and the pair of a direct channel, are free again.
        gone = {"deleted_ms": now, "updated_ms": now, "slug": None, "pair": None}
        payload = {"id": found.id}
        event = log_event(
            write,
            found.stream,
            "channel.deleted",
            lambda _offset: payload,
            actor=caller.user_id,
            at_ms=now,
        )
        store.change_channel(write, found.id, {**gone, "version": event.offset})
        members.tell_all_of_deletion(write, found.id, caller, now)
        log_control(write, Control("stream_closed", stream=found.stream))
        return event
