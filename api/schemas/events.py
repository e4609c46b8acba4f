"""Events and pages of the log, as they go in and out."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from api.schemas.common import EXAMPLE_ID, EXAMPLE_TIME, Output, Page, Position, Time
from core.fields import (
    Data,
    Epoch,
    EventType,
    Input,
    Key,
    NoNul,
    Offset,
    Query,
    StreamName,
)


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

    stream: str = Field(examples=[f"channel:{EXAMPLE_ID}"])
    offset: int = Field(examples=[42])
    type: str = Field(examples=["order.paid"])
    data: Any = Field(examples=[{"order": 42}])
    actor: str | None = Field(examples=[EXAMPLE_ID])
    key: str | None
    at: Time = Field(examples=[EXAMPLE_TIME])


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
