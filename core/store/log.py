"""The log: appending to a stream and reading it back.

The log is the truth of what happened and in which order; everything that carries events about
is a hint of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    BindParameter,
    Connection,
    String,
    any_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import ConflictError, NotFoundError
from core.events import Event
from core.ids import new_epoch
from core.positions import Place, StreamState
from core.store.database import Write
from core.store.models import events, streams

# A page is read in strides, so that 1,000 events of 64 KiB are never all in memory.
_STRIDE = 64

_STATE = select(streams.c.id, streams.c.name, streams.c.epoch, streams.c.top, streams.c.trimmed)
_PLACES: BindParameter[object] = bindparam("places", type_=JSON)
# All names in one parameter: nodes ask for thousands of them every other second, and to render
# and to read a parameter for each took longer than all else that a node does at rest.
_STATE_OF_MANY = {
    "postgresql": _STATE.where(
        streams.c.name == any_(bindparam("names", type_=postgresql.ARRAY(String)))
    ),
    "sqlite": _STATE.where(
        streams.c.name.in_(
            select(func.json_each(bindparam("names", type_=JSON)).table_valued("value").c.value)
        )
    ),
}
# For the same reason the database does the comparing: hardly ever has anything moved.
_STATE_OF_MOVED = {
    dialect: _STATE.join_from(places, streams, streams.c.name == places.c.key).where(
        streams.c.epoch + "/" + cast(streams.c.top, String) != places.c.value
    )
    for dialect, places in (
        ("postgresql", func.json_each_text(_PLACES).table_valued("key", "value")),
        ("sqlite", func.json_each(_PLACES).table_valued("key", "value")),
    )
}
_STATE_OF_ONE = _STATE.where(streams.c.name == bindparam("stream"))
_EVENT = select(
    streams.c.name,
    events.c.offset,
    streams.c.epoch,
    events.c.type,
    events.c.data,
    events.c.actor,
    events.c.key,
    events.c.at_ms,
).join_from(events, streams)

_AFTER = (
    _EVENT.where(events.c.stream_id == bindparam("stream_id"), events.c.offset > bindparam("after"))
    .order_by(events.c.offset)
    .limit(bindparam("stride"))
)

# The UPDATE holds the stream's row until commit, so offsets follow commit order and no reader
# can see offset 8 before offset 7.
_NEXT = (
    update(streams)
    .where(streams.c.name == bindparam("stream"))
    .values(top=streams.c.top + 1)
    .returning(streams.c.id, streams.c.epoch, streams.c.top)
)
_LOCK = select(streams.c.id).where(streams.c.name == bindparam("stream")).with_for_update()
_INSERT = {
    "sqlite": sqlite.insert(events).on_conflict_do_nothing().returning(events.c.offset),
    "postgresql": postgresql.insert(events).on_conflict_do_nothing().returning(events.c.offset),
}


class ReplayedError(Exception):
    """The key took effect before: `event` is what it made. Unwinds the transaction."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.key)
        self.event = event


def create(write: Write, name: str) -> StreamState:
    """Begin a stream, empty."""
    epoch = new_epoch()
    statement = insert(streams).values(name=name, epoch=epoch, top=0, trimmed=0)
    row = write.conn.execute(statement.returning(streams.c.id)).one()
    return StreamState(row.id, name, epoch, 0, 0)


def append(
    write: Write,
    stream: str,
    type_: str,
    render: Callable[[int], str],
    *,
    actor: str | None,
    at_ms: int,
    key: str | None = None,
    digest: str | None = None,
) -> Event:
    """Add an event, its data made by `render(offset)`. It is announced at the commit.

    Raises:
        NotFoundError: there is no such stream.
        ReplayedError: the publisher's `key` made the same event before.
        ConflictError: the publisher's `key` made another event before.
    """
    row = write.conn.execute(_NEXT, {"stream": stream}).one_or_none()
    if row is None:
        # In the words for a channel that one may not see: they must not be told apart.
        raise NotFoundError("There is no such channel.")
    values = {
        "stream_id": row.id,
        "offset": row.top,
        "type": type_,
        "data": render(row.top),
        "actor": actor or "",
        "key": key,
        "digest": digest,
        "at_ms": at_ms,
    }
    # By what it returns, not by its count: that is -1, "not known", on PostgreSQL.
    if write.conn.execute(_INSERT[write.conn.dialect.name], values).one_or_none() is None:
        _raise_used_key(write.conn, values)
    event = Event(stream, row.top, row.epoch, type_, values["data"], actor, key, at_ms)
    write.events.append(event)
    return event


