"""One's inbox, and telling people something."""

from flask import Response

from api import schemas
from api.parts import parts
from api.respond import empty, expect, ok, page, page_request, with_position, with_version
from api.routing import Api
from core.callers import Caller
from core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
)
from core.services import notifications
from core.store.notifications import notification_json

api = Api("notifications")


@api.route(
    "POST",
    "/notifications",
    {202: schemas.Notifications},
    body=schemas.NotificationCreate,
    limit="write",
    refuses=[ForbiddenError, ConflictError],
)
def create_notifications(caller: Caller, body: schemas.NotificationCreate) -> Response:
    """Notify people, as an administrator. A retry with the same `key` notifies nobody twice."""
    sent = body.model_dump()
    user_ids, usernames = sent.pop("user_ids"), sent.pop("users")
    if not user_ids and not usernames:
        raise InvalidError.of("user_ids", "name somebody, here or in users")
    made = notifications.create(
        parts().db,
        caller,
        notifications.NotificationDraft(**sent),
        user_ids=user_ids,
        usernames=usernames,
        max_bytes=parts().max_event_bytes,
        let_others_run=parts().let_others_run,
    )
    return ok({"notifications": made}, 202)


@api.route(
    "GET",
    "/notifications",
    {200: schemas.Page[schemas.Notification]},
    query=schemas.NotificationQuery,
    is_conditional=True,
)
def list_notifications(caller: Caller, query: schemas.NotificationQuery) -> Response:
    """List one's notifications, the newest first."""
    found = notifications.list_notifications(
        parts().db,
        caller,
        page_request(query),
        only_unread=query.unread == "true",
        kind=query.kind,
    )
    return page(found, query)


@api.route("GET", "/notifications/unread", {200: schemas.UnreadCount})
def count_unread(caller: Caller) -> Response:
    """Count one's unread notifications."""
    return ok({"count": notifications.count_unread(parts().db, caller)})


@api.route(
    "GET",
    "/notifications/{notification_id}",
    {200: schemas.Notification},
    refuses=[NotFoundError],
    is_conditional=True,
)
def get_notification(caller: Caller, notification_id: str) -> Response:
    """Read a notification."""
    row = notifications.get_notification(parts().db, caller, notification_id)
    return with_version(ok(notification_json(row)), row.version)


@api.route(
    "PATCH",
    "/notifications/{notification_id}",
    {200: schemas.Notification},
    body=schemas.NotificationChange,
    limit="write",
    refuses=[NotFoundError, PreconditionFailedError],
    answer_headers=["Fanfare-Position"],
    is_conditional=True,
)
def change_notification(
    caller: Caller, notification_id: str, body: schemas.NotificationChange
) -> Response:
    """Mark a notification as read or unread."""
    changed, event = notifications.set_read(
        parts().db, caller, notification_id, read=body.read, expect=expect
    )
    return with_position(with_version(ok(changed), changed["version"]), event)


@api.route(
    "POST",
    "/notifications/read",
    {200: schemas.MarkedRead},
    body=schemas.NotificationsRead,
    body_may_miss=True,
    limit="write",
)
def mark_notifications_read(caller: Caller, body: schemas.NotificationsRead) -> Response:
    """Mark many as read, or all; at most 1000 in one call."""
    updated, unread = notifications.mark_all_read(parts().db, caller, body.ids)
    return ok({"updated": updated, "unread": unread})


@api.route(
    "DELETE",
    "/notifications/{notification_id}",
    {204: None},
    limit="write",
    refuses=[NotFoundError, PreconditionFailedError],
    answer_headers=["Fanfare-Position"],
    is_conditional=True,
)
def delete_notification(caller: Caller, notification_id: str) -> Response:
    """Delete a notification."""
    event = notifications.delete(parts().db, caller, notification_id, expect)
    return with_position(empty(), event)
