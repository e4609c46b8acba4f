"""Channels, their members, and how far each user has read."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from core.errors import ConflictError
from core.ids import is_id
from core.pages import Json, Page, PageRequest
from core.store import paging
from core.store.database import Write
from core.store.models import channels, members, messages, reads, streams, users
from core.times import to_rfc3339

# Counting stops here: nobody reads "48,231 unread", and counting them would cost a scan.
UNREAD_CAP = 1000


def channel_json(row: Row[Any]) -> Json:
    """Give a channel's wire form."""
    return {
        "id": row.id,
        "slug": row.slug,
        "name": row.name,
        "kind": row.kind,
        "topic": row.topic,
        "created_by": row.created_by,
        "created_at": to_rfc3339(row.created_ms),
        "updated_at": to_rfc3339(row.updated_ms),
        "version": row.version,
    }


def member_json(row: Row[Any]) -> Json:
    """Give a member's wire form."""
    return {
        "channel_id": row.channel_id,
        "user_id": row.user_id,
        "username": row.username,
        "role": row.role,
        "joined_at": to_rfc3339(row.joined_ms),
        "updated_at": to_rfc3339(row.updated_ms),
    }


_ACCESS = (
    select(channels, members.c.role)
    .join_from(
        channels,
        members,
        and_(members.c.channel_id == channels.c.id, members.c.user_id == bindparam("caller")),
        isouter=True,
    )
    .where(channels.c.deleted_ms.is_(None))
)
_ACCESS_BY_ID = _ACCESS.where(channels.c.id == bindparam("ref"))
_ACCESS_BY_SLUG = _ACCESS.where(channels.c.slug == bindparam("ref"))


def find_access(conn: Connection, ref: str, user_id: str) -> Row[Any] | None:
    """Read a channel by id or slug, with the user's role in it."""
    query = _ACCESS_BY_ID if is_id(ref) else _ACCESS_BY_SLUG
    return conn.execute(query, {"ref": ref, "caller": user_id}).one_or_none()


_BY_ID = select(channels).where(channels.c.id == bindparam("channel"))


def get_channel(conn: Connection, channel_id: str) -> Row[Any]:
    """Read a channel that is known to be there."""
    return conn.execute(_BY_ID, {"channel": channel_id}).one()


_IDS = select(channels.c.slug, channels.c.id).where(
    channels.c.slug.in_(bindparam("slugs", expanding=True)), channels.c.deleted_ms.is_(None)
)


def find_ids(conn: Connection, slugs: Iterable[str]) -> dict[str, str]:
    """Read the ids of channels by their slugs; those that don't exist are left out."""
    return {row[0]: row[1] for row in conn.execute(_IDS, {"slugs": list(slugs)})}


# Made once: to make it takes as long as to run it.
_REFS: BindParameter[str] = bindparam("refs", expanding=True)
_ROLES = (
    select(channels.c.id, channels.c.slug, channels.c.kind, members.c.user_id, members.c.role)
    .join_from(
        channels,
        members,
        and_(
            members.c.channel_id == channels.c.id,
            members.c.user_id.in_(bindparam("users", expanding=True)),
        ),
        isouter=True,
    )
    .where(channels.c.deleted_ms.is_(None))
    .where(or_(channels.c.id.in_(_REFS), channels.c.slug.in_(_REFS)))
)


def roles_among(conn: Connection, refs: list[str], user_ids: list[str]) -> Sequence[Any]:
    """Read many channels by id or slug, with the roles of many users: a row for each role.

    A channel in which none of them is a member has one row, without user and role.
    """
    return conn.execute(_ROLES, {"refs": refs, "users": user_ids}).all()


def find_direct(conn: Connection, pair: str) -> Row[Any] | None:
    """Read the direct channel of two users."""
    return conn.execute(select(channels).where(channels.c.pair == pair)).one_or_none()


def add_channel(write: Write, values: Json) -> None:
    """Add a channel.

    Raises:
        ConflictError: the slug (or the pair of a direct channel) is taken.
    """
    try:
        write.conn.execute(insert(channels).values(values))
    except IntegrityError as error:
        raise ConflictError("A channel with this slug, or this pair, exists.") from error


def change_channel(write: Write, channel_id: str, values: Json) -> Row[Any]:
    """Change a channel and give its new row.

    Raises:
        ConflictError: the slug is taken.
    """
    statement = update(channels).where(channels.c.id == channel_id).values(values)
    try:
        return write.conn.execute(statement.returning(channels)).one()
    except IntegrityError as error:
        raise ConflictError("A channel with this slug exists.") from error


_SORTS: dict[str, list[ColumnElement[Any]]] = {
    "name": [channels.c.name, channels.c.id],
    "created_at": [channels.c.id],
}


def list_channels(
    conn: Connection,
    request: PageRequest,
    *,
    user_id: str,
    see_all: bool,
    mine: bool,
    kind: str | None,
    search: str | None,
    sort: str,
) -> Page:
    """List the channels that a user may see; `mine` are joined with what the user has there."""
    query = _mine(user_id) if mine else _visible(user_id, see_all)
    if kind:
        query = query.where(channels.c.kind == kind)
    if search:
        query = query.where(func.lower(channels.c.name).contains(search.lower(), autoescape=True))
    return paging.fetch(
        conn,
        query,
        _SORTS[sort.lstrip("-")],
        request,
        descending=sort.startswith("-"),
        render=_mine_json if mine else channel_json,
    )


