"""Events, signals and positions, as the application gets them."""

from dataclasses import dataclass
from typing import Any, Self

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a stream: after the event at `offset`, in the numbering named by `epoch`."""

    offset: int
    epoch: str

    @classmethod
    def of(cls, data: JSON) -> Self:
        """Read the form of the wire."""
        return cls(int(data["offset"]), str(data["epoch"]))

    @classmethod
    def parse(cls, header: str) -> Self:
        """Read the header `Fanfare-Position`: `channel:…@4/9f3c12ab`."""
        offset, _, epoch = header.rpartition("@")[2].partition("/")
        return cls(int(offset), epoch)

    def wire(self) -> JSON:
        """Return the form of the wire."""
        return {"offset": self.offset, "epoch": self.epoch}

    def at(self, offset: int) -> "Position":
        """Return another place in the same numbering."""
        return Position(offset, self.epoch)

    def __str__(self) -> str:
        return f"{self.offset}/{self.epoch}"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream's log. `position` is the place after it: keep it to go on from."""

    stream: str
    position: Position
    type: str
    data: Any
    actor: str | None
    key: str | None
    at: str

    @property
    def offset(self) -> int:
        """Its place in the stream."""
        return self.position.offset


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that is not logged: typing, presence, cursors. It may be dropped."""

    stream: str
    type: str
    data: Any
    actor: str | None
    at: str


@dataclass(frozen=True, slots=True)
class Reset:
    """A stream can't be gone on with (`epoch`, `trimmed`, `ahead`); it stands at `position` now."""

    stream: str
    reason: str
    position: Position


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The stream is followed no longer: `forbidden`, `not_found`, or another refusal's code."""

    stream: str
    code: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is present in a channel. `people` is None where they are too many to be named."""

    count: int
    people: list[JSON] | None


def event_of(data: JSON, epoch: str) -> Event:
    """Read an event of the wire."""
    return Event(
        stream=data["stream"],
        position=Position(int(data["offset"]), epoch),
        type=data["type"],
        data=data.get("data"),
        actor=data.get("actor"),
        key=data.get("key"),
        at=data.get("at", ""),
    )


def signal_of(data: JSON) -> Signal:
    """Read a signal of the wire."""
    return Signal(
        stream=data["stream"],
        type=data["type"],
        data=data.get("data"),
        actor=data.get("actor"),
        at=data.get("at", ""),
    )
