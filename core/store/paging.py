"""Keyset pages: the next page starts after the last row, however deep, by an index."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, tuple_

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
    width = len(query.selected_columns)
    prepared = prepare(
        query.add_columns(*[key.label(f"page_{index}") for index, key in enumerate(keys)]),
        keys,
        is_next=request.after is not None,
        descending=descending,
    )
    rows, more = _read(conn, prepared, request, {})
    last = list(rows[-1][width:]) if more else None
    return Page([render(row) for row in rows], last)


def prepare(
    query: Select[Any], keys: Sequence[ColumnElement[Any]], *, is_next: bool, descending: bool
) -> Select[Any]:
    """Make the query of a page, for `fetch_prepared`; it may be kept and used again."""
    if is_next:
        mark = tuple_(*[bindparam(f"mark_{i}", type_=key.type) for i, key in enumerate(keys)])
        query = query.where(tuple_(*keys) < mark if descending else tuple_(*keys) > mark)
    order = [key.desc() if descending else key.asc() for key in keys]
    return query.order_by(*order).limit(bindparam("page_limit"))


def fetch_prepared(
    conn: Connection,
    prepared: Select[Any],
    request: PageRequest,
    parameters: Mapping[str, Any],
    *,
    key_columns: Sequence[int],
    render: Callable[..., Json],
) -> Page:
    """Read one page of a prepared query; `render` takes the columns by position."""
    rows, more = _read(conn, prepared, request, parameters)
    last = [rows[-1][index] for index in key_columns] if more else None
    return Page([render(*row) for row in rows], last)


def like_pattern(text: str) -> str:
    """Make the pattern, with `/` as its escape, of anything that contains a text."""
    for special in "/%_":
        text = text.replace(special, f"/{special}")
    return f"%{text}%"


def _read(
    conn: Connection, prepared: Select[Any], request: PageRequest, parameters: Mapping[str, Any]
) -> tuple[Sequence[Row[Any]], bool]:
    marks = {f"mark_{i}": value for i, value in enumerate(request.after or ())}
    bound = {**parameters, **marks, "page_limit": request.limit + 1}
    return cut(conn.execute(prepared, bound).all(), request)
