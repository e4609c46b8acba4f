"""Messages, in the order of their stream."""

from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update

from core import json
from core.pages import Json, Page, PageRequest
from core.store import paging
from core.store.database import Write
from core.store.models import messages, users
from core.times import rfc3339_or_none, to_rfc3339

# The columns in the order of `render`.
_COLUMNS = (
    messages.c.id,
    messages.c.channel_id,
    messages.c.offset,
    messages.c.version,
    messages.c.author_id,
    users.c.username.label("author_username"),
    messages.c.body,
    messages.c.data,
    messages.c.reply_to,
    messages.c.key,
    messages.c.created_ms,
    messages.c.edited_ms,
    messages.c.deleted_ms,
)
_MESSAGE = select(*_COLUMNS).join_from(messages, users, messages.c.author_id == users.c.id)
_BY_ID = _MESSAGE.where(
    messages.c.id == bindparam("id"), messages.c.channel_id == bindparam("channel")
)


def render(
    id: str,  # noqa: A002 - the parameters are the columns
    channel_id: str,
    offset: int,
    version: int,
    author_id: str,
    author_username: str,
    body: str | None,
    data: str | None,
    reply_to: str | None,
    key: str | None,
    created_ms: int,
    edited_ms: int | None,
    deleted_ms: int | None,
) -> Json:
    """Give a message's wire form. Called for each row of a page, so by position."""
    return {
        "id": id,
        "channel_id": channel_id,
        "offset": offset,
        "version": version,
        "author_id": author_id,
        "author_username": author_username,
        "body": body,
        "data": None if data is None else json.Raw(data),
        "reply_to": reply_to,
        "key": key,
        "created_at": to_rfc3339(created_ms),
        "edited_at": rfc3339_or_none(edited_ms),
        "deleted_at": rfc3339_or_none(deleted_ms),
    }


def message_json(row: Any) -> Json:
    """Give the wire form of a row."""
    return render(*row)


def find(conn: Connection, channel_id: str, message_id: str) -> Any:
    """Read a message of a channel."""
    return conn.execute(_BY_ID, {"id": message_id, "channel": channel_id}).one_or_none()


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
    given = {"before": before, "after": after, "author": author}
    filters: Json = {name: value for name, value in given.items() if value is not None}
    if search:
        filters["search"] = paging.like_pattern(search)
    return paging.fetch_prepared(
        conn,
        _page_query(frozenset(filters), request.after is not None, descending),
        request,
        {"channel": channel_id, **filters},
        key_columns=(2,),
        render=render,
    )


# Putting a query together takes longer than running it, and there are few shapes of it.
@lru_cache(maxsize=64)
def _page_query(filters: frozenset[str], is_next: bool, descending: bool) -> Select[Any]:
    query = _MESSAGE.where(messages.c.channel_id == bindparam("channel"))
    if "before" in filters:
        query = query.where(messages.c.offset < bindparam("before"))
    if "after" in filters:
        query = query.where(messages.c.offset > bindparam("after"))
    if "author" in filters:
        query = query.where(messages.c.author_id == bindparam("author"))
    if "search" in filters:
        query = query.where(messages.c.body.ilike(bindparam("search"), escape="/"))
    return paging.prepare(query, [messages.c.offset], is_next=is_next, descending=descending)
