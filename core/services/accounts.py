"""Accounts and sessions: registering, logging in, refreshing, ending."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from core.callers import Caller, Claims
from core.errors import (
    ForbiddenError,
    NotFoundError,
    TokenExpiredError,
    TokenRevokedError,
    UnauthorizedError,
)
from core.events import Control, user_stream
from core.ids import new_id, new_secret
from core.pages import Json, Page, PageRequest
from core.passwords import Passwords
from core.services.publish import log_control, log_event
from core.store import accounts, log
from core.store.database import Database, Write
from core.times import now_ms

TICKET_TTL_S = 30


@dataclass(frozen=True, slots=True)
class Login:
    """A session that has just begun or gone on: what its tokens are made from."""

    user: Json
    session_id: str
    refresh_id: str


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """How long a login lasts unused, and what it was made with."""

    ttl_ms: int
    user_agent: str = ""


def register(
    db: Database,
    passwords: Passwords,
    terms: SessionTerms,
    *,
    username: str,
    password: str,
    display_name: str | None = None,
    is_admin: bool = False,
) -> Login:
    """Make a user, and the user's first session.

    Raises:
        ConflictError: the username is taken.
    """
    password_hash = passwords.hash(password)
    with db.write() as write:
        user_id = add_user(
            write,
            username=username,
            password_hash=password_hash,
            display_name=display_name,
            is_admin=is_admin,
        )
        return _begin(write, accounts.get_user(write.conn, user_id), terms)


def add_user(
    write: Write,
    *,
    username: str,
    password_hash: str,
    display_name: str | None = None,
    is_admin: bool = False,
) -> str:
    """Add a user with an empty stream; give the id."""
    user_id, now = new_id(), now_ms()
    accounts.add_user(
        write,
        {
            "id": user_id,
            "username": username,
            "display_name": display_name or username,
            "password_hash": password_hash,
            "is_admin": is_admin,
            "disabled": False,
            "created_ms": now,
            "updated_ms": now,
            "version": 1,
        },
    )
    log.create(write, user_stream(user_id))
    return user_id


def _begin(write: Write, user: Row[Any], terms: SessionTerms) -> Login:
    session_id, refresh_id, now = new_id(), new_id(), now_ms()
    accounts.add_session(
        write,
        {
            "id": session_id,
            "user_id": user.id,
            "refresh_id": refresh_id,
            "user_agent": terms.user_agent,
            "created_ms": now,
            "last_used_ms": now,
            "expires_ms": now + terms.ttl_ms,
        },
    )
    return Login(accounts.user_json(user), session_id, refresh_id)


def login(
    db: Database, passwords: Passwords, terms: SessionTerms, *, username: str, password: str
) -> Login:
    """Begin a session.

    Raises:
        UnauthorizedError: wrong name, wrong password or a disabled user: all alike, also in time.
    """
    with db.read() as conn:
        user = accounts.find_user_by_name(conn, username)
    matches = passwords.matches(user.password_hash if user else None, password)
    if user is None or not matches or user.disabled:
        raise UnauthorizedError("The username or the password is wrong.")
    with db.write() as write:
        present = accounts.lock_user(write, user.id)
        # Changed while we hashed: the sessions that a change ends are to include this one.
        if present.disabled or present.password_hash != user.password_hash:
            raise UnauthorizedError("The username or the password is wrong.")
        return _begin(write, present, terms)


def login_as_server(db: Database, terms: SessionTerms, *, username: str) -> Login:
    """Begin a session for a user without a password: for the command line.

    Raises:
        NotFoundError: there is no such user, or a disabled one.
    """
    with db.write() as write:
        user = accounts.find_user_by_name(write.conn, username)
        if user is None or user.disabled:
            raise NotFoundError("There is no such user.")
        return _begin(write, user, terms)


def make_admin(db: Database, username: str) -> bool:
    """Make an existing user an administrator; False where there is none by this name."""
    with db.write() as write:
        user = accounts.find_user_by_name(write.conn, username)
        if user is not None:
            accounts.change_user(write, user.id, {"is_admin": True, "updated_ms": now_ms()})
    return user is not None


def refresh(db: Database, claims: Claims, terms: SessionTerms) -> Login:
    """Trade a refresh token for the next one.

    Raises:
        TokenRevokedError: the session has ended, or the token was used before, which ends it.
    """
    fresh, now = new_id(), now_ms()
    with db.write() as write:
        user = accounts.get_user(write.conn, claims.user_id)
        good = not user.disabled and accounts.rotate(
            write, claims.session_id, claims.token_id, fresh, now, now + terms.ttl_ms
        )
        if not good:
            # Whoever holds an old token may have stolen it, or been stolen from: end both.
            _revoke(write, claims.user_id, reason="refresh_reuse", only=claims.session_id)
    if not good:
        raise TokenRevokedError("This refresh token is no longer good. Log in again.")
    return Login(accounts.user_json(user), claims.session_id, fresh)


def authenticate(db: Database, claims: Claims) -> Caller:
    """Tell who is calling, from a token whose signature was checked.

    Raises:
        TokenExpiredError, TokenRevokedError: the session is over, or the user disabled.
    """
    check_expiry(claims)
    with db.read() as conn:
        row = accounts.find_live(conn, claims.session_id, claims.user_id)
    return judge(claims, row)


def check_expiry(claims: Claims) -> None:
    """Hold a token to its time.

    Raises:
        TokenExpiredError.
    """
    if claims.expires_at_ms <= now_ms():
        raise TokenExpiredError("The token has expired.")


def judge(claims: Claims, row: Any) -> Caller:
    """Tell who is calling, given what is known of the session (None: there is none).

    Raises:
        TokenExpiredError, TokenRevokedError: the session is over, or the user disabled.
    """
    if row is None or row.revoked_ms is not None or row.disabled:
        raise TokenRevokedError("The session of this token has ended.")
    if row.expires_ms <= now_ms():
        raise TokenExpiredError("The session of this token has expired.")
    return Caller(
        claims.user_id, row.username, claims.session_id, row.is_admin, claims.expires_at_ms
    )


def logout(db: Database, caller: Caller) -> None:
    """End the caller's session, everywhere."""
    with db.write() as write:
        _revoke(write, caller.user_id, reason="logout", only=caller.session_id)


