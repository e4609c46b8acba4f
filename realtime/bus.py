"""Hints of new events, between nodes: at most once, in no promised order.

A lost hint is harmless: the node reads the log when it sees a gap or when it next compares
tops. Making the bus reliable instead would cost every publish a second write.
"""

from dataclasses import dataclass
from typing import Protocol

from core.events import Control


@dataclass(frozen=True, slots=True)
class Hint:
    """An event was committed: where it stands, and its wire form, rendered once."""

    stream: str
    epoch: str
    offset: int
    json: bytes


@dataclass(frozen=True, slots=True)
class SignalHint:
    """A signal for whoever watches now, in wire form; or, of presence, for who asked for it."""

    stream: str
    json: bytes
    presence: bool = False


class BusListener(Protocol):
    """What a node hears from the others."""

    def on_hint(self, hint: Hint) -> None:
        """An event of a joined stream was committed elsewhere."""

    def on_signal(self, signal: SignalHint) -> None:
        """A signal of a joined stream was made elsewhere."""

    def on_control(self, control: Control) -> None:
        """Somebody's access ended elsewhere."""

    def on_joined(self, stream: str) -> None:
        """A stream is heard of from now on; what was said of it before may be missing."""


class Bus(Protocol):
    """Carries hints to the other nodes. No call raises or waits for long: a hint may be lost."""

    def start(self, listener: BusListener) -> None:
        """Begin to hear the others."""

    def stop(self) -> None:
        """Speak and hear no more."""

    def is_up(self) -> bool:
        """Tell whether the others are heard."""

    def join(self, stream: str) -> None:
        """Hear hints of a stream from now on."""

    def leave(self, stream: str) -> None:
        """Hear no more of a stream."""

    def publish(self, hint: Hint) -> None:
        """Tell the other nodes of an event."""

    def signal(self, signal: SignalHint) -> None:
        """Pass a signal to the other nodes."""

    def control(self, control: Control) -> None:
        """Tell every other node that somebody's access ended."""
