"""Users, their sessions (one for each login) and tickets."""

from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Row,
    String,
    any_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError

from core.errors import ConflictError, NotFoundError
from core.pages import Json, Page, PageRequest
from core.store import paging
from core.store.database import Write
from core.store.models import sessions, tickets, users
from core.times import to_rfc3339


def user_json(row: Row[Any]) -> Json:
    """Give a user's wire form."""
    return {
        "id": row.id,
        "username": row.username,
        "display_name": row.display_name,
        "is_admin": row.is_admin,
        "disabled": row.disabled,
        "created_at": to_rfc3339(row.created_ms),
        "updated_at": to_rfc3339(row.updated_ms),
    }


def add_user(write: Write, values: Json) -> None:
    """Add a user.

    Raises:
        ConflictError: the username is taken, perhaps since a moment ago.
    """
    try:
        write.conn.execute(insert(users).values(values))
    except IntegrityError as error:
        raise ConflictError("This username is taken.") from error


def find_user(conn: Connection, user_id: str) -> Row[Any] | None:
    """Read a user."""
    return conn.execute(select(users).where(users.c.id == user_id)).one_or_none()


def lock_user(write: Write, user_id: str) -> Row[Any]:
    """Read a user, who stays like this until the commit.

    Raises:
        NotFoundError: there is none with this id.
    """
    # Not against those who only refer to the user: who holds a stream and writes a message would
    # wait here for somebody who waits for that stream.
    write.conn.execute(
        select(users.c.id).where(users.c.id == user_id).with_for_update(key_share=True)
    )
    return get_user(write.conn, user_id)


def get_user(conn: Connection, user_id: str) -> Row[Any]:
    """Read a user.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = find_user(conn, user_id)
    if row is None:
        raise NotFoundError("There is no such user.")
    return row


def find_user_by_name(conn: Connection, username: str) -> Row[Any] | None:
    """Read a user by username."""
    return conn.execute(select(users).where(users.c.username == username)).one_or_none()


def user_ids(conn: Connection, ids: list[str], usernames: list[str]) -> dict[str, str]:
    """Look up many users by id or username: `{what was asked for: id}`, disabled ones left out."""
    rows = conn.execute(
        select(users.c.id, users.c.username).where(
            or_(users.c.id.in_(ids), users.c.username.in_(usernames)), users.c.disabled.is_(False)
        )
    ).all()
    return {row.id: row.id for row in rows} | {row.username: row.id for row in rows}


def change_user(write: Write, user_id: str, values: Json) -> None:
    """Change a user; its version moves."""
    write.conn.execute(
        update(users).where(users.c.id == user_id).values(**values, version=users.c.version + 1)
    )


_SORTS: dict[str, list[ColumnElement[Any]]] = {
    "username": [users.c.username],
    "created_at": [users.c.created_ms, users.c.id],
}


def list_users(
    conn: Connection,
    request: PageRequest,
    *,
    search: str | None,
    ids: list[str] | None,
    sort: str,
    with_disabled: bool,
) -> Page:
    """List users whose username starts with `search`."""
    query = select(users)
    if search:
        # A range rather than LIKE: both databases walk the index for it.
        query = query.where(users.c.username >= search, users.c.username < search + "\U0010ffff")
    if ids is not None:
        query = query.where(users.c.id.in_(ids))
    if not with_disabled:
        query = query.where(users.c.disabled.is_(False))
    return paging.fetch(
        conn,
        query,
        _SORTS[sort.lstrip("-")],
        request,
        descending=sort.startswith("-"),
        render=user_json,
    )


def add_session(write: Write, values: Json) -> None:
    """Add a session."""
    write.conn.execute(insert(sessions).values(values))


_LIVE = (
    select(
        sessions.c.revoked_ms,
        sessions.c.expires_ms,
        users.c.username,
        users.c.is_admin,
        users.c.disabled,
    )
    .join_from(sessions, users)
    .where(sessions.c.id == bindparam("session"), sessions.c.user_id == bindparam("user"))
)


def find_live(conn: Connection, session_id: str, user_id: str) -> Any:
    """Read what decides whether a session is good, in one query."""
    return conn.execute(_LIVE, {"session": session_id, "user": user_id}).one_or_none()


_LIVE_WITH_USER = select(
    sessions.c.id.label("session_id"),
    sessions.c.revoked_ms,
    sessions.c.expires_ms,
    users.c.id,
    users.c.username,
    users.c.display_name,
    users.c.is_admin,
    users.c.disabled,
    users.c.created_ms,
    users.c.updated_ms,
).join_from(sessions, users)
# All ids in one parameter: one text, which the driver keeps prepared, however many connect.
_LIVE_MANY = {
    "postgresql": _LIVE_WITH_USER.where(
        sessions.c.id == any_(bindparam("sessions", type_=postgresql.ARRAY(String)))
    ),
    "sqlite": _LIVE_WITH_USER.where(
        sessions.c.id.in_(
            select(func.json_each(bindparam("sessions", type_=JSON)).table_valued("value").c.value)
        )
    ),
}


def find_live_many(conn: Connection, session_ids: list[str]) -> dict[str, Any]:
    """Read the same of many sessions, with all that `user_json` takes: `{session id: row}`."""
    rows = conn.execute(_LIVE_MANY[conn.dialect.name], {"sessions": session_ids}).all()
    return {row.session_id: row for row in rows}


def rotate(
    write: Write, session_id: str, used: str, fresh: str, now_ms: int, until_ms: int
) -> bool:
    """Replace the family's refresh token; False where `used` is not the present one."""
    done = write.conn.execute(
        update(sessions)
        .where(
            sessions.c.id == session_id,
            sessions.c.refresh_id == used,
            sessions.c.revoked_ms.is_(None),
            sessions.c.expires_ms > now_ms,
        )
        .values(refresh_id=fresh, last_used_ms=now_ms, expires_ms=until_ms)
    )
    return bool(done.rowcount)


