"""What all schemas are made of."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from core.fields import (
    NoNul,
    Query,
)

Item = TypeVar("Item")
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Role = Literal["owner", "moderator", "member", "guest"]
Kind = Literal["public", "private", "direct"]
EXAMPLE_ID = "0192f3a0-5b1c-7c3e-9d2a-3f4b5c6d7e8f"
EXAMPLE_TIME = "2026-11-20T10:00:00.123Z"
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
    request_id: str = Field(examples=[EXAMPLE_ID])
    errors: list[FieldFault] | None = None


class Position(Output):
    """A place in a stream."""

    offset: int = Field(examples=[42])
    epoch: str = Field(examples=["9f3c12ab"])