def end_session(db: Database, caller: Caller, session_id: str) -> None:
    """End one of the caller's sessions.

    Raises:
        NotFoundError: the caller has none with this id.
    """
    with db.write() as write:
        if not _revoke(write, caller.user_id, reason="revoked", only=session_id):
            raise NotFoundError("There is no such session.")


def _revoke(
    write: Write, user_id: str, *, reason: str, only: str | None = None, but: str | None = None
) -> list[str]:
    now = now_ms()
    ended = accounts.revoke(write, user_id, now, only=only, but=but)
    for session_id in sorted(ended):
        payload = {"session_id": session_id, "reason": reason}
        log_event(
            write,
            user_stream(user_id),
            "session.revoked",
            lambda _offset, payload=payload: payload,  # type: ignore[misc]
            actor=user_id,
            at_ms=now,
        )
        log_control(write, Control("session_revoked", user_id, session_id))
    return ended


def list_sessions(db: Database, caller: Caller, request: PageRequest) -> Page:
    """List the caller's live sessions."""
    with db.read() as conn:
        page = accounts.list_sessions(conn, caller.user_id, now_ms(), request)
    for item in page.items:
        item["current"] = item["id"] == caller.session_id
    return page


def make_ticket(db: Database, caller: Caller) -> str:
    """Make a one-use stand-in for the caller's token, good for TICKET_TTL_S."""
    secret = new_secret()
    with db.write() as write:
        accounts.add_ticket(
            write,
            {
                "digest": _secret_digest(secret),
                "user_id": caller.user_id,
                "session_id": caller.session_id,
                "token_expires_ms": caller.expires_at_ms,
                "expires_ms": now_ms() + TICKET_TTL_S * 1000,
            },
        )
    return secret


def take_ticket(db: Database, secret: str) -> Claims:
    """Use a ticket up and give the claims that it stands for.

    Raises:
        UnauthorizedError: there is none, it was used, or it is too old.
    """
    with db.write() as write:
        row = accounts.take_ticket(write, _secret_digest(secret))
    if row is None or row.expires_ms <= now_ms():
        raise UnauthorizedError("This ticket was used, has expired or never was.")
    return Claims(row.user_id, row.session_id, row.token_expires_ms)


def _secret_digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def get_me(db: Database, caller: Caller) -> Row[Any]:
    """Read the caller's own profile."""
    with db.read() as conn:
        return accounts.get_user(conn, caller.user_id)


def change_password(
    db: Database, passwords: Passwords, caller: Caller, *, current: str, new: str
) -> None:
    """Change the caller's password; every other session of the caller ends.

    Raises:
        ForbiddenError: the current password is wrong.
    """
    with db.read() as conn:
        user = accounts.get_user(conn, caller.user_id)
    if not passwords.matches(user.password_hash, current):
        raise ForbiddenError("The current password is wrong.")
    password_hash = passwords.hash(new)
    with db.write() as write:
        present = accounts.lock_user(write, caller.user_id)
        if present.password_hash != user.password_hash:
            # Somebody else was a moment faster, and may have done it to keep this one out.
            raise ForbiddenError("The current password is wrong.")
        accounts.change_user(
            write, caller.user_id, {"password_hash": password_hash, "updated_ms": now_ms()}
        )
        _revoke(write, caller.user_id, reason="password_changed", but=caller.session_id)


def disable(write: Write, user_id: str) -> None:
    """End everything that a user has open."""
    _revoke(write, user_id, reason="disabled")
    log_control(write, Control("user_disabled", user_id))
