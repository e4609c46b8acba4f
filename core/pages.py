"""Lists by the page: where a page begins and ends, in terms of the last row seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most `limit` rows after the row whose sort key is `after` (None: from the start)."""

    limit: int
    after: Sequence[Any] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in wire form, and the sort key of the last one where more follow."""

    items: list[Json]
    next_after: list[Any] | None


def cut(rows: Sequence[Any], request: PageRequest) -> tuple[Sequence[Any], bool]:
    """Split what was read (one row over the limit) into the page and whether more follow."""
    return rows[: request.limit], len(rows) > request.limit
