"""The blocking flavour: the asyncio one on a thread of its own.

The stock synchronous client hands each packet to a thread, which reorders them; here everything
comes through one loop, and handlers are called one at a time, by one thread, in order.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Self, TypeVar

from fanfare_client import channel as asynchronous
from fanfare_client.client import AsyncFanfare
from fanfare_client.core.calls import Published
from fanfare_client.core.chooser import Door
from fanfare_client.core.events import Event, Position, Roster
from fanfare_client.state import State
from fanfare_client.subscription import Subscription as AsyncSubscription

JSON = dict[str, Any]
T = TypeVar("T")
_HANDLERS = "fanfare-handlers"


class Fanfare:
    """One user's client: `with Fanfare(url, token=…) as client`. Any thread may use it.

    It takes what AsyncFanfare takes, with plain functions for `token`, `on_tokens`, `on_state`
    and handlers. A handler may call the client, but not wait for another handler.
    """

    def __init__(self, url: str, *, on_state: Callable[[State], None] | None = None, **more: Any):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._handlers = ThreadPoolExecutor(1, thread_name_prefix=_HANDLERS)
        self._closed = False
        if on_state is not None:
            more["on_state"] = self.beside(on_state)
        token = more.get("token")
        if callable(token):
            more["token"] = partial(self._in_a_thread, token)
        self._thread.start()
        try:
            self._client = self.run(_made(url, more))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        try:
            return self.connect()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def state(self) -> State:
        """How the connection is, and by which door."""
        return self._client.state

    @property
    def waiting(self) -> int:
        """How many publishes wait for the server's answer."""
        return self._client.waiting

    @property
    def notifications(self) -> "Notifications":
        """One's own stream and notifications."""
        return Notifications(self, self._client.notifications)

    def connect(self, *, wait: bool = True, timeout: float | None = None) -> Self:
        """Begin, and wait until a door is open, if wanted. Raises: EndedError; TimeoutError."""
        self.run(self._client.connect(wait=wait), timeout)
        return self

    def close(self) -> None:
        """End, and leave nothing running."""
        if self._closed:
            return
        self._closed = True
        self.run(self._client.close())
        self._end()

    def channel(self, channel: str) -> "Channel":
        """Return a channel, by id or slug. Nothing is asked of the server yet."""
        return Channel(self, self._client.channel(channel))

    def subscribe(self, stream: str, **wishes: Any) -> "Subscription":
        """Follow a stream: see AsyncFanfare.subscribe."""
        return self.follow(partial(self._client.subscribe, stream), wishes)

    def publish(
        self,
        stream: str,
        type: str,  # noqa: A002 - the protocol's word
        data: Any = None,
        **more: Any,
    ) -> Published:
        """Publish an event of one's own: see AsyncFanfare.publish."""
        return self.run(self._client.publish(stream, type, data, **more))

    def get(self, path: str, **params: Any) -> JSON:
        """GET anything under `/api/v1`."""
        return self.run(self._client.get(path, **params))

    def request(self, method: str, path: str, body: JSON | None = None) -> JSON:
        """Call anything under `/api/v1`, once."""
        return self.run(self._client.request(method, path, body))

    def set_status(self, status: str) -> None:
        """Say how one is present: see AsyncFanfare.set_status."""
        self.run(self._client.set_status(status))

    def force(self, door: Door | str | None) -> None:
        """Use this door alone; None: choose again."""
        self._loop.call_soon_threadsafe(self._client.force, door)

    def wake(self) -> None:
        """Try at once what would be tried later: the application knows that the network is back."""
        self._loop.call_soon_threadsafe(self._client.wake)

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Do something on the loop and wait for it. Raises: TimeoutError, and then it is undone."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("this would wait for itself: call it from another thread")
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def follow(
        self, subscribe: Callable[..., Coroutine[Any, Any, AsyncSubscription]], wishes: JSON
    ) -> "Subscription":
        """Subscribe with handlers that are called by the one thread for them."""
        made = {
            name: self.beside(wish) if name.startswith("on_") and wish else wish
            for name, wish in wishes.items()
        }
        return Subscription(self, self.run(subscribe(**made)))

    def beside(self, handler: Callable[[Any], Any]) -> Callable[[Any], Coroutine[Any, Any, None]]:
        """Return a handler for the loop that has the real one called by the thread for it."""

        async def handed(item: Any) -> None:
            await self._loop.run_in_executor(self._handlers, handler, item)

        return handed

    async def _in_a_thread(self, token: Callable[[str | None], str], refused: str | None) -> str:
        return await asyncio.to_thread(token, refused)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        # A handler may close the client: it can't wait for itself.
        self._handlers.shutdown(wait=not threading.current_thread().name.startswith(_HANDLERS))


