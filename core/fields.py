"""Types of fields, shared by the schemas of every door: bounded, and free of what can't be kept."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from core.events import TYPE_PATTERN
from core.ids import is_id

# Renderers of JSON give up at some depth; this is below that of all that we know.
MAX_DEPTH = 100


def _without_nul(text: str) -> str:
    # PostgreSQL can't keep it, so no database of ours is given it.
    if "\x00" in text:
        raise ValueError("must not hold the character NUL")
    return text


def _storable(value: Any) -> Any:
    """Refuse NUL at any depth, and too much depth."""
    # By a list of what is left to look at: recursion is what deep data would break.
    left: list[tuple[Any, int]] = [(value, 1)]
    while left:
        item, depth = left.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"must not be nested deeper than {MAX_DEPTH}")
        if isinstance(item, str):
            _without_nul(item)
        elif isinstance(item, dict):
            left += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            left += [(part, depth + 1) for part in item]
    return value


def _not_an_id(text: str) -> str:
    if is_id(text):
        raise ValueError("must not look like an id")
    return text


class Input(BaseModel):
    """What a client sends: no field unknown, no type bent into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Query(BaseModel):
    """What a client asks in an address, where everything is text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


NoNul = AfterValidator(_without_nul)
Id = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", max_length=36)
]
SLUG_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}[a-z0-9]$"
Slug = Annotated[
    str, StringConstraints(pattern=SLUG_PATTERN, max_length=64), AfterValidator(_not_an_id)
]
ChannelRef = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    NoNul,
    Field(description="A channel's id or slug."),
]
StreamName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=80),
    NoNul,
    Field(description="`channel:<id or slug>`, `user:<id>` or `user:me`."),
]
Username = Annotated[
    str,
    StringConstraints(
        to_lower=True, min_length=2, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
    ),
]
DisplayName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64), NoNul
]
Password = Annotated[str, StringConstraints(min_length=8, max_length=128), NoNul]
# Any text may be tried as a password; only a bound is needed.
TriedPassword = Annotated[str, StringConstraints(max_length=128)]
TriedName = Annotated[str, StringConstraints(to_lower=True, max_length=64), NoNul]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), NoNul]
Topic = Annotated[str, StringConstraints(max_length=250), NoNul]
# The limit of an event counts bytes and is the service's; a body of more is refused there
# as too large, so here only the transport bounds it.
Body = Annotated[str, StringConstraints(min_length=1), NoNul]
Key = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    NoNul,
    Field(description="Names this publish: a retry with it takes effect once."),
]
EventType = Annotated[str, StringConstraints(max_length=128, pattern=TYPE_PATTERN)]
Data = Annotated[Any, AfterValidator(_storable)]
DataObject = Annotated[dict[str, Any], AfterValidator(_storable)]
Offset = Annotated[int, Field(ge=0, le=2**53 - 1)]
Epoch = Annotated[str, StringConstraints(min_length=1, max_length=16), NoNul]
