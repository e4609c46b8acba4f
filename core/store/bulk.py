"""Many rows in one statement, whose text is the same however many they are.

On PostgreSQL the rows are one parameter, JSON, which the server takes apart: a parameter for each
value is rendered and read one by one, in Python. SQLite is handed row after row, in C.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    FromClause,
    Insert,
    Integer,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from core import json

Columns = Mapping[str, TypeEngine[Any]]


def recordset(name: str, columns: Columns) -> FromClause:
    """Give what stands for the rows of the JSON parameter `name`. PostgreSQL alone has it."""
    rows = func.json_to_recordset(cast(bindparam(name, type_=Text()), postgresql.JSON))
    fields = [column(key, type_) for key, type_ in columns.items()]
    return rows.table_valued(*fields).render_derived(name=name, with_types=True)


def as_parameter(rows: Sequence[Mapping[str, Any]]) -> str:
    """Render rows as such a parameter."""
    return json.dumps(rows).decode()


def insert_many(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have a value, or None, for the same columns."""
    if conn.dialect.name == "sqlite":
        conn.execute(insert(table), list(rows))
    else:
        conn.execute(insert_from_json(table, tuple(rows[0])), {"rows": as_parameter(rows)})


@lru_cache(maxsize=16)
def insert_from_json(table: Table, names: tuple[str, ...]) -> Insert:
    """Give the statement that inserts the rows of the JSON parameter `rows`: PostgreSQL alone."""
    given = recordset("rows", {name: _plain(table.c[name].type) for name in names})
    return insert(table).from_select(names, select(*(given.c[name] for name in names)))


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    # Without a length and a collation: those are the column's.
    return BigInteger() if isinstance(type_, Integer) else Text()