def append_batch(
    write: Write,
    stream: str,
    type_: str,
    renders: Sequence[Callable[[int], str]],
    *,
    actor: str | None,
    at_ms: int,
) -> None:
    """Add many events to one stream, in two statements however many they are."""
    move = update(streams).where(streams.c.name == stream)
    row = write.conn.execute(
        move.values(top=streams.c.top + len(renders)).returning(
            streams.c.id, streams.c.epoch, streams.c.top
        )
    ).one()
    first = row.top - len(renders) + 1
    made = [
        Event(stream, offset, row.epoch, type_, render(offset), actor, None, at_ms)
        for offset, render in enumerate(renders, first)
    ]
    if made:
        write.conn.execute(insert(events), [_values(row.id, event) for event in made])
    write.events += made


def _values(stream_id: int, event: Event) -> dict[str, Any]:
    return {
        "stream_id": stream_id,
        "offset": event.offset,
        "type": event.type,
        "data": event.data,
        "actor": event.actor or "",
        "at_ms": event.at_ms,
    }


def append_to_many(
    write: Write, names: Iterable[str], type_: str, data: str, *, actor: str | None, at_ms: int
) -> None:
    """Add the same event to many streams, in three statements however many they are."""
    wanted = streams.c.name.in_(list(names))
    # Locked in one order everywhere: an UPDATE of many rows would lock them in any.
    write.conn.execute(
        select(streams.c.id).where(wanted).order_by(streams.c.name).with_for_update()
    )
    moved = write.conn.execute(
        update(streams)
        .where(wanted)
        .values(top=streams.c.top + 1)
        .returning(streams.c.id, streams.c.name, streams.c.epoch, streams.c.top)
    ).all()
    made = [Event(row.name, row.top, row.epoch, type_, data, actor, None, at_ms) for row in moved]
    if made:
        rows = [_values(row.id, event) for row, event in zip(moved, made, strict=True)]
        write.conn.execute(insert(events), rows)
    write.events += made


def _raise_used_key(conn: Connection, values: dict[str, Any]) -> None:
    row = conn.execute(
        _EVENT.add_columns(events.c.digest).where(
            events.c.stream_id == values["stream_id"],
            events.c.actor == values["actor"],
            events.c.key == values["key"],
        )
    ).one()
    if row.digest != values["digest"]:
        raise ConflictError("This key was used before, for something else.")
    raise ReplayedError(_event(row))


def get_state(conn: Connection, stream: str) -> StreamState:
    """Read where a stream stands.

    Raises:
        NotFoundError: there is no such stream.
    """
    row = conn.execute(_STATE_OF_ONE, {"stream": stream}).one_or_none()
    if row is None:
        raise NotFoundError("There is no such stream.")
    return StreamState(*row)


def lock(write: Write, stream: str) -> None:
    """Wait for a turn at a stream, so that what is read next stays true until the commit."""
    write.conn.execute(_LOCK, {"stream": stream})


def states(conn: Connection, names: Iterable[str]) -> dict[str, StreamState]:
    """Read where many streams stand, in one query; those that don't exist are left out."""
    rows = conn.execute(_STATE_OF_MANY[conn.dialect.name], {"names": list(names)})
    return {row.name: StreamState(*row) for row in rows}


