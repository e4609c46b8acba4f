"""Where a channel stands, and what it is to one user: each by one statement, of one moment."""

from typing import Any

from sqlalchemy import Connection, String, and_, bindparam, func, select

from core.ids import is_id
from core.store.channels import unread_after
from core.store.database import Database
from core.store.models import channels, members, reads, streams
from core.store.quick import Quick

_USER = bindparam("caller", type_=String)
_PLACE = (
    select(
        channels.c.id,
        channels.c.kind,
        members.c.role,
        streams.c.id.label("stream_id"),
        streams.c.name.label("stream"),
        streams.c.epoch,
        streams.c.top,
        streams.c.trimmed,
    )
    .join_from(channels, streams, streams.c.name == "channel:" + channels.c.id)
    .outerjoin(members, and_(members.c.channel_id == channels.c.id, members.c.user_id == _USER))
    .where(channels.c.deleted_ms.is_(None))
)
_READ = func.coalesce(reads.c.offset, 0)
_HEAD = _PLACE.add_columns(
    members.c.joined_ms,
    members.c.updated_ms,
    _READ.label("read_offset"),
    unread_after(channels.c.id, _USER, _READ).label("unread"),
).outerjoin(reads, and_(reads.c.channel_id == channels.c.id, reads.c.user_id == _USER))

_PLACE_BY_ID = Quick(_PLACE.where(channels.c.id == bindparam("ref")))
_PLACE_BY_SLUG = Quick(_PLACE.where(channels.c.slug == bindparam("ref")))
_HEAD_BY_ID = Quick(_HEAD.where(channels.c.id == bindparam("ref")))
_HEAD_BY_SLUG = Quick(_HEAD.where(channels.c.slug == bindparam("ref")))


def fetch_place(db: Database, ref: str, user_id: str) -> Any:
    """Read, by id or slug, a channel's id and kind, the user's role, and its stream's row."""
    quick = _PLACE_BY_ID if is_id(ref) else _PLACE_BY_SLUG
    return next(iter(db.fetch(quick, {"ref": ref, "caller": user_id})), None)


def fetch(db: Database, ref: str, user_id: str) -> Any:
    """Read, beside that, the user's membership, read mark and count of unread messages."""
    quick = _HEAD_BY_ID if is_id(ref) else _HEAD_BY_SLUG
    return next(iter(db.fetch(quick, {"ref": ref, "caller": user_id})), None)


def find(conn: Connection, ref: str, user_id: str) -> Any:
    """Read the same in a transaction."""
    quick = _HEAD_BY_ID if is_id(ref) else _HEAD_BY_SLUG
    return conn.execute(quick.query, {"ref": ref, "caller": user_id}).one_or_none()
