"""Notifications. Each change is an event of the user's stream: read on one device, read on all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from core import json
from core.callers import Caller
from core.errors import ForbiddenError, InvalidError, NotFoundError
from core.events import Event, user_stream
from core.ids import new_id
from core.pages import Json, Page, PageRequest
from core.services.publish import Payload, check_size, log_event, log_events
from core.services.users import Expect
from core.store import accounts, log
from core.store import notifications as store
from core.store.database import Database, Write
from core.times import now_ms

# One call marks at most so many; the answer tells what is left.
MAX_MARKED = 1000


@dataclass(frozen=True, slots=True)
class NotificationDraft:
    """What people are to be told."""

    kind: str
    title: str
    body: str | None = None
    data: Json | None = None
    key: str | None = None
    collapse: str | None = None

    def asked(self) -> list[Any]:
        """Give what a retry must repeat."""
        return [self.kind, self.title, self.body, self.data, self.collapse]


def create(
    db: Database,
    caller: Caller,
    draft: NotificationDraft,
    *,
    user_ids: Sequence[str],
    usernames: Sequence[str],
    max_bytes: int,
    let_others_run: Callable[[], None] = lambda: None,
) -> list[Json]:
    """Notify people; for each the notification, or with a used key the one it made before.

    Raises:
        ForbiddenError: the caller is no administrator.
        InvalidError: a user does not exist. Nobody has been notified then.
        ConflictError, TooLargeError.
    """
    if not caller.is_admin:
        raise ForbiddenError("Only an administrator may notify people.")
    check_size(json.dumps(draft.asked()), max_bytes)
    with db.read() as conn:
        targets = _targets(conn, user_ids, usernames)
    # One transaction for each person, so that a key that took effect for some is replayed
    # for them alone. A retry of the whole goes on where this one broke off.
    made = []
    for user_id in targets:
        let_others_run()
        made.append(_notify(db, caller, user_id, draft))
    return made


def _targets(conn: Any, user_ids: Sequence[str], usernames: Sequence[str]) -> list[str]:
    found = accounts.user_ids(conn, list(user_ids), list(usernames))
    for name, asked in (("user_ids", user_ids), ("users", usernames)):
        missing = [item for item in asked if item not in found]
        if missing:
            raise InvalidError.of(name, f"there is no user {missing[0]}")
    return sorted({found[item] for item in [*user_ids, *usernames]})


def _notify(db: Database, caller: Caller, user_id: str, draft: NotificationDraft) -> Json:
    try:
        with db.write() as write:
            log.lock(write, user_stream(user_id))
            present = (
                store.find_unread_collapsed(write.conn, user_id, draft.collapse)
                if draft.collapse
                else None
            )
            if present is not None:
                return _replace(write, caller, present, draft)
            return _add(write, caller, user_id, draft)
    except log.ReplayedError as replay:
        return dict(json.loads(replay.event.data))


def _content(draft: NotificationDraft) -> Json:
    return {
        "kind": draft.kind,
        "title": draft.title,
        "body": draft.body,
        "data": None if draft.data is None else json.dumps(draft.data).decode(),
    }


def _add(write: Write, caller: Caller, user_id: str, draft: NotificationDraft) -> Json:
    now = now_ms()
    values = {
        **_content(draft),
        "id": new_id(),
        "user_id": user_id,
        "collapse": draft.collapse,
        "read": False,
        "created_ms": now,
        "updated_ms": now,
    }

    def apply(offset: int) -> Json:
        values["version"] = offset
        return store.notification_json(SimpleNamespace(**values))

    event = _tell(write, caller, user_id, "notification.created", apply, draft)
    store.add(write, values)
    return dict(json.loads(event.data))


def _replace(write: Write, caller: Caller, present: Any, draft: NotificationDraft) -> Json:
    def apply(offset: int) -> Json:
        values = {**_content(draft), "updated_ms": now_ms(), "version": offset}
        return store.notification_json(store.change(write, present.id, values))

    event = _tell(write, caller, present.user_id, "notification.updated", apply, draft)
    return dict(json.loads(event.data))


def _tell(
    write: Write,
    caller: Caller,
    user_id: str,
    type_: str,
    apply: Any,
    draft: NotificationDraft | None = None,
) -> Event:
    return log_event(
        write,
        user_stream(user_id),
        type_,
        apply,
        actor=caller.user_id,
        at_ms=now_ms(),
        key=draft.key if draft else None,
        asked=draft.asked() if draft else None,
    )


def list_notifications(
    db: Database, caller: Caller, request: PageRequest, *, only_unread: bool, kind: str | None
) -> Page:
    """List the caller's notifications."""
    with db.read() as conn:
        return store.list_page(conn, caller.user_id, request, only_unread=only_unread, kind=kind)


