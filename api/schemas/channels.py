"""Channels, members and read markers, as they go in and out."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.schemas.common import (
    EXAMPLE_ID,
    EXAMPLE_TIME,
    Kind,
    Output,
    PageQuery,
    Position,
    Role,
    SearchText,
    Time,
)
from core.fields import (
    Input,
    Name,
    NoNul,
    Offset,
    Slug,
    Topic,
)


class ChannelCreate(Input):
    """A new channel."""

    name: Name = Field(examples=["Orders"])
    kind: Kind = Field(examples=["public"])
    slug: Slug | None = Field(None, examples=["orders-42"])
    topic: Topic = ""
    members: Annotated[
        list[Annotated[str, StringConstraints(max_length=64), NoNul]],
        Field(max_length=100, description="Ids or usernames."),
    ] = Field(default_factory=list)


class ChannelChange(Input):
    """What may be changed of a channel. A slug of null takes it away."""

    name: Name = Field("", examples=["Orders and returns"], validate_default=False)
    topic: Topic = ""
    slug: Slug | None = None


class Channel(Output):
    """A channel."""

    id: str = Field(examples=[EXAMPLE_ID])
    slug: str | None = Field(examples=["orders-42"])
    name: str = Field(examples=["Orders"])
    kind: Kind
    topic: str
    created_by: str = Field(examples=[EXAMPLE_ID])
    created_at: Time = Field(examples=[EXAMPLE_TIME])
    updated_at: Time = Field(examples=[EXAMPLE_TIME])
    version: int


class OwnMembership(Output):
    """What the caller is in a channel."""

    role: Role
    joined_at: Time
    read_offset: int


class ListedChannel(Channel):
    """A channel in a list; the last three come with `member=me`."""

    membership: OwnMembership | None = None
    unread: int | None = Field(None, description="Counted up to 1000.")
    position: Position | None = None


class ChannelQuery(PageQuery):
    """Which channels."""

    kind: Kind | None = None
    member: Literal["me"] | None = Field(None, description="Only those of the caller.")
    q: SearchText | None = Field(None, description="A part of the name.")
    sort: Literal["name", "-name", "created_at", "-created_at"] = "name"


class MemberPut(Input):
    """The role to give; none: `member`, or the one that the person has."""

    role: Role | None = None


class MemberQuery(PageQuery):
    """Which members."""

    role: Role | None = None


class Member(Output):
    """A member of a channel."""

    channel_id: str = Field(examples=[EXAMPLE_ID])
    user_id: str = Field(examples=[EXAMPLE_ID])
    username: str = Field(examples=["ada"])
    role: Role
    joined_at: Time
    updated_at: Time


class ReadPut(Input):
    """How far the caller has read."""

    offset: Offset = Field(examples=[42])


class ReadMark(Output):
    """The read marker, and what is unread after it."""

    read_offset: int
    unread: int = Field(description="Counted up to 1000.")
