"""Registering, logging in and out, tokens, sessions, and one's own profile."""

from flask import Response, request

from api import schemas
from api.auth import address, bearer
from api.parts import parts
from api.respond import created, empty, expect, ok, page, page_request, with_version
from api.routing import Api, changes
from core.callers import Caller
from core.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PreconditionFailedError,
    UnauthorizedError,
)
from core.services import accounts, users
from core.store.accounts import user_json

api = Api("accounts")


def _terms() -> accounts.SessionTerms:
    agent = (request.user_agent.string or "").replace("\x00", "")[:200]
    return accounts.SessionTerms(int(parts().tokens.refresh_ttl_s * 1000), agent)


def _logged_in(login: accounts.Login) -> dict[str, object]:
    access, refresh = parts().tokens.pair(login)
    return {
        "user": login.user,
        "access_token": access,
        "refresh_token": refresh,
        "token_type": "Bearer",
        "expires_in": int(parts().tokens.access_ttl_s),
    }


@api.route(
    "POST",
    "/auth/register",
    {201: schemas.Login},
    body=schemas.Register,
    is_open=True,
    limit="register",
    refuses=[ConflictError],
    answer_headers=["Location"],
)
def register(body: schemas.Register) -> Response:
    """Make an account and log in."""
    login = accounts.register(parts().db, parts().passwords, _terms(), **body.model_dump())
    return created(_logged_in(login), f"/api/v1/users/{login.user['id']}")


@api.route(
    "POST",
    "/auth/login",
    {200: schemas.Login},
    body=schemas.Credentials,
    is_open=True,
    limit="login_address",
    refuses=[UnauthorizedError],
)
def log_in(body: schemas.Credentials) -> Response:
    """Log in. A wrong name and a wrong password are answered alike."""
    # By address and name as well: nobody can lock somebody else out.
    parts().limits.take("login", f"{address()} {body.username}")
    login = accounts.login(parts().db, parts().passwords, _terms(), **body.model_dump())
    return ok(_logged_in(login))


@api.route(
    "POST",
    "/auth/refresh",
    {200: schemas.Login},
    is_open=True,
    limit="refresh",
    refuses=[UnauthorizedError],
)
def refresh() -> Response:
    """Trade a refresh token, sent as the bearer, for a new pair.

    A token that was used before ends its session.
    """
    claims = parts().tokens.verify_refresh(bearer())
    return ok(_logged_in(accounts.refresh(parts().db, claims, _terms())))


@api.route("POST", "/auth/logout", {204: None})
def log_out(caller: Caller) -> Response:
    """End this session, everywhere."""
    accounts.logout(parts().db, caller)
    return empty()


@api.route("POST", "/auth/ticket", {201: schemas.Ticket}, limit="write")
def make_ticket(caller: Caller) -> Response:
    """Make a one-use ticket, for `?ticket=` where no header can be set."""
    ticket = accounts.make_ticket(parts().db, caller)
    return ok({"ticket": ticket, "expires_in": accounts.TICKET_TTL_S}, 201)


@api.route(
    "GET",
    "/auth/sessions",
    {200: schemas.Page[schemas.Session]},
    query=schemas.PageQuery,
    is_conditional=True,
)
def list_sessions(caller: Caller, query: schemas.PageQuery) -> Response:
    """List one's sessions."""
    return page(accounts.list_sessions(parts().db, caller, page_request(query)), query)


@api.route("DELETE", "/auth/sessions/{session_id}", {204: None}, refuses=[NotFoundError])
def end_session(caller: Caller, session_id: str) -> Response:
    """End one of one's sessions."""
    accounts.end_session(parts().db, caller, session_id)
    return empty()


@api.route("GET", "/me", {200: schemas.User}, is_conditional=True)
def get_me(caller: Caller) -> Response:
    """Read one's profile."""
    row = accounts.get_me(parts().db, caller)
    return with_version(ok(user_json(row)), row.version)


@api.route(
    "PATCH",
    "/me",
    {200: schemas.User},
    body=schemas.Profile,
    refuses=[PreconditionFailedError],
    is_conditional=True,
)
def change_me(caller: Caller, body: schemas.Profile) -> Response:
    """Change one's profile."""
    row = users.change_user(parts().db, caller, caller.user_id, changes(body), expect)
    return with_version(ok(user_json(row)), row.version)


@api.route(
    "PUT",
    "/me/password",
    {204: None},
    body=schemas.PasswordChange,
    limit="register",
    refuses=[ForbiddenError],
)
def change_password(caller: Caller, body: schemas.PasswordChange) -> Response:
    """Change one's password; every other session ends."""
    accounts.change_password(
        parts().db,
        parts().passwords,
        caller,
        current=body.current_password,
        new=body.new_password,
    )
    return empty()
