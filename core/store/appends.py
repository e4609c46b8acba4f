"""Appending for many at once: a handful of statements, however many there are.

In this order: lock the streams, look up where everybody stands, add what is to be added. What is
read under the locks stays true until the commit, so no offset is given for nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    String,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql

from core import json
from core.events import Event
from core.store import bulk
from core.store.database import Write
from core.store.models import channels, events, members, messages, streams

_NAMES = streams.c.name == any_(bindparam("names", type_=postgresql.ARRAY(String)))
# In one order everywhere, so that nobody waits for somebody who waits.
_IN_ORDER = select(streams.c.name).where(_NAMES).order_by(streams.c.name)
_LOCK = {
    True: _IN_ORDER.with_for_update(),
    False: _IN_ORDER.with_for_update(skip_locked=True),
}


# Tuples, here and below: some are made for each publish, and frozen dataclasses take longer.
class Asked(NamedTuple):
    """Who wants to append where, and under which key. `channel` is an id, None for a user's."""

    stream: str
    channel: str | None
    actor: str
    key: str | None


class Used(NamedTuple):
    """The event that a key made before."""

    event: Event
    digest: str | None


class Standing(NamedTuple):
    """The channel's kind and one's role in it; the stream, if there is one; what the key made."""

    kind: str | None
    role: str | None
    stream_id: int | None
    epoch: str
    top: int
    used: Used | None


def lock(write: Write, names: Collection[str], *, waits: bool) -> Collection[str]:
    """Lock streams, as long as nobody else holds them or, if one waits, all; give which.

    On SQLite whoever writes has locked everything.
    """
    if write.conn.dialect.name == "sqlite" or not names:
        return names
    return set(write.conn.execute(_LOCK[waits], {"names": list(names)}).scalars())


Field = Callable[[str], ColumnElement[Any]]

# What is looked up for each who asks: of each table one row at most.
_WANTED: dict[Table, list[ColumnElement[Any]]] = {
    channels: [channels.c.kind],
    members: [members.c.role],
    streams: [streams.c.id, streams.c.epoch, streams.c.top],
    events: [events.c.offset, events.c.type, events.c.data, events.c.at_ms, events.c.digest],
}


def _matches(table: Table, asks: Field, stream_id: ColumnElement[Any]) -> ColumnElement[bool]:
    if table is channels:
        return and_(channels.c.id == asks("channel"), channels.c.deleted_ms.is_(None))
    if table is members:
        return and_(members.c.channel_id == asks("channel"), members.c.user_id == asks("actor"))
    if table is streams:
        return streams.c.name == asks("stream")
    return and_(
        events.c.stream_id == stream_id,
        events.c.actor == asks("actor"),
        events.c.key == asks("key"),
        # Else SQLite would not use the index, which is of those alone.
        events.c.key.is_not(None),
    )


def _of_postgresql() -> Select[Any]:
    fields = dict.fromkeys(("stream", "channel", "actor", "key"), Text())
    asked = bulk.recordset("asked", {"number": Integer(), **fields})
    joined: FromClause = asked
    columns: list[ColumnElement[Any]] = [asked.c.number]
    stream_id: ColumnElement[Any] = streams.c.id
    for table, wanted in _WANTED.items():
        # Not by plain joins: while a table is small the server would read the whole of it, and
        # a plan that was prepared then is kept for long.
        match = _matches(table, lambda name: asked.c[name], stream_id)
        one = select(*wanted).where(match).limit(literal_column("1")).lateral(f"{table.name}_found")
        joined = joined.outerjoin(one, true())
        columns += one.c
        stream_id = one.c.id if table is streams else stream_id
    return select(*columns).select_from(joined)


def _of_sqlite() -> Select[Any]:
    asked = func.json_each(bindparam("asked", type_=Text())).table_valued("key", "value")
    joined: FromClause = asked
    columns: list[ColumnElement[Any]] = [cast(asked.c.key, Integer)]
    for table, wanted in _WANTED.items():
        match = _matches(
            table,
            lambda name: func.json_extract(asked.c.value, f"$.{name}", type_=String),
            streams.c.id,
        )
        joined = joined.outerjoin(table, match)
        columns += wanted
    return select(*columns).select_from(joined)


_STANDINGS = {"postgresql": _of_postgresql(), "sqlite": _of_sqlite()}


def look_up(conn: Connection, asked: Sequence[Asked]) -> list[Standing]:
    """Give how everybody stands, in the order in which they are asked for."""
    rows = [
        {
            "number": number,
            "stream": one.stream,
            "channel": one.channel,
            "actor": one.actor,
            "key": one.key,
        }
        for number, one in enumerate(asked)
    ]
    found: list[Any] = [None] * len(asked)
    given = {"asked": bulk.as_parameter(rows)}
    for number, *row in conn.execute(_STANDINGS[conn.dialect.name], given).all():
        found[number] = _standing(asked[number], *row)
    return found


def _standing(
    asked: Asked,
    kind: str | None,
    role: str | None,
    stream_id: int | None,
    epoch: str,
    top: int,
    *used: Any,
) -> Standing:
    offset, type_, data, at_ms, digest = used
    before = None
    if offset is not None:
        event = Event(asked.stream, offset, epoch, type_, data, asked.actor, asked.key, at_ms)
        before = Used(event, digest)
    return Standing(kind, role, stream_id, epoch, top, before)


_FIND_MESSAGES = {
    "postgresql": select(messages.c.channel_id, messages.c.id).where(
        messages.c.id == any_(bindparam("ids", type_=postgresql.ARRAY(String)))
    ),
    "sqlite": select(messages.c.channel_id, messages.c.id).where(
        messages.c.id.in_(
            select(func.json_each(bindparam("ids", type_=Text())).table_valued("value").c.value)
        )
    ),
}


def find_messages(conn: Connection, ids: Collection[str]) -> set[tuple[str, str]]:
    """Give those of some messages that there are, as pairs of channel and message."""
    if not ids:
        return set()
    name = conn.dialect.name
    given = list(ids) if name == "postgresql" else json.dumps(list(ids)).decode()
    return {(row[0], row[1]) for row in conn.execute(_FIND_MESSAGES[name], {"ids": given})}


_COLUMNS = ("stream_id", "offset", "type", "data", "actor", "key", "digest", "at_ms")
_MOVED = (
    update(streams)
    .where(streams.c.id == any_(bindparam("moved", type_=postgresql.ARRAY(BigInteger))))
    .values(
        top=cast(
            cast(bindparam("tops", type_=Text()), postgresql.JSONB)[
                cast(streams.c.id, Text)
            ].astext,
            BigInteger,
        )
    )
)
# One trip to the server for both.
_ADD = bulk.insert_from_json(events, _COLUMNS).add_cte(_MOVED.cte("moved"))
_MOVE_ONE = update(streams).where(streams.c.id == bindparam("row")).values(top=bindparam("to"))


def add(
    write: Write,
    rows: Sequence[Mapping[str, Any]],
    tops: Mapping[int, int],
    posted: Sequence[Mapping[str, Any]],
) -> None:
    """Add events and messages, and move the tops of their streams, by id."""
    if not rows:
        return
    conn = write.conn
    if conn.dialect.name == "sqlite":
        conn.execute(_MOVE_ONE, [{"row": id_, "to": top} for id_, top in tops.items()])
        bulk.insert_many(conn, events, rows)
    else:
        moved = json.dumps({str(id_): top for id_, top in tops.items()}).decode()
        given = {"moved": list(tops), "tops": moved, "rows": bulk.as_parameter(rows)}
        conn.execute(_ADD, given)
    if posted:
        bulk.insert_many(conn, messages, posted)
