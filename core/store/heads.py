"""Where a channel stands and what it is to one user: all of it by one statement, of one moment."""

from typing import Any

from sqlalchemy import Connection, String, and_, bindparam, func, select

from core.ids import is_id
from core.store.channels import unread_after
from core.store.models import channels, members, reads, streams

_USER = bindparam("caller", type_=String)
_READ = func.coalesce(reads.c.offset, 0)
_HEAD = (
    select(
        channels.c.id,
        channels.c.kind,
        members.c.role,
        members.c.joined_ms,
        members.c.updated_ms,
        streams.c.top,
        streams.c.epoch,
        _READ.label("read_offset"),
        unread_after(channels.c.id, _USER, _READ).label("unread"),
    )
    .join_from(channels, streams, streams.c.name == "channel:" + channels.c.id)
    .outerjoin(members, and_(members.c.channel_id == channels.c.id, members.c.user_id == _USER))
    .outerjoin(reads, and_(reads.c.channel_id == channels.c.id, reads.c.user_id == _USER))
    .where(channels.c.deleted_ms.is_(None))
)
_BY_ID = _HEAD.where(channels.c.id == bindparam("ref"))
_BY_SLUG = _HEAD.where(channels.c.slug == bindparam("ref"))


def find(conn: Connection, ref: str, user_id: str) -> Any:
    """Read a channel's head by id or slug: the user's role, marker and unread, the stream's top."""
    query = _BY_ID if is_id(ref) else _BY_SLUG
    return conn.execute(query, {"ref": ref, "caller": user_id}).one_or_none()
