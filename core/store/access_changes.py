"""Ends of access, in a table that every node reads: the bus may lose word of them."""

from dataclasses import replace
from typing import Any, cast

from sqlalchemy import Connection, Row, delete, func, insert, select

from core.events import Control, ControlKind
from core.store.database import Write
from core.store.models import access_changes


def append(write: Write, control: Control, at_ms: int) -> Control:
    """Write a control down, for the nodes that will not hear of it; give it with its id."""
    values = {
        "kind": control.kind,
        "user_id": control.user_id,
        "session_id": control.session_id,
        "stream": control.stream,
        "at_ms": at_ms,
    }
    statement = insert(access_changes).values(values).returning(access_changes.c.id)
    return replace(control, id=write.conn.execute(statement).scalar_one())


def newest(conn: Connection) -> int:
    """Give the newest id; 0 where there is none."""
    return int(conn.execute(select(func.max(access_changes.c.id))).scalar() or 0)


def read_after(conn: Connection, after: int, limit: int) -> list[Control]:
    """Read what has an id above `after`, by id. Lower ones may still be committed later."""
    query = select(access_changes).where(access_changes.c.id > after)
    rows = conn.execute(query.order_by(access_changes.c.id).limit(limit)).all()
    return [_control(row) for row in rows]


def _control(row: Row[Any]) -> Control:
    kind = cast(ControlKind, row.kind)
    return Control(kind, row.user_id, row.session_id, row.stream, row.id)


def forget(write: Write, before_ms: int) -> None:
    """Drop what is older than a time."""
    write.conn.execute(delete(access_changes).where(access_changes.c.at_ms < before_ms))
