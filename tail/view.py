"""What is shown of a stream, and the position behind it: the one truth, whatever door is open.

Events may come in any order, early, or again by another door; each is shown once, in its turn.
"""

import sys
import threading
from dataclasses import dataclass
from typing import Any

from core import json

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show, and from where on."""

    stream: str
    after: Fields | None
    history: int
    as_json: bool


class View:
    """One stream's events in the terminal.

    The stock client hands out each packet in a thread of its own, so events may come in any
    order, and before the page of the log that leads up to them.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.stream = ""
        self.position: Fields = wanted.after or {}
        self._lock = threading.Lock()
        self._early: dict[int, Fields] = {}
        self._unplaced: list[Fields] = []

    @property
    def name(self) -> str:
        """The stream, in full where that is known."""
        return self.stream or self.wanted.stream

    def begin(self, stream: str, position: Fields) -> None:
        """Take the full name; and the position that the first event follows, if none is known."""
        with self._lock:
            self.stream = stream
            self.position = self.position or position
            unplaced, self._unplaced = self._unplaced, []
        for event in unplaced:
            self.put(event)

    def put(self, event: Fields) -> None:
        """Show an event, in its turn."""
        with self._lock:
            if not self.stream:
                self._unplaced.append(event)
            elif event["stream"] == self.stream and event["offset"] > self.position["offset"]:
                self._early[event["offset"]] = event
                self._show_early()

    def put_page(self, stream: str, events: list[Fields], position: Fields) -> None:
        """Show a page of the log that leads up to a position."""
        first = events[0]["offset"] - 1 if events else position["offset"]
        self.begin(stream, {**position, "offset": first})
        for event in events:
            self.put(event)

    def _show_early(self) -> None:
        while event := self._early.pop(self.position["offset"] + 1, None):
            print(self._render(event), flush=True)
            self.position = {**self.position, "offset": event["offset"]}

    def reset(self, stream: str, reason: str, position: Fields) -> None:
        """Go on elsewhere: what lies between can't be had."""
        if stream != self.stream:
            return
        note(f"the stream was reset ({reason}); going on from offset {position['offset']}")
        with self._lock:
            self.position = position
            self._early = {o: e for o, e in self._early.items() if o > position["offset"]}
            self._show_early()

    def has_gap(self) -> bool:
        """Whether an event is missing before one that came."""
        with self._lock:
            return bool(self._early)

    def show_signal(self, signal: Fields) -> None:
        """Show a signal, where a person reads."""
        if signal["stream"] == self.stream and not self.wanted.as_json:
            print(f"{signal['at'][11:23]}       ~  {signal['type']}", flush=True)

    def _render(self, event: Fields) -> str:
        if self.wanted.as_json:
            return json.dumps(event).decode()
        data = json.dumps(event["data"]).decode()
        return f"{event['at'][11:23]} {event['offset']:>7}  {event['type']:<20} {data}"


def note(text: str) -> None:
    """Tell the person at the terminal, apart from the events."""
    print(f"— {text}", file=sys.stderr, flush=True)
