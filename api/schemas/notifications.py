"""Notifications, as they go in and out."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from api.schemas.common import EXAMPLE_ID, Output, PageQuery, Time
from core.fields import (
    DataObject,
    Id,
    Input,
    Key,
    NoNul,
)


class NotificationCreate(Input):
    """What people are to be told, by id or username."""

    user_ids: Annotated[list[Id], Field(max_length=1000)] = Field(default_factory=list)
    users: Annotated[
        list[Annotated[str, StringConstraints(max_length=64, to_lower=True), NoNul]],
        Field(max_length=1000, description="Usernames.", examples=[["ada"]]),
    ] = Field(default_factory=list)
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")] = Field(
        examples=["invoice"]
    )
    title: Annotated[str, StringConstraints(min_length=1, max_length=200), NoNul] = Field(
        examples=["Your invoice is ready"]
    )
    body: Annotated[str, StringConstraints(max_length=4000), NoNul] | None = None
    data: DataObject | None = None
    key: Key | None = None
    collapse: Annotated[str, StringConstraints(min_length=1, max_length=128), NoNul] | None = Field(
        None, description="An unread one with the same word is replaced."
    )


class Notification(Output):
    """A notification."""

    id: str = Field(examples=[EXAMPLE_ID])
    user_id: str = Field(examples=[EXAMPLE_ID])
    kind: str = Field(examples=["invoice"])
    title: str = Field(examples=["Your invoice is ready"])
    body: str | None
    data: dict[str, Any] | None
    collapse: str | None
    read: bool
    created_at: Time
    updated_at: Time
    version: int


class Notifications(Output):
    """The notifications that were made."""

    notifications: list[Notification]


class NotificationQuery(PageQuery):
    """Which notifications."""

    unread: Literal["true", "false"] = "false"
    kind: Annotated[str, StringConstraints(max_length=64), NoNul] | None = None


class NotificationChange(Input):
    """Read or unread."""

    read: bool


class NotificationsRead(Input):
    """Which to mark as read: these, or without ids all."""

    ids: Annotated[list[Id], Field(max_length=1000)] | None = None


class MarkedRead(Output):
    """How many were marked, and how many unread ones are left."""

    updated: int
    unread: int


class UnreadCount(Output):
    """How many are unread."""

    count: int