def count_unread(db: Database, caller: Caller) -> int:
    """Count the caller's unread notifications."""
    with db.read() as conn:
        return store.count_unread(conn, caller.user_id)


def get_notification(db: Database, caller: Caller, notification_id: str) -> Any:
    """Read one of the caller's notifications.

    Raises:
        NotFoundError.
    """
    with db.read() as conn:
        return _get(conn, caller, notification_id)


def _get(conn: Any, caller: Caller, notification_id: str) -> Any:
    row = store.find(conn, caller.user_id, notification_id)
    if row is None:
        raise NotFoundError("There is no such notification.")
    return row


def set_read(
    db: Database, caller: Caller, notification_id: str, *, read: bool, expect: Expect
) -> tuple[Json, Event | None]:
    """Mark a notification as read or unread.

    Raises:
        NotFoundError, PreconditionFailedError.
    """
    with db.write() as write:
        log.lock(write, user_stream(caller.user_id))
        present = _get(write.conn, caller, notification_id)
        expect(present.version)
        if present.read == read:
            return store.notification_json(present), None
        return _mark(write, caller, present, read)


def _mark(write: Write, caller: Caller, present: Any, read: bool) -> tuple[Json, Event]:
    values: Json = {"read": read, "updated_ms": now_ms()}
    if not read and present.collapse:
        # Another one may stand for this name by now; there is at most one such unread.
        values["collapse"] = None
    changed: Json = {}

    def apply(offset: int) -> Json:
        row = store.change(write, present.id, {**values, "version": offset})
        changed.update(store.notification_json(row))
        return changed

    return changed, _tell(write, caller, caller.user_id, "notification.updated", apply)


def mark_all_read(db: Database, caller: Caller, ids: Sequence[str] | None) -> tuple[int, int]:
    """Mark many as read (None: all), at most MAX_MARKED; give how many, and how many are left.

    Ids that are not the caller's, or are read already, count for nothing.
    """
    with db.write() as write:
        log.lock(write, user_stream(caller.user_id))
        rows = store.unread(write.conn, caller.user_id, MAX_MARKED, ids)
        now = now_ms()
        changed = [{**row._mapping, "read": True, "updated_ms": now} for row in rows]

        def payload_of(values: Json) -> Payload:
            def apply(offset: int) -> Json:
                values["version"] = offset
                return store.notification_json(SimpleNamespace(**values))

            return apply

        log_events(
            write,
            user_stream(caller.user_id),
            "notification.updated",
            [payload_of(values) for values in changed],
            actor=caller.user_id,
            at_ms=now,
        )
        store.mark_read(write, changed)
        return len(rows), store.count_unread(write.conn, caller.user_id)


def delete(db: Database, caller: Caller, notification_id: str, expect: Expect) -> Event:
    """Delete a notification.

    Raises:
        NotFoundError, PreconditionFailedError.
    """
    with db.write() as write:
        log.lock(write, user_stream(caller.user_id))
        present = _get(write.conn, caller, notification_id)
        expect(present.version)
        store.remove(write, present.id)
        payload = {"id": present.id}
        return _tell(write, caller, caller.user_id, "notification.deleted", lambda _offset: payload)
