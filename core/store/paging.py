"""Keyset pages: the next page starts after the last row, however deep, by an index."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, tuple_

from core.pages import Json, Page, PageRequest, cut


def fetch(
    conn: Connection,
    query: Select[Any],
    keys: Sequence[ColumnElement[Any]],
    request: PageRequest,
    *,
    descending: bool,
    render: Callable[[Row[Any]], Json],
) -> Page:
    """Read one page of `query` in the order of `keys`; the last key must be unique."""
    if request.after is not None:
        mark = tuple_(*request.after)
        query = query.where(tuple_(*keys) < mark if descending else tuple_(*keys) > mark)
    order = [key.desc() if descending else key.asc() for key in keys]
    marks = [key.label(f"page_{index}") for index, key in enumerate(keys)]
    rows = conn.execute(query.add_columns(*marks).order_by(*order).limit(request.limit + 1)).all()
    kept, more = cut(rows, request)
    last = [kept[-1]._mapping[mark.name] for mark in marks] if more else None
    return Page([render(row) for row in kept], last)