def _visible(user_id: str, see_all: bool) -> Select[Any]:
    joined = select(members.c.channel_id).where(members.c.user_id == user_id)
    seen = or_(channels.c.kind == "public", channels.c.id.in_(joined))
    if see_all:
        seen = or_(seen, channels.c.kind != "direct")
    return select(channels).where(channels.c.deleted_ms.is_(None), seen)


def _mine(user_id: str) -> Select[Any]:
    return (
        select(
            channels,
            members.c.role,
            members.c.joined_ms,
            func.coalesce(reads.c.offset, 0).label("read_offset"),
            unread_after(channels.c.id, user_id, func.coalesce(reads.c.offset, 0)).label("unread"),
            streams.c.top,
            streams.c.epoch,
        )
        .join_from(members, channels, members.c.channel_id == channels.c.id)
        .join(streams, streams.c.name == "channel:" + channels.c.id)
        .outerjoin(
            reads, and_(reads.c.channel_id == channels.c.id, reads.c.user_id == members.c.user_id)
        )
        .where(members.c.user_id == user_id, channels.c.deleted_ms.is_(None))
    )


def _mine_json(row: Row[Any]) -> Json:
    return channel_json(row) | {
        "membership": {
            "role": row.role,
            "joined_at": to_rfc3339(row.joined_ms),
            "read_offset": row.read_offset,
        },
        "unread": row.unread,
        "position": {"offset": row.top, "epoch": row.epoch},
    }


def unread_after(channel_id: Any, user_id: Any, offset: Any) -> Any:
    """Make the count, up to UNREAD_CAP, of others' messages after an offset: part of a query."""
    first = (
        select(messages.c.offset)
        .where(
            messages.c.channel_id == channel_id,
            messages.c.offset > offset,
            messages.c.author_id != user_id,
            messages.c.deleted_ms.is_(None),
        )
        .limit(UNREAD_CAP)
        .correlate(channels, reads)
    )
    return select(func.count()).select_from(first.subquery()).scalar_subquery()


_COUNT_UNREAD = select(
    unread_after(bindparam("channel"), bindparam("user", type_=String), bindparam("offset"))
)


def count_unread(conn: Connection, channel_id: str, user_id: str, offset: int) -> int:
    """Count others' messages after an offset, up to UNREAD_CAP."""
    bound = {"channel": channel_id, "user": user_id, "offset": offset}
    return int(conn.execute(_COUNT_UNREAD, bound).scalar_one())


_READ_OFFSET = select(reads.c.offset).where(
    reads.c.user_id == bindparam("user"), reads.c.channel_id == bindparam("channel")
)


def read_offset(conn: Connection, channel_id: str, user_id: str) -> int:
    """Read how far a user has read."""
    mark = conn.execute(_READ_OFFSET, {"user": user_id, "channel": channel_id}).scalar()
    return int(mark or 0)


def move_read(write: Write, channel_id: str, user_id: str, offset: int, now_ms: int) -> bool:
    """Move a read marker forward; False where it stood there or further."""
    dialect = sqlite if write.conn.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(reads).values(
        user_id=user_id, channel_id=channel_id, offset=offset, updated_ms=now_ms
    )
    fresh = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[reads.c.user_id, reads.c.channel_id],
        set_={"offset": fresh.offset, "updated_ms": fresh.updated_ms},
        where=reads.c.offset < fresh.offset,
    )
    return write.conn.execute(statement.returning(reads.c.offset)).one_or_none() is not None


_MEMBER = select(members, users.c.username).join_from(
    members, users, members.c.user_id == users.c.id
)


_ONE_MEMBER = _MEMBER.where(
    members.c.channel_id == bindparam("channel"), members.c.user_id == bindparam("user")
)


def find_member(conn: Connection, channel_id: str, user_id: str) -> Row[Any] | None:
    """Read one member."""
    return conn.execute(_ONE_MEMBER, {"channel": channel_id, "user": user_id}).one_or_none()


def list_members(
    conn: Connection, channel_id: str, request: PageRequest, *, role: str | None = None
) -> Page:
    """List members by user id."""
    query = _MEMBER.where(members.c.channel_id == channel_id)
    if role:
        query = query.where(members.c.role == role)
    return paging.fetch(
        conn, query, [members.c.user_id], request, descending=False, render=member_json
    )


def count_members(conn: Connection, channel_id: str, role: str | None = None) -> int:
    """Count members (of one role)."""
    query = select(func.count()).where(members.c.channel_id == channel_id)
    if role:
        query = query.where(members.c.role == role)
    return int(conn.execute(query).scalar_one())


def member_ids(conn: Connection, channel_id: str) -> list[str]:
    """Read the ids of all members, sorted."""
    return list(
        conn.execute(
            select(members.c.user_id)
            .where(members.c.channel_id == channel_id)
            .order_by(members.c.user_id)
        ).scalars()
    )


def add_member(write: Write, channel_id: str, user_id: str, role: str, now_ms: int) -> None:
    """Add a member."""
    write.conn.execute(
        insert(members).values(
            channel_id=channel_id,
            user_id=user_id,
            role=role,
            joined_ms=now_ms,
            updated_ms=now_ms,
        )
    )


def change_role(write: Write, channel_id: str, user_id: str, role: str, now_ms: int) -> None:
    """Give a member another role."""
    write.conn.execute(
        update(members)
        .where(members.c.channel_id == channel_id, members.c.user_id == user_id)
        .values(role=role, updated_ms=now_ms)
    )


def remove_member(write: Write, channel_id: str, user_id: str) -> None:
    """Remove a member."""
    write.conn.execute(
        delete(members).where(members.c.channel_id == channel_id, members.c.user_id == user_id)
    )