def revoke(
    write: Write, user_id: str, now_ms: int, *, only: str | None = None, but: str | None = None
) -> list[str]:
    """End a user's sessions (or `only` one, or all `but` one); give the ids of those ended."""
    where = [sessions.c.user_id == user_id, sessions.c.revoked_ms.is_(None)]
    if only is not None:
        where.append(sessions.c.id == only)
    if but is not None:
        where.append(sessions.c.id != but)
    statement = update(sessions).where(*where).values(revoked_ms=now_ms).returning(sessions.c.id)
    return list(write.conn.execute(statement).scalars())


def list_sessions(conn: Connection, user_id: str, now_ms: int, request: PageRequest) -> Page:
    """List a user's sessions that are still good, newest first."""
    query = select(sessions).where(
        sessions.c.user_id == user_id,
        sessions.c.revoked_ms.is_(None),
        sessions.c.expires_ms > now_ms,
    )
    return paging.fetch(
        conn, query, [sessions.c.id], request, descending=True, render=_session_json
    )


def _session_json(row: Row[Any]) -> Json:
    return {
        "id": row.id,
        "user_agent": row.user_agent,
        "created_at": to_rfc3339(row.created_ms),
        "last_used_at": to_rfc3339(row.last_used_ms),
        "expires_at": to_rfc3339(row.expires_ms),
    }


def add_ticket(write: Write, values: Json) -> None:
    """Add a ticket."""
    write.conn.execute(insert(tickets).values(values))


def take_ticket(write: Write, digest: str) -> Any:
    """Use a ticket up; None where there is none."""
    return write.conn.execute(
        delete(tickets)
        .where(tickets.c.digest == digest)
        .returning(
            tickets.c.user_id,
            tickets.c.session_id,
            tickets.c.token_expires_ms,
            tickets.c.expires_ms,
        )
    ).one_or_none()


def forget_dead(write: Write, before_ms: int) -> int:
    """Drop sessions and tickets that ended before a time; give how many sessions."""
    write.conn.execute(delete(tickets).where(tickets.c.expires_ms < before_ms))
    return write.conn.execute(delete(sessions).where(sessions.c.expires_ms < before_ms)).rowcount
