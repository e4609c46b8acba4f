"""Who is here and who is online, as they go in and out."""

from typing import Annotated

from pydantic import Field, StringConstraints

from api.schemas.common import EXAMPLE_ID, EXAMPLE_TIME, Output, Time
from core.fields import NoNul, Query


class Present(Output):
    """Somebody who is present in a channel."""

    user_id: str = Field(examples=[EXAMPLE_ID])
    status: str = Field(examples=["online"])
    since: Time = Field(examples=[EXAMPLE_TIME])
    devices: int = Field(description="Login sessions.")
    connections: int


class Roster(Output):
    """Who is present in a channel; `people` is null where they are more than are listed."""

    count: int
    people: list[Present] | None


class PresenceQuery(Query):
    """Of whom."""

    users: Annotated[
        str,
        StringConstraints(min_length=1, max_length=4096),
        NoNul,
        Field(description="Ids of 1 to 100 users, or `me`, by commas.", examples=[EXAMPLE_ID]),
    ]


class OnlineUser(Output):
    """Whether a user is connected, and as what; null where not."""

    user_id: str = Field(examples=[EXAMPLE_ID])
    online: bool
    status: str | None = Field(examples=["online"])
    since: Time | None = Field(examples=[EXAMPLE_TIME])


class OnlineUsers(Output):
    """Users in the order in which they were asked for."""

    people: list[OnlineUser]
