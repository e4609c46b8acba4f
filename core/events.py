"""Events and signals, and their one wire form: rendered once, passed on as bytes."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from core import json
from core.positions import Position
from core.times import to_rfc3339

# The first words of the types that only the server makes.
RESERVED_WORDS = frozenset({"message", "channel", "member", "read", "notification", "session"}) | {
    "typing",
    "presence",
}
TYPE_PATTERN = r"^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+$"
_TYPE = re.compile(TYPE_PATTERN.rstrip("$") + r"\Z")


def is_application_type(text: str) -> bool:
    """Tell whether an application may publish events of this type."""
    return _TYPE.match(text) is not None and text.partition(".")[0] not in RESERVED_WORDS


@dataclass(frozen=True)
class Event:
    """One event of the log. `data` is JSON text."""

    stream: str
    offset: int
    epoch: str
    type: str
    data: str
    actor: str | None
    key: str | None
    at_ms: int

    @property
    def position(self) -> Position:
        """The position of a client that has seen this event."""
        return Position(self.offset, self.epoch)

    @cached_property
    def json(self) -> bytes:
        """The wire form."""
        return json.dumps(
            {
                "stream": self.stream,
                "offset": self.offset,
                "type": self.type,
                "data": json.Raw(self.data),
                "actor": self.actor,
                "key": self.key,
                "at": to_rfc3339(self.at_ms),
            }
        )


@dataclass(frozen=True)
class Signal:
    """Something that is true now and not worth a log entry. `data` is JSON text.

    One of `presence` is for those watchers alone who asked for it.
    """

    stream: str
    type: str
    data: str
    actor: str | None
    at_ms: int
    presence: bool = False

    @cached_property
    def json(self) -> bytes:
        """The wire form."""
        return json.dumps(
            {
                "stream": self.stream,
                "type": self.type,
                "data": json.Raw(self.data),
                "actor": self.actor,
                "at": to_rfc3339(self.at_ms),
            }
        )


ControlKind = Literal["session_revoked", "user_disabled", "access_lost", "stream_closed"]


@dataclass(frozen=True, slots=True)
class Control:
    """Access that ended: every node looks at its open connections again.

    `session_revoked` names a session, `user_disabled` a user, `access_lost` a user and perhaps
    a stream (none: look at all of the user's), `stream_closed` a stream.
    """

    kind: ControlKind
    user_id: str = ""
    session_id: str = ""
    stream: str = ""
    # Its place among the rows of `access_changes`; 0: it has none.
    id: int = 0


def channel_stream(channel_id: str) -> str:
    """Name the stream of a channel."""
    return f"channel:{channel_id}"


def user_stream(user_id: str) -> str:
    """Name the stream of a user."""
    return f"user:{user_id}"
