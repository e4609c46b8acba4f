"""Users as others see and administer them."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Row

from core.callers import Caller
from core.errors import ForbiddenError, InvalidError
from core.events import Control
from core.pages import Json, Page, PageRequest
from core.services import accounts as account_services
from core.services.publish import log_control
from core.store import accounts
from core.store.database import Database
from core.times import now_ms

# Called with the present version; raises where the caller expected another one.
Expect = Callable[[int], None]


def list_users(
    db: Database,
    caller: Caller,
    request: PageRequest,
    *,
    search: str | None,
    ids: list[str] | None,
    sort: str,
) -> Page:
    """List users; only administrators see disabled ones."""
    with db.read() as conn:
        return accounts.list_users(
            conn,
            request,
            search=search,
            ids=ids,
            sort=sort,
            with_disabled=caller.is_admin or ids is not None,
        )


def get_user(db: Database, _caller: Caller, user_id: str) -> Row[Any]:
    """Read a user; every signed-in user may.

    Raises:
        NotFoundError.
    """
    with db.read() as conn:
        return accounts.get_user(conn, user_id)


def change_user(
    db: Database, caller: Caller, user_id: str, changes: Json, expect: Expect
) -> Row[Any]:
    """Change a user, oneself or, as an administrator, anybody; give the new row.

    Raises:
        NotFoundError, ForbiddenError, PreconditionFailedError.
    """
    _check_may_change(caller, user_id, changes)
    with db.write() as write:
        present = accounts.lock_user(write, user_id)
        expect(present.version)
        if changes:
            accounts.change_user(write, user_id, {**changes, "updated_ms": now_ms()})
        if changes.get("disabled") and not present.disabled:
            account_services.disable(write, user_id)
        elif "is_admin" in changes:
            log_control(write, Control("access_lost", user_id))
        return accounts.get_user(write.conn, user_id)


def _check_may_change(caller: Caller, user_id: str, changes: Json) -> None:
    if caller.is_admin:
        own_rights = {"disabled": True, "is_admin": False}
        if user_id == caller.user_id and any(
            changes.get(name) is value for name, value in own_rights.items()
        ):
            raise InvalidError("Administrators can't take their own rights away.")
        return
    if user_id != caller.user_id or not changes.keys() <= {"display_name"}:
        raise ForbiddenError("Only an administrator may do this.")
