"""Who is in a channel. Each change is told in the channel and to the person whom it is about."""

from dataclasses import dataclass
from typing import Any

from core import permissions
from core.callers import Caller
from core.errors import ConflictError, ForbiddenError, NotFoundError
from core.events import Control, Event, channel_stream, user_stream
from core.pages import Json, Page, PageRequest
from core.services import access
from core.services.publish import log_control, log_event, log_event_for_many
from core.store import accounts, channels, log
from core.store.database import Database, Write
from core.times import now_ms


@dataclass(frozen=True, slots=True)
class Membership:
    """A member in wire form, whether it is new, and its event (None: nothing changed)."""

    member: Json
    is_new: bool
    event: Event | None


def add(write: Write, channel_id: str, caller: Caller, user_id: str, role: str) -> Event:
    """Make somebody a member."""
    channels.add_member(write, channel_id, user_id, role, now_ms())
    return _tell(write, "member.joined", caller, channel_id, _read(write, channel_id, user_id))


def _read(write: Write, channel_id: str, user_id: str) -> Json:
    row = channels.find_member(write.conn, channel_id, user_id)
    if row is None:
        raise NotFoundError("This user is not a member.")
    return channels.member_json(row)


def _tell(write: Write, type_: str, caller: Caller, channel_id: str, member: Json) -> Event:
    # Always the channel first and the user second: the same order of locks everywhere.
    now = now_ms()
    event, _ = (
        log_event(write, stream, type_, lambda _offset: member, actor=caller.user_id, at_ms=now)
        for stream in (channel_stream(channel_id), user_stream(member["user_id"]))
    )
    return event


def tell_all_of_deletion(write: Write, channel_id: str, caller: Caller, now: int) -> None:
    """Tell every member, on their own stream, that a channel is gone."""
    log_event_for_many(
        write,
        [user_stream(user_id) for user_id in channels.member_ids(write.conn, channel_id)],
        "channel.deleted",
        {"id": channel_id},
        actor=caller.user_id,
        at_ms=now,
    )


def list_members(
    db: Database, caller: Caller, ref: str, request: PageRequest, *, role: str | None
) -> Page:
    """List a channel's members.

    Raises:
        NotFoundError.
    """
    with db.read() as conn:
        found = access.readable(conn, caller, ref)
        return channels.list_members(conn, found.id, request, role=role)


def put(db: Database, caller: Caller, ref: str, user_id: str, role: str | None) -> Membership:
    """Make somebody a member, or give a member another role. Oneself, in a public channel: join.

    Without a role: a member, or what the person is already.

    Raises:
        NotFoundError, ForbiddenError, ConflictError.
    """
    with db.write() as write:
        found, present = _take(write, caller, ref, user_id)
        if found.channel.kind == "direct":
            raise ForbiddenError("The members of a direct channel are fixed.")
        wanted = role or (present["role"] if present else "member")
        _check_may_put(caller, found, user_id, present, wanted)
        if present is None:
            return _join(write, caller, found.id, user_id, wanted)
        if present["role"] == wanted:
            return Membership(present, False, None)
        _keep_an_owner(write, found.id, present, is_leaving=False)
        channels.change_role(write, found.id, user_id, wanted, now_ms())
        member = _read(write, found.id, user_id)
        event = _tell(write, "member.updated", caller, found.id, member)
        return Membership(member, False, event)


def _take(
    write: Write, caller: Caller, ref: str, user_id: str
) -> tuple[access.Access, Json | None]:
    log.lock(write, access.readable(write.conn, caller, ref).stream)
    found = access.readable(write.conn, caller, ref)
    row = channels.find_member(write.conn, found.id, user_id)
    return found, channels.member_json(row) if row else None


def _check_may_put(
    caller: Caller, found: access.Access, user_id: str, present: Json | None, wanted: str
) -> None:
    theirs = present["role"] if present else None
    is_self = user_id == caller.user_id
    joins = theirs is None and permissions.may_join(found.channel.kind, wanted)
    if is_self and (theirs == wanted or joins):
        return
    if not permissions.may_set_role(found.role, theirs, wanted):
        raise ForbiddenError("You may not give this role to this person.")


def _join(write: Write, caller: Caller, channel_id: str, user_id: str, role: str) -> Membership:
    user = accounts.find_user(write.conn, user_id)
    if user is None or user.disabled:
        raise NotFoundError("There is no such user.")
    event = add(write, channel_id, caller, user_id, role)
    return Membership(_read(write, channel_id, user_id), True, event)


def _keep_an_owner(write: Write, channel_id: str, owner: Json, *, is_leaving: bool) -> None:
    if owner["role"] != "owner" or channels.count_members(write.conn, channel_id, "owner") > 1:
        return
    # The last one of all may leave; nobody is left to own it for.
    if not is_leaving or channels.count_members(write.conn, channel_id) > 1:
        raise ConflictError("A channel needs an owner: make somebody else one first.")


def remove(db: Database, caller: Caller, ref: str, user_id: str) -> Any:
    """Remove a member, or leave; give the event. Open subscriptions of a lost channel end.

    Raises:
        NotFoundError, ForbiddenError, ConflictError.
    """
    with db.write() as write:
        found, present = _take(write, caller, ref, user_id)
        if present is None:
            raise NotFoundError("This user is not a member.")
        if found.channel.kind == "direct":
            raise ForbiddenError("The members of a direct channel are fixed.")
        if user_id != caller.user_id and not permissions.may_remove(found.role, present["role"]):
            raise ForbiddenError("You may not remove this person.")
        _keep_an_owner(write, found.id, present, is_leaving=True)
        channels.remove_member(write, found.id, user_id)
        event = _tell(write, "member.left", caller, found.id, present)
        if not permissions.may_read(found.channel.kind, None):
            log_control(write, Control("access_lost", user_id, stream=found.stream))
        return event
