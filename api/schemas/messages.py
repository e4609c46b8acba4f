"""Messages and snapshots, as they go in and out."""

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.channels import Channel, Member
from api.schemas.common import (
    EXAMPLE_ID,
    EXAMPLE_TIME,
    Output,
    PageQuery,
    Position,
    SearchText,
    Time,
)
from api.schemas.presence import Roster
from core.fields import (
    Body,
    DataObject,
    Id,
    Input,
    Key,
    Offset,
    Query,
)


class MessageCreate(Input):
    """A new message."""

    body: Body = Field(examples=["Hello"])
    data: DataObject | None = None
    reply_to: Id | None = None
    key: Key | None = Field(None, examples=["c1b2a3d4"])


class MessageChange(Input):
    """What may be changed of a message. Data of null takes it away."""

    body: Body = Field("", examples=["Hello, all"], validate_default=False)
    data: DataObject | None = None


class Message(Output):
    """A message; a deleted one has neither body nor data."""

    id: str = Field(examples=[EXAMPLE_ID])
    channel_id: str = Field(examples=[EXAMPLE_ID])
    offset: int = Field(description="Of its message.created.", examples=[42])
    version: int = Field(description="Offset of the last event that changed it.", examples=[42])
    author_id: str = Field(examples=[EXAMPLE_ID])
    author_username: str = Field(examples=["ada"])
    body: str | None = Field(examples=["Hello"])
    data: dict[str, Any] | None
    reply_to: str | None
    key: str | None
    created_at: Time = Field(examples=[EXAMPLE_TIME])
    edited_at: Time | None
    deleted_at: Time | None


class MessageQuery(PageQuery):
    """Which messages."""

    before: Offset | None = Field(None, description="Only offsets below.")
    after: Offset | None = Field(None, description="Only offsets above.")
    author: Id | None = Field(None, description="A user's id.")
    q: SearchText | None = Field(None, description="A part of the text.")
    sort: Literal["offset", "-offset"] = "-offset"


class SyncQuery(Query):
    """How much of a snapshot."""

    messages: Annotated[int, Field(ge=1, le=200, description="How many of the newest.")] = 50


class Sync(Output):
    """A channel as it is at `position`; events after that make it newer."""

    channel: Channel
    membership: Member | None
    members: list[Member] = Field(description="At most 200; the rest by /members.")
    member_count: int
    messages: list[Message] = Field(description="The newest, oldest first.")
    presence: Roster | None = Field(description="Null: not known for the moment.")
    read_offset: int
    unread: int = Field(description="Counted up to 1000.")
    position: Position
