"""Cursors: where the next page begins, signed, and good only for the list that gave them."""

import hashlib
from collections.abc import Mapping
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from core import json
from core.errors import InvalidError


class Cursors:
    """Makes and reads cursors."""

    def __init__(self, secret: str) -> None:
        self._serializer = URLSafeSerializer(secret, salt="fanfare.cursor.1")

    def write(self, listing: str, mark: list[Any] | None) -> str | None:
        """Make the cursor of the page after `mark`; None where there is no more."""
        return None if mark is None else str(self._serializer.dumps([listing, mark]))

    def read(self, listing: str, cursor: str | None) -> list[Any] | None:
        """Give the mark of a cursor; None without a cursor.

        Raises:
            InvalidError: the cursor is not ours, or another list's.
        """
        if cursor is None:
            return None
        try:
            origin, mark = self._serializer.loads(cursor)
        except (BadData, ValueError, TypeError):
            raise InvalidError.of("cursor", "is not a cursor of this server") from None
        if origin != listing:
            raise InvalidError.of("cursor", "is of another list, or of another filter")
        return list(mark)


def name_listing(path: str, query: Mapping[str, Any]) -> str:
    """Name a list: its address and filters. The limit may change from page to page."""
    filters = {k: v for k, v in query.items() if k not in ("limit", "cursor")}
    text = json.dumps_canonical([path, filters])
    return hashlib.blake2b(text, digest_size=8).hexdigest()
