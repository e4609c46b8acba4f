"""What the views work with, handed in by `app.py` and kept with the Flask application."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

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
    # Called between the many parts of one call, so that it does not hold up the others.
    let_others_run: Callable[[], None]
    max_event_bytes: int


def parts() -> Parts:
    """Give the parts of the application that is answering."""
    return cast(Parts, current_app.extensions["fanfare"])
