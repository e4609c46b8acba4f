"""Following streams over plain HTTP, as it goes in and out."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from api.schemas.common import EXAMPLE_ID, Output, Position
from api.schemas.events import Event
from core.event_cursor import MOST_CHARS, MOST_STREAMS
from core.fields import Epoch, Input, NoNul, Offset, Query, StreamName

EXAMPLE_STREAM = f"channel:{EXAMPLE_ID}"
CursorText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MOST_CHARS),
    NoNul,
    Field(description="Where an earlier answer ended. Instead of `streams`."),
]


class FollowQuery(Query):
    """Which streams to follow, and from where on."""

    streams: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=20_000),
            NoNul,
            Field(
                description=f"Up to {MOST_STREAMS} names, by commas: `channel:<id or slug>`, "
                "`user:me`; from a position on as `<name>@<offset>/<epoch>`."
            ),
        ]
        | None
    ) = None
    cursor: CursorText | None = None
    history: Annotated[
        int, Field(ge=0, le=1000, description="So many of the last events first, at `streams`.")
    ] = 0
    presence: Annotated[
        str,
        StringConstraints(min_length=1, max_length=20_000),
        NoNul,
        Field(
            description="Be seen, and hear who comes and goes: `true` in all channels, "
            "`false` in none, or their names by commas."
        ),
    ] = "false"


class PollQuery(FollowQuery):
    """What a poll waits for, and for how long."""

    limit: Annotated[int, Field(ge=1, le=1000, description="How many events at most.")] = 500
    wait: Annotated[
        float, Field(ge=0, le=60, description="So many seconds at most, with a cursor.")
    ] = 25.0


class At(Input):
    """A position in a stream."""

    offset: Offset
    epoch: Epoch


class CursorCreate(Input):
    """Streams, each with the position to go on from; null: from the top on."""

    streams: Annotated[
        dict[StreamName, At | None],
        Field(
            min_length=1,
            max_length=MOST_STREAMS + 1,
            examples=[{EXAMPLE_STREAM: {"offset": 42, "epoch": "9f3c12ab"}, "user:me": None}],
        ),
    ]


class StreamReset(Output):
    """A stream that can't be gone on with: take a new `sync`. It stands at `position` now."""

    stream: str = Field(examples=[EXAMPLE_STREAM])
    reason: str = Field(examples=["trimmed"])
    position: Position
    oldest: int | None = None
    top: Position | None = None


class Unsubscribed(Output):
    """A stream that may not, or no longer, be read, and is not followed any more."""

    stream: str = Field(examples=[EXAMPLE_STREAM])
    code: str = Field(examples=["not_found"])


class Bye(Output):
    """Why the server ends it, and whether to come back."""

    code: str = Field(examples=["draining"])
    detail: str
    retry: str = Field(examples=["later"])
    retry_after: float


class Place(Output):
    """Where a reader stands. `streams`: the full names of those that were named."""

    cursor: str
    positions: dict[str, Position]
    streams: dict[str, str] | None = None
    unsubscribed: list[Unsubscribed]


class Poll(Place):
    """What happened. Call again with the cursor."""

    events: list[Event]
    signals: list[dict[str, Any]]
    resets: list[StreamReset]
    bye: Bye | None
