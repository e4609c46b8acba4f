"""Reading the log: pages of it, and where streams stand."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from core.callers import Caller
from core.events import Event
from core.positions import Place, Position, Reset, StreamState, judge_resume
from core.services import access
from core.services.batch import Batch
from core.store import log
from core.store.database import Database

# What one page of events may weigh: well under what may be queued for one connection.
MAX_PAGE_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class LogPage:
    """Events after a position, or why there can't be any; `position` is where to go on from."""

    state: StreamState
    events: list[Event]
    position: Position
    more: bool
    reset: Reset | None


@dataclass(frozen=True, slots=True)
class ChannelPage:
    """The same of a channel, its events in wire form."""

    events: list[bytes]
    position: Position
    more: bool
    reset: Reset | None


class Tail(Protocol):
    """Remembers the newest events of the streams that this node follows."""

    def __call__(
        self, stream: str, after: Position, upto: int, limit: int
    ) -> Sequence[bytes] | None:
        """Give those after a position up to an offset; None: not all of them are remembered."""


def read_channel(
    db: Database, tail: Tail, caller: Caller, ref: str, *, after: int, epoch: str | None, limit: int
) -> ChannelPage:
    """Read a page of a channel's log.

    Raises:
        NotFoundError.
    """
    _, state = access.place_of(db, caller, ref)
    start = Position(after, epoch or state.epoch)
    reset = judge_resume(start, state)
    if reset is not None:
        return ChannelPage([], state.position, False, reset)
    # No further than the right was judged: what came since may not be the caller's to read.
    held = tail(state.name, start, state.top, limit) if start.offset < state.top else []
    if held is not None:
        return ChannelPage(list(held), state.position, False, None)
    with db.snapshot() as conn:
        stream = access.readable(conn, caller, ref).stream
        state = log.get_state(conn, stream)
        page = page_after(conn, state, Position(after, epoch or state.epoch), limit)
    return ChannelPage([event.json for event in page.events], page.position, page.more, page.reset)


def page_after(
    conn: Connection,
    state: StreamState,
    after: Position,
    limit: int,
    max_bytes: int = MAX_PAGE_BYTES,
) -> LogPage:
    """Read what came after a position, or say why that can't be done.

    `state` and what is read must be of one snapshot, or a trimming in between would go unseen.
    """
    reset = judge_resume(after, state)
    if reset is not None:
        return LogPage(state, [], state.position, False, reset)
    if after.offset == state.top or max_bytes <= 0:
        return LogPage(state, [], after, after.offset < state.top, None)
    events = log.read_after(conn, state, after.offset, limit=limit, max_bytes=max_bytes)
    last = events[-1].position if events else after
    return LogPage(state, events, last, last.offset < state.top, None)


@dataclass(frozen=True, slots=True)
class Wish:
    """Where a reader of a stream stands, or how many of the last events it wants."""

    after: Position | None = None
    history: int = 0


class LogReader:
    """What a node needs of the log: for repair, for subscriptions, for comparing tops."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._states = Batch(self._read_states)

    def read(self, wishes: Mapping[str, Wish], limit: int, max_bytes: int) -> dict[str, LogPage]:
        """Read pages of many streams at one moment; together they stay within `max_bytes`.

        Streams that don't exist are left out.

        Raises:
            UnavailableError.
        """
        # Who begins at the top wants no events: where the stream stands is all there is to read.
        plain = [name for name, wish in wishes.items() if wish == Wish()]
        states = self._states.find(plain) if plain else {}
        pages = {name: LogPage(s, [], s.position, False, None) for name, s in states.items()}
        rest = [name for name in wishes if name not in plain]
        if not rest:
            return pages
        with self._db.snapshot() as conn:
            for name, state in log.states(conn, rest).items():
                page = page_after(conn, state, _start(wishes[name], state), limit, max_bytes)
                max_bytes -= sum(len(event.json) for event in page.events)
                pages[name] = page
        return pages

    def tops(self, streams: Iterable[str]) -> dict[str, StreamState]:
        """Read where many streams stand, in one query.

        Raises:
            UnavailableError.
        """
        return self._read_states(streams)

    def moved(self, places: Mapping[str, Place]) -> dict[str, StreamState]:
        """Read those of many streams that do not stand where one takes them to be, in one query.

        Raises:
            UnavailableError.
        """
        with self._db.read() as conn:
            return log.moved(conn, places)

    def _read_states(self, streams: Iterable[str]) -> dict[str, StreamState]:
        with self._db.read() as conn:
            return log.states(conn, streams)


def _start(wish: Wish, state: StreamState) -> Position:
    if wish.after is not None:
        return wish.after
    return Position(max(state.trimmed, state.top - wish.history), state.epoch)
