"""What goes in and out over HTTP. These models validate requests, and describe both ways."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from core.fields import (
    Body,
    Data,
    DataObject,
    DisplayName,
    Epoch,
    EventType,
    Id,
    Input,
    Key,
    Name,
    NoNul,
    Offset,
    Password,
    Query,
    Slug,
    StreamName,
    Topic,
    TriedName,
    TriedPassword,
    Username,
)

Item = TypeVar("Item")
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Role = Literal["owner", "moderator", "member", "guest"]
Kind = Literal["public", "private", "direct"]
_ID = "0192f3a0-5b1c-7c3e-9d2a-3f4b5c6d7e8f"
_AT = "2026-11-20T10:00:00.123Z"
Limit = Annotated[int, Field(ge=1, le=200, description="How many at most.")]
SearchText = Annotated[str, StringConstraints(min_length=1, max_length=100), NoNul]


class Output(BaseModel):
    """What a server answers. Fields may be added in later versions; ignore unknown ones."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})


class Page(Output, Generic[Item]):
    """One page of a list. `next_cursor` asks for the next; null on the last one."""

    items: list[Item]
    next_cursor: str | None


class PageQuery(Query):
    """Which page of a list."""

    limit: Limit = 50
    cursor: Annotated[str, StringConstraints(max_length=1024), NoNul] | None = None


class FieldFault(Output):
    """A field and what is wrong with it."""

    field: str
    message: str


class Problem(Output):
    """An error (RFC 9457). Programs go by `code`."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no such channel."])
    code: str = Field(examples=["not_found"])
    request_id: str = Field(examples=[_ID])
    errors: list[FieldFault] | None = None


# Accounts.


class Register(Input):
    """A new account."""

    username: Username = Field(examples=["ada"])
    password: Password = Field(examples=["correct horse battery"])
    display_name: DisplayName | None = Field(None, examples=["Ada Lovelace"])


class Credentials(Input):
    """An account's name and password."""

    username: TriedName = Field(examples=["ada"])
    password: TriedPassword = Field(examples=["correct horse battery"])


class PasswordChange(Input):
    """The old password and the new."""

    current_password: TriedPassword = Field(examples=["correct horse battery"])
    new_password: Password = Field(examples=["a different horse"])


class User(Output):
    """A user."""

    id: str = Field(examples=[_ID])
    username: str = Field(examples=["ada"])
    display_name: str = Field(examples=["Ada Lovelace"])
    is_admin: bool
    disabled: bool
    created_at: Time = Field(examples=[_AT])
    updated_at: Time = Field(examples=[_AT])


class Login(Output):
    """Who is logged in now, and the tokens to show for it."""

    user: User
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds that the access token is good for.")


class Ticket(Output):
    """A one-use stand-in for the access token, for `?ticket=`."""

    ticket: str
    expires_in: int = Field(examples=[30])


class Session(Output):
    """A login."""

    id: str = Field(examples=[_ID])
    user_agent: str
    created_at: Time
    last_used_at: Time
    expires_at: Time
    current: bool


class Profile(Input):
    """What a user may change of themselves."""

    display_name: DisplayName = Field(examples=["Ada, Countess of Lovelace"])


class UserChange(Input):
    """What an administrator may change of a user."""

    display_name: DisplayName | None = None
    is_admin: bool | None = None
    disabled: bool | None = None


class UserQuery(PageQuery):
    """Which users."""

    q: SearchText | None = Field(None, description="How the username begins.")
    ids: Annotated[str, StringConstraints(max_length=8000), NoNul] | None = Field(
        None, description="Ids, by commas; at most 200."
    )
    sort: Literal["username", "-username", "created_at", "-created_at"] = "username"


# Channels.


class ChannelCreate(Input):
    """A new channel."""

    name: Name = Field(examples=["Orders"])
    kind: Kind = Field(examples=["public"])
    slug: Slug | None = Field(None, examples=["orders-42"])
    topic: Topic = ""
    members: Annotated[
        list[Annotated[str, StringConstraints(max_length=64), NoNul]],
        Field(max_length=100, description="Ids or usernames."),
    ] = []


