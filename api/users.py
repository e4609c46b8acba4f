"""Other users."""

from flask import Response

from api import schemas
from api.parts import parts
from api.respond import empty, expect, ok, page, page_request, with_version
from api.routing import Api, changes
from core.callers import Caller
from core.errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
)
from core.services import users
from core.store.accounts import user_json

api = Api("users")
_MOST_IDS = 200


@api.route(
    "GET",
    "/users",
    {200: schemas.Page[schemas.User]},
    query=schemas.UserQuery,
    is_conditional=True,
)
def list_users(caller: Caller, query: schemas.UserQuery) -> Response:
    """List users."""
    found = users.list_users(
        parts().db,
        caller,
        page_request(query),
        search=query.q.lower() if query.q else None,
        ids=_ids(query.ids),
        sort=query.sort,
    )
    return page(found, query)


def _ids(text: str | None) -> list[str] | None:
    if text is None:
        return None
    ids = [part for part in text.split(",") if part]
    if len(ids) > _MOST_IDS:
        raise InvalidError.of("ids", f"at most {_MOST_IDS}")
    return ids


@api.route(
    "GET", "/users/{user_id}", {200: schemas.User}, refuses=[NotFoundError], is_conditional=True
)
def get_user(caller: Caller, user_id: str) -> Response:
    """Read a user."""
    row = users.get_user(parts().db, caller, user_id)
    return with_version(ok(user_json(row)), row.version)


@api.route(
    "PATCH",
    "/users/{user_id}",
    {200: schemas.User},
    body=schemas.UserChange,
    refuses=[NotFoundError, ForbiddenError, PreconditionFailedError],
    is_conditional=True,
)
def change_user(caller: Caller, user_id: str, body: schemas.UserChange) -> Response:
    """Change a user, as an administrator. Disabling ends all that the user has open."""
    sent = {name: value for name, value in changes(body).items() if value is not None}
    row = users.change_user(parts().db, caller, user_id, sent, expect)
    return with_version(ok(user_json(row)), row.version)


@api.route(
    "DELETE",
    "/users/{user_id}",
    {204: None},
    refuses=[NotFoundError, ForbiddenError, PreconditionFailedError, InvalidError],
)
def disable_user(caller: Caller, user_id: str) -> Response:
    """Disable a user, as an administrator. What the user wrote stays."""
    users.change_user(parts().db, caller, user_id, {"disabled": True}, expect)
    return empty()
