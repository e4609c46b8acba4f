"""Cursors: where the next page begins, signed, and good only for the list that gave them."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from core import json
from core.errors import InvalidError

_SIGNATURE_BYTES = 16


class Cursors:
    """Makes and reads cursors."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.blake2b(secret.encode(), person=b"fanfare.cursor").digest()

    def write(self, listing: str, mark: list[Any] | None) -> str | None:
        """Make the cursor of the page after `mark`; None where there is no more."""
        if mark is None:
            return None
        body = json.dumps([listing, mark])
        return _encode(self._sign(body) + body)

    def read(self, listing: str, cursor: str | None) -> list[Any] | None:
        """Give the mark of a cursor; None without a cursor.

        Raises:
            InvalidError: the cursor is not ours, or another list's.
        """
        if cursor is None:
            return None
        try:
            signed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            signed = b""
        signature, body = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        # Python overlooks characters that are not base64, and spare bits of the last one.
        if _encode(signed) != cursor or not hmac.compare_digest(signature, self._sign(body)):
            raise InvalidError.of("cursor", "is not a cursor of this server")
        origin, mark = json.loads(body)
        if origin != listing:
            raise InvalidError.of("cursor", "is of another list, or of another filter")
        return list(mark)

    def _sign(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, key=self._key, digest_size=_SIGNATURE_BYTES).digest()


def _encode(signed: bytes) -> str:
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def name_listing(path: str, query: Mapping[str, Any]) -> str:
    """Name a list: its address and filters. The limit may change from page to page."""
    filters = {k: v for k, v in query.items() if k not in ("limit", "cursor")}
    text = json.dumps_canonical([path, filters])
    return hashlib.blake2b(text, digest_size=8).hexdigest()