class Subscription:
    """One stream: its events in order, by `on_event` or by `for`."""

    def __init__(self, client: Fanfare, subscription: AsyncSubscription) -> None:
        self._client = client
        self._subscription = subscription

    @property
    def stream(self) -> str:
        """The stream's name, by id."""
        return self._subscription.stream

    @property
    def position(self) -> Position | None:
        """That of the last event dealt with."""
        return self._subscription.position

    def __iter__(self) -> Iterator[Event]:
        while True:
            try:
                event = self.next()
            except StopAsyncIteration:
                return
            yield event

    def next(self, timeout: float | None = None) -> Event:
        """Wait for the next event.

        Raises: TimeoutError; StopAsyncIteration when it was closed; and as iterating does.
        """
        return self._client.run(self._subscription.__anext__(), timeout)

    def sync(self, messages: int = 50) -> JSON:
        """Take a snapshot of the channel; events up to it, that still wait here, are dropped."""
        return self._client.run(self._subscription.sync(messages))

    def close(self) -> None:
        """Follow the stream no longer."""
        self._client.run(self._subscription.close())


class Channel:
    """One channel, by id or slug."""

    def __init__(self, client: Fanfare, channel: asynchronous.Channel) -> None:
        self._client = client
        self._channel = channel

    @property
    def stream(self) -> str:
        """The channel's stream."""
        return self._channel.stream

    def subscribe(self, **wishes: Any) -> Subscription:
        """Follow it: see AsyncFanfare.subscribe."""
        return self._client.follow(self._channel.subscribe, wishes)

    def send(self, body: str, **more: Any) -> Published:
        """Post a message, and return what became of it; it is tried until there is an answer."""
        return self._client.run(self._channel.send(body, **more))

    def publish(
        self,
        type: str,  # noqa: A002 - the protocol's word
        data: Any = None,
        **more: Any,
    ) -> Published:
        """Publish an event of one's own: see AsyncFanfare.publish."""
        return self._client.run(self._channel.publish(type, data, **more))

    def edit(self, message: str, body: str) -> JSON:
        """Change a message's text, and return the message."""
        return self._client.run(self._channel.edit(message, body))

    def delete(self, message: str) -> JSON:
        """Delete a message, and return what is left of it."""
        return self._client.run(self._channel.delete(message))

    def typing(self) -> None:
        """Show that one is typing."""
        self._client.run(self._channel.typing())

    def read(self, offset: int) -> JSON:
        """Move the read marker forward; return `read_offset` and `unread`."""
        return self._client.run(self._channel.read(offset))

    def messages(self, **filters: Any) -> JSON:
        """Return a page of messages, the newest first."""
        return self._client.run(self._channel.messages(**filters))

    def history(self, after: Position | None = None, *, limit: int = 100) -> Iterator[Event]:
        """Read the log from a position, or its beginning, up to its end of now."""
        events = self._channel.history(after, limit=limit)
        while True:
            try:
                event = self._client.run(_next(events))
            except StopAsyncIteration:
                return
            yield event

    def sync(self, messages: int = 50) -> JSON:
        """Return a snapshot, and in `position` the place in the log that it is true at."""
        return self._client.run(self._channel.sync(messages))

    def presence(self) -> Roster:
        """Return who is present."""
        return self._client.run(self._channel.presence())


class Notifications:
    """One's own stream and notifications."""

    def __init__(self, client: Fanfare, notifications: asynchronous.Notifications) -> None:
        self._client = client
        self._notifications = notifications

    def subscribe(self, **wishes: Any) -> Subscription:
        """Follow one's own stream: see AsyncFanfare.subscribe."""
        return self._client.follow(self._notifications.subscribe, wishes)

    def list(self, **filters: Any) -> JSON:
        """Return a page, the newest first."""
        return self._client.run(self._notifications.list(**filters))

    def unread(self) -> int:
        """Return how many are unread."""
        return self._client.run(self._notifications.unread())

    def read(self, *ids: str) -> JSON:
        """Mark these as read, or all of them where none is named."""
        return self._client.run(self._notifications.read(*ids))

    def delete(self, notification: str) -> None:
        """Delete one."""
        self._client.run(self._notifications.delete(notification))


async def _made(url: str, more: JSON) -> AsyncFanfare:
    return AsyncFanfare(url, **more)  # its futures belong to the loop that it is made on


async def _next(events: AsyncIterator[Event]) -> Event:
    return await anext(events)
