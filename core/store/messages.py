"""Messages, in the order of their stream."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from core import json
from core.pages import Json, Page, PageRequest
from core.store import paging
from core.store.database import Write
from core.store.models import messages, users
from core.times import rfc3339_or_none, to_rfc3339

_MESSAGE = select(messages, users.c.username.label("author_username")).join_from(
    messages, users, messages.c.author_id == users.c.id
)


def message_json(row: Any) -> Json:
    """Give a message's wire form."""
    return {
        "id": row.id,
        "channel_id": row.channel_id,
        "offset": row.offset,
        "version": row.version,
        "author_id": row.author_id,
        "author_username": row.author_username,
        "body": row.body,
        "data": None if row.data is None else json.Raw(row.data),
        "reply_to": row.reply_to,
        "key": row.key,
        "created_at": to_rfc3339(row.created_ms),
        "edited_at": rfc3339_or_none(row.edited_ms),
        "deleted_at": rfc3339_or_none(row.deleted_ms),
    }


def add(write: Write, values: Json) -> None:
    """Add a message."""
    write.conn.execute(insert(messages).values(values))


def find(conn: Connection, channel_id: str, message_id: str) -> Row[Any] | None:
    """Read a message of a channel."""
    return conn.execute(
        _MESSAGE.where(messages.c.id == message_id, messages.c.channel_id == channel_id)
    ).one_or_none()


def change(write: Write, message_id: str, values: Json) -> None:
    """Change a message."""
    write.conn.execute(update(messages).where(messages.c.id == message_id).values(values))


def list_page(
    conn: Connection,
    channel_id: str,
    request: PageRequest,
    *,
    before: int | None = None,
    after: int | None = None,
    author: str | None = None,
    search: str | None = None,
    descending: bool = True,
) -> Page:
    """List messages with `after` < offset < `before`; `search` is looked for in the body."""
    query = _MESSAGE.where(messages.c.channel_id == channel_id)
    if before is not None:
        query = query.where(messages.c.offset < before)
    if after is not None:
        query = query.where(messages.c.offset > after)
    if author is not None:
        query = query.where(messages.c.author_id == author)
    if search:
        query = query.where(messages.c.body.icontains(search, autoescape=True))
    return paging.fetch(
        conn,
        query,
        [messages.c.offset],
        request,
        descending=descending,
        render=message_json,
    )
