"""May this caller see, or use, this channel or stream? What may not be seen does not exist."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from core import permissions
from core.callers import Caller
from core.errors import ForbiddenError, NotFoundError
from core.events import channel_stream, user_stream
from core.store import channels, log


@dataclass(frozen=True, slots=True)
class Access:
    """A channel that the caller may read. `role` is what the caller may act as."""

    channel: Row[Any]
    role: str | None

    @property
    def id(self) -> str:
        """The channel's id."""
        return str(self.channel.id)

    @property
    def stream(self) -> str:
        """The channel's stream."""
        return channel_stream(self.channel.id)


def readable(conn: Connection, caller: Caller, ref: str) -> Access:
    """Find a channel, by id or slug, that the caller may read.

    Raises:
        NotFoundError: there is none, or it is none of the caller's business.
    """
    row = channels.find_access(conn, ref, caller.user_id)
    if row is not None:
        role = effective_role(caller, row.kind, row.role)
        if permissions.may_read(row.kind, role):
            return Access(row, role)
    raise NotFoundError("There is no such channel.")


def version_of(conn: Connection, caller: Caller, ref: str) -> tuple[str, str]:
    """Give the id of a channel that the caller may read, and the version of all that is in it.

    Every change is an event, so the place where the stream stands is a version of everything.

    Raises:
        NotFoundError: there is none, or it is none of the caller's business.
    """
    row = channels.find_access_at(conn, ref, caller.user_id)
    role = effective_role(caller, row.kind, row.role) if row is not None else None
    if row is None or not permissions.may_read(row.kind, role):
        raise NotFoundError("There is no such channel.")
    return row.id, f"{row.epoch}-{row.top}"


def effective_role(caller: Caller, kind: str, role: str | None) -> str | None:
    """Administrators act as owners everywhere but in other people's direct channels."""
    return "owner" if caller.is_admin and kind != "direct" else role


def postable(conn: Connection, caller: Caller, ref: str) -> Access:
    """Find a channel that the caller may post to.

    Raises:
        NotFoundError, ForbiddenError.
    """
    found = readable(conn, caller, ref)
    if not permissions.may_post(found.role):
        raise ForbiddenError("Only members may post to this channel.")
    return found


def moderated(conn: Connection, caller: Caller, ref: str) -> Access:
    """Find a channel that the caller may moderate.

    Raises:
        NotFoundError, ForbiddenError.
    """
    found = readable(conn, caller, ref)
    if not permissions.may_moderate(found.role):
        raise ForbiddenError("Only moderators and owners may do this.")
    return found


def postable_stream(conn: Connection, caller: Caller, stream: str) -> str:
    """Give the full name of a stream that the caller may post to.

    Raises:
        NotFoundError, ForbiddenError.
    """
    kind, _, ref = stream.partition(":")
    if kind == "channel":
        return postable(conn, caller, ref).stream
    if kind == "user" and ref in ("me", caller.user_id):
        return user_stream(caller.user_id)
    raise NotFoundError("There is no such stream.")


def check_postable(conn: Connection, caller: Caller, stream: str) -> None:
    """Hold the caller to what may be posted to, by the full name of a stream.

    Raises:
        NotFoundError, ForbiddenError.
    """
    kind, _, ref = stream.partition(":")
    if kind == "channel":
        postable(conn, caller, ref)


def resolve_as_server(conn: Connection, stream: str) -> str:
    """Give the full name of any stream.

    Raises:
        NotFoundError.
    """
    kind, _, ref = stream.partition(":")
    if kind == "channel":
        row = channels.find_access(conn, ref, "")
        if row is None:
            raise NotFoundError("There is no such channel.")
        stream = channel_stream(row.id)
    return log.get_state(conn, stream).name


def readable_streams(conn: Connection, caller: Caller, asked: Iterable[str]) -> dict[str, str]:
    """Give the full names of those of many streams that the caller may read, by one query."""
    refs = {name: name.partition(":")[2] for name in asked}
    own = {name for name in refs if name in ("user:me", user_stream(caller.user_id))}
    wanted = [ref for name, ref in refs.items() if name.startswith("channel:")]
    seen = channels.readable_among(conn, wanted, caller.user_id, is_admin=caller.is_admin)
    found = {name: user_stream(caller.user_id) for name in own}
    for name, ref in refs.items():
        if name.startswith("channel:") and ref in seen:
            found[name] = channel_stream(seen[ref])
    return found
