"""What the views work with, handed in by `app.py` and kept with the Flask application."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from flask import current_app

from api.cache import PageCache
from api.cursors import Cursors
from api.limits import RateLimits
from api.tokens import Tokens
from core.events import Signal
from core.passwords import Passwords
from core.services.callers import Callers
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


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one application."""

    db: Database
    callers: Callers
    passwords: Passwords
    tokens: Tokens
    cursors: Cursors
    limits: RateLimits
    pages: PageCache
    emit_signal: EmitSignal
    presence: Presence
    # Called between the many parts of one call, so that it does not hold up the others.
    let_others_run: Callable[[], None]
    max_event_bytes: int


def parts() -> Parts:
    """Give the parts of the application that is answering."""
    return cast(Parts, current_app.extensions["fanfare"])
