"""Where a channel stands and what it is to one user: all of it by one statement, of one moment."""

from typing import Any

from sqlalchemy import Connection, String, and_, bindparam, func, select

from core.ids import is_id
from core.store.channels import unread_after
from core.store.database import Database
from core.store.models import channels, members, reads, streams
from core.store.quick import Quick

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
_BY_ID = Quick(_HEAD.where(channels.c.id == bindparam("ref")))
_BY_SLUG = Quick(_HEAD.where(channels.c.slug == bindparam("ref")))


def find(conn: Connection, ref: str, user_id: str) -> Any:
    """Read a channel's head by id or slug: the user's role, marker and unread, the stream's top."""
    query, bound = _ask(ref, user_id)
    return conn.execute(query.query, bound).one_or_none()


def fetch(db: Database, ref: str, user_id: str) -> Any:
    """Read the same, outside a transaction."""
    return next(iter(db.fetch(*_ask(ref, user_id))), None)


def _ask(ref: str, user_id: str) -> tuple[Quick, dict[str, str]]:
    return _BY_ID if is_id(ref) else _BY_SLUG, {"ref": ref, "caller": user_id}
