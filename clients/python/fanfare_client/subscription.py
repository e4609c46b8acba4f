"""What an application holds of a stream that it follows."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fanfare_client.core.errors import FanfareError, ResetError, UnsubscribedError
from fanfare_client.core.events import Event, Position, Reset, Roster, Signal, Unsubscribed
from fanfare_client.core.streams import Follow, Item

JSON = dict[str, Any]
log = logging.getLogger("fanfare_client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """Functions, or coroutine functions; each is called with one thing, and one at a time."""

    on_event: Callable[[Event], Awaitable[None] | None] | None = None
    on_signal: Callable[[Signal], Awaitable[None] | None] | None = None
    on_reset: Callable[[Reset], Awaitable[None] | None] | None = None
    on_presence: Callable[[Roster], Awaitable[None] | None] | None = None
    on_unsubscribed: Callable[[Unsubscribed], Awaitable[None] | None] | None = None

    def of(self, item: Item) -> Callable[[Any], Awaitable[None] | None] | None:
        """Return who wants it."""
        match item:
            case Event():
                return self.on_event
            case Signal():
                return self.on_signal
            case Reset():
                return self.on_reset
            case Roster():
                return self.on_presence
            case Unsubscribed():
                return self.on_unsubscribed


class Subscription:
    """One stream: its events in order, by `on_event` or by `async for`.

    Iterating raises ResetError where there is no `on_reset` (go on by iterating again), and
    UnsubscribedError when access is lost. `position` is that of the last event dealt with.
    """

    def __init__(
        self,
        follow: Follow,
        handlers: Handlers,
        *,
        leave: Callable[["Subscription"], None],
        crowded: Callable[[], None],
        sync: Callable[[str, int], Awaitable[JSON]],
    ) -> None:
        self.follow = follow
        self.position: Position | None = follow.position
        self._handlers = handlers
        self._leave = leave
        self._crowded = crowded
        self._sync = sync
        self._items: deque[Item] = deque()
        self._came = asyncio.Event()
        self._floor: Position | None = None
        self._over: FanfareError | None = None
        self._closed = False
        self._pump = asyncio.create_task(self._run()) if handlers.on_event else None

    @property
    def stream(self) -> str:
        """The stream's name, by id once the server has told it."""
        return self.follow.name

    @property
    def waiting(self) -> int:
        """How many things wait to be dealt with."""
        return len(self._items)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """Return the next event. One that was being waited for when cancelled is not lost."""
        if self._pump is not None:
            raise TypeError("this subscription hands its events to on_event")
        while True:
            while not self._items:
                if self._closed:
                    raise StopAsyncIteration
                if self._over is not None:
                    raise self._over
                self._came.clear()
                await self._came.wait()
            item = self._next()
            if isinstance(item, Event):
                self.position = item.position
                return item
            if item is not None:
                await self._beside(item)

    async def sync(self, messages: int = 50) -> JSON:
        """Take a snapshot of the channel; events up to it, that still wait here, are dropped."""
        snapshot = await self._sync(self.follow.name, messages)
        self._floor = Position.of(snapshot["position"])
        self.position = self._floor
        return snapshot

    async def close(self) -> None:
        """Follow the stream no longer. What still waits is dropped."""
        self._leave(self)
        self.stop()
        if self._pump is not None and self._pump is not asyncio.current_task():
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    def put(self, item: Item) -> None:
        """Take one thing."""
        if self.position is None and isinstance(item, Event):
            self.position = item.position.at(item.offset - 1)
        if isinstance(item, Unsubscribed):
            self._over = UnsubscribedError(item.code, item.detail)
        self._items.append(item)
        self._came.set()

    def begin(self) -> None:
        """Learn where the stream begins."""
        if self.position is None:
            self.position = self.follow.position

    def end(self, error: FanfareError) -> None:
        """Nothing will come any more."""
        self._over = self._over or error
        self._came.set()

    def stop(self) -> None:
        """Nothing is wanted any more."""
        self._closed = True
        self._items.clear()
        self._crowded()
        self._came.set()

    def _next(self) -> Item | None:
        item = self._items.popleft()
        self._crowded()
        floor = self._floor
        if floor is None or not isinstance(item, Event | Reset):
            return item
        at = item.position
        return item if at.epoch != floor.epoch or at.offset > floor.offset else None

    async def _beside(self, item: Item) -> None:
        if isinstance(item, Reset):
            self.position = item.position
            if self._handlers.on_reset is None:
                raise ResetError(item)
        await self._hand(item)

    async def _run(self) -> None:
        while not self._is_done():
            self._came.clear()
            while self._items:
                item = self._next()
                if item is not None:
                    await self._hand(item)
                if isinstance(item, Event | Reset):
                    self.position = item.position
            if not self._is_done():
                await self._came.wait()

    def _is_done(self) -> bool:
        return self._closed or (self._over is not None and not self._items)

    async def _hand(self, item: Item) -> None:
        handler = self._handlers.of(item)
        if handler is None:
            if isinstance(item, Reset):
                log.warning("%s was reset (%s) and has no on_reset", item.stream, item.reason)
            return
        try:
            done = handler(item)
            if inspect.isawaitable(done):
                await done
        except Exception:
            # The application's code may raise anything; the next event is not to wait for ever.
            log.exception("a handler of %s failed", self.stream)
