"""Pages that are asked for again and again, kept as they were sent.

An entry is good for one version of what it shows. The version is read from the database, with the
caller's right to see it, at every call: a page that is out of date is never served.
"""

from collections import OrderedDict
from dataclasses import dataclass

# What an entry takes beside its body: its name, its version and the objects around them.
_ENTRY_BYTES = 1024
# One may take such a part of all.
_LARGEST = 16


@dataclass(frozen=True, slots=True)
class _Entry:
    version: str
    body: bytes


class PageCache:
    """The newest pages, up to a bound of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def find(self, name: str, version: str) -> bytes | None:
        """Give a page, if it is kept at this very version."""
        entry = self._entries.get(name)
        if entry is None or entry.version != version:
            return None
        self._entries.move_to_end(name)
        return entry.body

    def keep(self, name: str, version: str, body: bytes) -> None:
        """Keep a page in place of an older version of it."""
        self._drop(name)
        if len(body) > self._max_bytes // _LARGEST:
            return  # it would cost all the others
        self._entries[name] = _Entry(version, body)
        self._bytes += _ENTRY_BYTES + len(body)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= _ENTRY_BYTES + len(entry.body)
