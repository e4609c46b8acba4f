"""Between the doors and the subscriptions: what comes in is taken by the core and handed on."""

import asyncio
from collections.abc import Callable
from typing import Any

from fanfare_client.core.errors import FanfareError, UnsubscribedError
from fanfare_client.core.events import Position, Roster
from fanfare_client.core.streams import Follow, Item, Output, Streams

JSON = dict[str, Any]


class Feed:
    """One client's streams. `deliver` is called for each item, in order, and never waits."""

    def __init__(self, deliver: Callable[[Follow, Item], None]) -> None:
        self.streams = Streams()
        self._deliver = deliver
        self._waiting: dict[Follow, asyncio.Future[None]] = {}

    def started(self, follow: Follow) -> asyncio.Future[None]:
        """Return what is done when the server has told where the stream begins."""
        future = self._waiting.get(follow)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[follow] = future
            self._check(follow)
        return future

    def bind(self, follow: Follow, stream: str) -> bool:
        """Learn a stream's full name; False where that ends it."""
        if follow.stream is not None or self.streams.bind(follow, stream):
            return True
        self.lost(follow.asked, "conflict", f"{stream} is followed already, by another name.")
        return False

    def page(
        self, follow: Follow, events: list[JSON], position: Position, *, more: bool = False
    ) -> None:
        """Take what was read of a stream."""
        self._give(self.streams.page(follow, events, position, more=more))
        self._check(follow)

    def live(self, data: JSON, *, epoch: str | None = None) -> Follow | None:
        """Take an event; return its stream where something before it is missing."""
        self._give(self.streams.live(data, epoch=epoch))
        follow = self.streams.find(data["stream"])
        return follow if follow and follow.gap and not follow.pending else None

    def signal(self, data: JSON) -> None:
        """Take a signal."""
        self._give(self.streams.signal(data))

    def reset(
        self, follow: Follow, reason: str, position: Position, asked: Position | None = None
    ) -> None:
        """Take a reset."""
        self._give(self.streams.reset(follow, reason, position, asked=asked))
        self._check(follow)

    def roster(self, follow: Follow, roster: JSON | None) -> None:
        """Take a list of who is present; None: it is not known for the moment."""
        if roster is not None:
            self._deliver(follow, Roster(roster["count"], roster["people"]))

    def lost(self, name: str, code: str, detail: str = "") -> None:
        """Take the end of a stream."""
        follow = self.streams.find(name)
        if follow is None:
            return
        waiting = self._waiting.pop(follow, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(UnsubscribedError(code, detail or follow.name))
        self._give(self.streams.unsubscribed(name, code, detail))

    def drop(self, follow: Follow) -> None:
        """Follow it no longer, because the application wants so."""
        self.streams.remove(follow)
        waiting = self._waiting.pop(follow, None)
        if waiting is not None:
            waiting.cancel()

    def end(self, error: FanfareError) -> None:
        """Nothing will come any more."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)
        self._waiting.clear()

    def _give(self, output: Output) -> None:
        for follow, item in output:
            self._deliver(follow, item)

    def _check(self, follow: Follow) -> None:
        waiting = self._waiting.get(follow)
        if waiting is not None and follow.started:
            del self._waiting[follow]
            if not waiting.done():
                waiting.set_result(None)
