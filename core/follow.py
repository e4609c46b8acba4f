"""What a reader of the doors over plain HTTP asks for, and what it is answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.positions import Position


@dataclass(frozen=True, slots=True)
class Ask:
    """Follow streams, each from a position on; None: from the top, after its last `history`.

    `is_named`: by names, as at the first call; else by a cursor, which holds full names.
    """

    streams: Mapping[str, Position | None]
    is_named: bool
    history: int = 0
    limit: int = 500
    wait_s: float = 0.0
    presence: frozenset[str] = frozenset()  # in which of them, as they are named in `streams`


@dataclass(slots=True)
class Answer:
    """What became of it. Events and the like are in wire form, in order."""

    names: dict[str, str] = field(default_factory=dict)  # as asked for, to full names
    positions: dict[str, Position] = field(default_factory=dict)  # after what is told here
    events: list[bytes] = field(default_factory=list)
    signals: list[bytes] = field(default_factory=list)
    resets: list[bytes] = field(default_factory=list)
    unsubscribed: list[dict[str, str] | bytes] = field(default_factory=list)
    bye: dict[str, object] | None = None
