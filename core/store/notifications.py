"""Notifications: each user's inbox."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from core import json
from core.pages import Json, Page, PageRequest
from core.store import paging
from core.store.database import Write
from core.store.models import notifications
from core.times import to_rfc3339


def notification_json(row: Any) -> Json:
    """Give a notification's wire form."""
    return {
        "id": row.id,
        "user_id": row.user_id,
        "kind": row.kind,
        "title": row.title,
        "body": row.body,
        "data": None if row.data is None else json.Raw(row.data),
        "collapse": row.collapse,
        "read": row.read,
        "created_at": to_rfc3339(row.created_ms),
        "updated_at": to_rfc3339(row.updated_ms),
        "version": row.version,
    }


def add(write: Write, values: Json) -> None:
    """Add a notification."""
    write.conn.execute(insert(notifications).values(values))


def find(conn: Connection, user_id: str, notification_id: str) -> Row[Any] | None:
    """Read one of a user's notifications."""
    return conn.execute(
        select(notifications).where(
            notifications.c.id == notification_id, notifications.c.user_id == user_id
        )
    ).one_or_none()


def find_unread_collapsed(conn: Connection, user_id: str, collapse: str) -> Row[Any] | None:
    """Read the unread notification that stands for `collapse`."""
    return conn.execute(
        select(notifications).where(
            notifications.c.user_id == user_id,
            notifications.c.collapse == collapse,
            notifications.c.read.is_(False),
        )
    ).one_or_none()


def unread(conn: Connection, user_id: str, limit: int, ids: Sequence[str] | None) -> list[Row[Any]]:
    """Read a user's oldest unread notifications (of these ids)."""
    query = select(notifications).where(
        notifications.c.user_id == user_id, notifications.c.read.is_(False)
    )
    if ids is not None:
        query = query.where(notifications.c.id.in_(ids))
    return list(conn.execute(query.order_by(notifications.c.id).limit(limit)))


def count_unread(conn: Connection, user_id: str) -> int:
    """Count a user's unread notifications."""
    return int(
        conn.execute(
            select(func.count()).where(
                notifications.c.user_id == user_id, notifications.c.read.is_(False)
            )
        ).scalar_one()
    )


def change(write: Write, notification_id: str, values: Json) -> Row[Any]:
    """Change a notification and give its new row."""
    return write.conn.execute(
        update(notifications)
        .where(notifications.c.id == notification_id)
        .values(values)
        .returning(notifications)
    ).one()


_MARK_READ = (
    update(notifications)
    .where(notifications.c.id == bindparam("which"))
    .values(read=True, updated_ms=bindparam("updated_ms"), version=bindparam("version"))
)


def mark_read(write: Write, rows: Sequence[Json]) -> None:
    """Store many notifications as read; each has its new version already."""
    if rows:
        names = ("updated_ms", "version")
        write.conn.execute(
            _MARK_READ, [{"which": row["id"], **{n: row[n] for n in names}} for row in rows]
        )


def remove(write: Write, notification_id: str) -> None:
    """Remove a notification."""
    write.conn.execute(delete(notifications).where(notifications.c.id == notification_id))


def list_page(
    conn: Connection, user_id: str, request: PageRequest, *, only_unread: bool, kind: str | None
) -> Page:
    """List a user's notifications, newest first."""
    query = select(notifications).where(notifications.c.user_id == user_id)
    if only_unread:
        query = query.where(notifications.c.read.is_(False))
    if kind:
        query = query.where(notifications.c.kind == kind)
    return paging.fetch(
        conn, query, [notifications.c.id], request, descending=True, render=notification_json
    )
