"""What the views work with, handed in by `app.py` and kept with the Flask application."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from flask import current_app

from api.cache import PageCache
from api.cursors import Cursors
from api.limits import RateLimits
from api.tokens import Tokens
from core.callers import Caller
from core.event_cursor import EventCursors
from core.events import Signal
from core.follow import Answer, Ask
from core.passwords import Passwords
from core.positions import Position
from core.services.callers import Callers
from core.services.history import Tail
from core.services.lookups import Lookups
from core.store.database import Database


class EmitSignal(Protocol):
    """Hands a signal to the watchers."""

    def __call__(self, signal: Signal) -> None:
        """Give a signal to whoever watches."""


class Presence(Protocol):
    """Knows who is where, on any node."""

    def roster(self, stream: str) -> dict[str, Any]:
        """Give who is in a stream, or raise UnavailableError."""

    def online(self, user_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Say of users whether they are connected, or raise UnavailableError."""


class Pieces(Protocol):
    """An answer that goes on. It must be closed."""

    def __iter__(self) -> Iterator[bytes]:
        """Give the pieces as they come."""

    def close(self) -> None:
        """Let go of what it holds."""


class Doors(Protocol):
    """Lets callers follow streams by plain HTTP. Raises what `realtime.followers` says."""

    def poll(self, caller: Caller, ask: Ask, environ: dict[str, Any]) -> Answer:
        """Wait for something to tell, and tell it."""

    def stream(self, caller: Caller, ask: Ask, environ: dict[str, Any]) -> Pieces:
        """Open a stream of Server-Sent Events."""

    def place(self, caller: Caller, asked: Mapping[str, Position | None]) -> Answer:
        """Tell where one stands in streams."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one application."""

    db: Database
    callers: Callers
    lookups: Lookups
    passwords: Passwords
    tokens: Tokens
    cursors: Cursors
    limits: RateLimits
    pages: PageCache
    emit_signal: EmitSignal
    tail: Tail
    presence: Presence
    doors: Doors
    event_cursors: EventCursors
    # Called between the many parts of one call, so that it does not hold up the others.
    let_others_run: Callable[[], None]
    max_event_bytes: int


def parts() -> Parts:
    """Give the parts of the application that is answering."""
    return cast(Parts, current_app.extensions["fanfare"])
