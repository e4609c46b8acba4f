"""A client for Fanfare: events in order, without a gap or a repeat, whatever the network blocks.

`AsyncFanfare` is for asyncio, `Fanfare` for everything else; both do the same.
"""

from fanfare_client.blocking import Fanfare
from fanfare_client.client import AsyncFanfare
from fanfare_client.core.calls import Published
from fanfare_client.core.chooser import Door
from fanfare_client.core.errors import (
    EndedError,
    FanfareError,
    NoAnswerError,
    ResetError,
    UnsubscribedError,
)
from fanfare_client.core.events import Event, Position, Reset, Roster, Signal, Unsubscribed
from fanfare_client.core.timing import Timing
from fanfare_client.state import State

__all__ = [
    "AsyncFanfare",
    "Door",
    "EndedError",
    "Event",
    "Fanfare",
    "FanfareError",
    "NoAnswerError",
    "Position",
    "Published",
    "Reset",
    "ResetError",
    "Roster",
    "Signal",
    "State",
    "Timing",
    "Unsubscribed",
    "UnsubscribedError",
]
