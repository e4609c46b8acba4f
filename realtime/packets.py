"""What clients send over the socket: one schema an event, to validate and to document."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from core.fields import (
    Body,
    ChannelRef,
    Data,
    DataObject,
    Epoch,
    EventType,
    Id,
    Input,
    Key,
    Offset,
    StreamName,
)
from core.positions import Position

MAX_PAGE_EVENTS = 1000
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE_EVENTS)]


class At(Input):
    """A position in a stream."""

    offset: Offset
    epoch: Epoch

    def position(self) -> Position:
        """Give it as the core knows it."""
        return Position(self.offset, self.epoch)


class Subscribe(Input):
    """Follow a stream, from `after` on, or from the top with the last `history` events first."""

    stream: StreamName
    after: At | None = None
    history: Annotated[int, Field(ge=0, le=MAX_PAGE_EVENTS)] = 0
    presence: bool = False
    limit: Limit = 500


class Unsubscribe(Input):
    """Stop following a stream."""

    stream: StreamName


class Resume(Input):
    """Follow many streams again, each from where the client stands; be present in some."""

    positions: Annotated[dict[StreamName, At], Field(max_length=1000)]
    presence: Annotated[list[StreamName], Field(max_length=1000)] = Field(default_factory=list)


class Publish(Input):
    """Publish an event of the application's own type; `ephemeral` makes it a signal."""

    stream: StreamName
    type: EventType
    data: Data
    key: Key | None = None
    ephemeral: bool = False


class MessageCreate(Input):
    """Write a message."""

    channel: ChannelRef
    body: Body
    data: DataObject | None = None
    reply_to: Id | None = None
    key: Key | None = None


class MessageUpdate(Input):
    """Edit a message of one's own."""

    channel: ChannelRef
    id: Id
    body: Body


class MessageDelete(Input):
    """Delete a message."""

    channel: ChannelRef
    id: Id


class Typing(Input):
    """Tell the others in a channel that one is writing."""

    channel: ChannelRef


class Read(Input):
    """Move one's read marker in a channel forward."""

    channel: ChannelRef
    offset: Offset


class PresenceSet(Input):
    """Set the status that this connection is seen with."""

    status: Annotated[
        str, StringConstraints(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9_-]*$")
    ]


class AuthRefresh(Input):
    """Go on with a fresh access token of the same user."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class Auth(Input):
    """What a connect carries."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


PACKETS: dict[str, type[Input]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "resume": Resume,
    "publish": Publish,
    "message.create": MessageCreate,
    "message.update": MessageUpdate,
    "message.delete": MessageDelete,
    "typing": Typing,
    "read": Read,
    "presence.set": PresenceSet,
    "auth.refresh": AuthRefresh,
}

Ack = dict[str, Any]
