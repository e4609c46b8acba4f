"""Queries of busy reads, sent by the driver itself: SQLAlchemy writes each of them once.

To read one row costs SQLAlchemy seven times what it costs the driver. What it does on the way is
not needed here: there is no transaction, and the columns are texts and numbers, which drivers give
as they are. Lists as parameters (`expanding`) are not taken.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Select


@dataclass(frozen=True, slots=True)
class Form:
    """A query as one driver takes it."""

    text: str
    constants: Mapping[str, Any]
    # The names of its parameters, where the driver takes them by their order.
    order: Sequence[str] | None
    make_row: Callable[[Sequence[Any]], Any]

    def bind(self, parameters: Mapping[str, Any]) -> Any:
        """Give the parameters as the driver wants them."""
        bound = {**self.constants, **parameters}
        return bound if self.order is None else tuple([bound[name] for name in self.order])


class Quick:
    """A query that can be sent without SQLAlchemy: see `Database.fetch`."""

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        self.query = query
        self._forms: dict[str, Form] = {}

    def form(self, dialect: Dialect) -> Form:
        """Give it as the driver of a dialect takes it."""
        found = self._forms.get(dialect.name)
        if found is None:
            found = self._forms[dialect.name] = self._write(dialect)
        return found

    def _write(self, dialect: Dialect) -> Form:
        compiled = self.query.compile(dialect=dialect)
        names = [str(column.key) for column in self.query.selected_columns]
        row = namedtuple("Row", names)  # type: ignore[misc]
        order = compiled.positiontup if compiled.positional else None
        return Form(str(compiled), compiled.params, order, row._make)