class ChannelChange(Input):
    """What may be changed of a channel. A slug of null takes it away."""

    name: Name = Field("", examples=["Orders and returns"], validate_default=False)
    topic: Topic = ""
    slug: Slug | None = None


class Channel(Output):
    """A channel."""

    id: str = Field(examples=[_ID])
    slug: str | None = Field(examples=["orders-42"])
    name: str = Field(examples=["Orders"])
    kind: Kind
    topic: str
    created_by: str = Field(examples=[_ID])
    created_at: Time = Field(examples=[_AT])
    updated_at: Time = Field(examples=[_AT])
    version: int


class Position(Output):
    """A place in a stream."""

    offset: int = Field(examples=[42])
    epoch: str = Field(examples=["9f3c12ab"])


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

    channel_id: str = Field(examples=[_ID])
    user_id: str = Field(examples=[_ID])
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


# Messages.


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

    id: str = Field(examples=[_ID])
    channel_id: str = Field(examples=[_ID])
    offset: int = Field(description="Of its message.created.", examples=[42])
    version: int = Field(description="Offset of the last event that changed it.", examples=[42])
    author_id: str = Field(examples=[_ID])
    author_username: str = Field(examples=["ada"])
    body: str | None = Field(examples=["Hello"])
    data: dict[str, Any] | None
    reply_to: str | None
    key: str | None
    created_at: Time = Field(examples=[_AT])
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
    presence: None = Field(None, description="Null: this version has no presence.")
    read_offset: int
    unread: int = Field(description="Counted up to 1000.")
    position: Position


# Events.


class EventCreate(Input):
    """An event of the application's own type."""

    type: EventType = Field(examples=["order.paid"])
    data: Data = Field(examples=[{"order": 42}])
    key: Key | None = Field(None, examples=["c1b2a3d4"])
    ephemeral: bool = False


class StreamEventCreate(EventCreate):
    """An event, and where it goes."""

    stream: StreamName = Field(examples=["channel:orders-42"])


class PublishMany(Input):
    """Many events, in order. Each has an outcome of its own."""

    events: Annotated[list[StreamEventCreate], Field(min_length=1, max_length=100)]


class Event(Output):
    """An event of the log."""

    stream: str = Field(examples=[f"channel:{_ID}"])
    offset: int = Field(examples=[42])
    type: str = Field(examples=["order.paid"])
    data: Any = Field(examples=[{"order": 42}])
    actor: str | None = Field(examples=[_ID])
    key: str | None
    at: Time = Field(examples=[_AT])


class Published(Output):
    """The event as it was logged."""

    event: Event


class PublishOutcome(Output):
    """What became of one event: `event` if it was logged, `error` if it was refused."""

    ok: bool
    event: Event | None = None
    replayed: bool | None = None
    error: dict[str, Any] | None = None


class PublishOutcomes(Output):
    """What became of each event, in order."""

    outcomes: list[PublishOutcome]


class EventQuery(Query):
    """Which page of the log."""

    after: Offset = Field(0, description="Only offsets above.")
    epoch: Epoch | None = Field(None, description="The epoch of `after`.")
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str, StringConstraints(max_length=1024), NoNul] | None = None


class Reset(Output):
    """Why a position can't be gone on from: take a new sync."""

    reason: Literal["epoch", "trimmed", "ahead"]
    oldest: int
    top: Position


class LogPage(Page[Event]):
    """A page of the log; go on from `position`."""

    position: Position
    more: bool
    reset: Reset | None


# Notifications.


class NotificationCreate(Input):
    """What people are to be told, by id or username."""

    user_ids: Annotated[list[Id], Field(max_length=1000)] = []
    users: Annotated[
        list[Annotated[str, StringConstraints(max_length=64, to_lower=True), NoNul]],
        Field(max_length=1000, description="Usernames.", examples=[["ada"]]),
    ] = []
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

    id: str = Field(examples=[_ID])
    user_id: str = Field(examples=[_ID])
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


class Health(Output):
    """How a part is."""

    status: Literal["ok", "unavailable"]