def moved(conn: Connection, places: Mapping[str, Place]) -> dict[str, StreamState]:
    """Read those of many streams that do not stand where one takes them to be."""
    asked = {name: f"{epoch}/{offset}" for name, (offset, epoch) in places.items()}
    rows = conn.execute(_STATE_OF_MOVED[conn.dialect.name], {"places": asked})
    return {row.name: StreamState(*row) for row in rows}


def read_after(
    conn: Connection, state: StreamState, offset: int, *, limit: int, max_bytes: int
) -> list[Event]:
    """Read the events after `offset`, oldest first.

    Stops at `limit` events or once `max_bytes` of data are reached; gives at least one event
    where there is one.
    """
    found: list[Event] = []
    size = 0
    for event in _walk(conn, state, offset, limit):
        size += len(event.json)
        if found and size > max_bytes:
            break
        found.append(event)
    return found


def _walk(conn: Connection, state: StreamState, offset: int, limit: int) -> Iterator[Event]:
    while limit > 0:
        stride = min(limit, _STRIDE)
        bound = {"stream_id": state.id, "after": offset, "stride": stride}
        rows = conn.execute(_AFTER, bound).all()
        yield from map(_event, rows)
        if len(rows) < stride:
            return
        offset, limit = rows[-1].offset, limit - stride


def _event(row: Any) -> Event:
    return Event(
        stream=row.name,
        offset=row.offset,
        epoch=row.epoch,
        type=row.type,
        data=row.data,
        actor=row.actor or None,
        key=row.key,
        at_ms=row.at_ms,
    )


def trim_candidates(
    conn: Connection, *, max_events: int, older_than_ms: int, after_id: int, limit: int
) -> list[tuple[int, int]]:
    """Find streams, by id, that may hold more than retention allows: `(id, trimmed)` each."""
    first = (
        select(events.c.at_ms)
        .where(events.c.stream_id == streams.c.id, events.c.offset > streams.c.trimmed)
        .order_by(events.c.offset)
        .limit(1)
        .scalar_subquery()
    )
    rows = conn.execute(
        select(streams.c.id, streams.c.trimmed)
        .where(
            streams.c.id > after_id,
            streams.c.top > streams.c.trimmed,
            (streams.c.top - streams.c.trimmed > max_events) | (first < older_than_ms),
        )
        .order_by(streams.c.id)
        .limit(limit)
    )
    return [(row.id, row.trimmed) for row in rows]


def trim(
    write: Write,
    stream_id: int,
    *,
    max_events: int,
    older_than_ms: int,
    keep_since_ms: int,
    batch: int,
) -> int:
    """Drop old events from the front of a stream, at most `batch`; give how many.

    The mark `trimmed` moves in the same transaction, so a client that comes back from before
    it is told so. Events since `keep_since_ms` stay, however many: their keys still protect.
    """
    row = write.conn.execute(
        select(streams.c.top, streams.c.trimmed).where(streams.c.id == stream_id).with_for_update()
    ).one()
    surplus = row.top - max_events
    old = select(events.c.offset).where(
        events.c.stream_id == stream_id,
        events.c.offset > row.trimmed,
        events.c.offset <= row.trimmed + batch,
        (events.c.offset <= surplus) & (events.c.at_ms < keep_since_ms)
        | (events.c.at_ms < older_than_ms),
    )
    upto = write.conn.execute(select(func.max(old.subquery().c.offset))).scalar()
    if upto is None:
        return 0
    write.conn.execute(
        delete(events).where(events.c.stream_id == stream_id, events.c.offset <= upto)
    )
    write.conn.execute(update(streams).where(streams.c.id == stream_id).values(trimmed=upto))
    return int(upto - row.trimmed)


def begin_new_epochs(write: Write) -> int:
    """Rename the numbering of every stream: after a restore, so that no old position fits."""
    ids = write.conn.execute(select(streams.c.id)).scalars().all()
    for stream_id in ids:
        write.conn.execute(
            update(streams).where(streams.c.id == stream_id).values(epoch=new_epoch())
        )
    return len(ids)
