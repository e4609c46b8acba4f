"""What is to be published, until the server has said what became of it.

Of one stream one publish is under way at a time, so a retry never overtakes, nor is overtaken.
The key makes a retry take effect once. The journal's lines bring it back after a restart.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

JSON = dict[str, Any]


@dataclass(slots=True, eq=False)
class Entry:
    """One publish: a message, or an event of the application's own."""

    key: str
    stream: str
    kind: str  # "message" or "event"
    body: JSON
    attempts: int = field(default=0, compare=False)

    @classmethod
    def of(cls, data: JSON) -> Self:
        """Read what `line` wrote."""
        return cls(str(data["key"]), str(data["stream"]), str(data["kind"]), dict(data["body"]))


class Outbox:
    """The entries in the order in which they were written."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._busy: set[str] = set()
        for entry in entries:
            self.add(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, entry: Entry) -> bool:
        return self._entries.get(_name(entry)) is entry

    def add(self, entry: Entry) -> None:
        """Put one last. Raises: ValueError where its key waits for the same stream already."""
        if _name(entry) in self._entries:
            raise ValueError(f"the key {entry.key!r} waits to be published already")
        self._entries[_name(entry)] = entry

    def take(self) -> list[Entry]:
        """Return what may go now, the first of each stream, and count it as under way."""
        heads: dict[str, Entry] = {}
        for entry in self._entries.values():
            heads.setdefault(entry.stream, entry)
        ready = [entry for stream, entry in heads.items() if stream not in self._busy]
        self._busy.update(entry.stream for entry in ready)
        return ready

    def done(self, entry: Entry) -> None:
        """The server has said what became of it."""
        self._entries.pop(_name(entry), None)
        self._busy.discard(entry.stream)

    def entries(self) -> list[Entry]:
        """Return all, the first first."""
        return list(self._entries.values())


def line(entry: Entry, *, done: bool = False) -> str:
    """Return what the journal keeps of an entry that came, or that is done."""
    if done:
        return json.dumps({"done": _name(entry)})
    kept = asdict(entry)
    del kept["attempts"]
    return json.dumps({"add": kept})


def replay(lines: Iterable[str]) -> list[Entry]:
    """Return the entries of a journal that are not done. A torn last line is passed over."""
    entries: dict[tuple[str, str], Entry] = {}
    for text in lines:
        try:
            said = json.loads(text)
        except ValueError:
            continue  # written while the power went
        if "add" in said:
            entry = Entry.of(said["add"])
            entries[_name(entry)] = entry
        else:
            entries.pop(tuple(said["done"]), None)
    return list(entries.values())


def _name(entry: Entry) -> tuple[str, str]:
    return entry.stream, entry.key
