"""Where one connection of this node is present, kept small: there is one for each connection."""

import sys
from dataclasses import dataclass
from typing import Protocol

from core.events import user_stream
from realtime.hub import Watcher

DEFAULT_STATUS = "online"


class Guest(Watcher, Protocol):
    """A connection, as far as presence goes."""

    @property
    def id(self) -> str:
        """The connection's id."""

    @property
    def session_id(self) -> str:
        """The login session: one device."""


@dataclass(slots=True)
class Place:
    """Where one connection is present, and since when.

    Most are in their user's own stream alone, which takes no dict.
    """

    guest: Guest
    session_id: str
    own: str  # interned: the node keeps it for all of the user's connections
    since_ms: int | None  # in its own stream
    at_ms: int
    status: str = DEFAULT_STATUS
    is_leaving: bool = False
    others: dict[str, int] | None = None

    @classmethod
    def of(cls, guest: Guest, at_ms: int) -> "Place":
        """Make the place of somebody who is in no stream yet."""
        return cls(guest, guest.session_id, sys.intern(user_stream(guest.user_id)), None, at_ms)

    def since(self, stream: str) -> int | None:
        """Tell since when it is in a stream; None: it is not."""
        if stream == self.own:
            return self.since_ms
        return self.others.get(stream) if self.others else None

    def streams(self) -> list[str]:
        """Give the streams that it is in."""
        own = [] if self.since_ms is None else [self.own]
        return [*own, *(self.others or ())]

    def put(self, stream: str, at_ms: int) -> None:
        """Have it be in a stream."""
        if stream == self.own:
            self.since_ms = at_ms
        elif self.others is None:
            self.others = {stream: at_ms}
        else:
            self.others[stream] = at_ms

    def drop(self, stream: str) -> None:
        """Have it be in a stream no more."""
        if stream == self.own:
            self.since_ms = None
        elif self.others is not None:
            self.others.pop(stream, None)
            self.others = self.others or None
