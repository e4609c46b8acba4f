"""The asyncio flavour."""

import asyncio
import inspect
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from fanfare_client.channel import Channel, Notifications
from fanfare_client.core.calls import Call, Published, event_call
from fanfare_client.core.chooser import Door
from fanfare_client.core.errors import EndedError, FanfareError
from fanfare_client.core.events import Event, Position, Unsubscribed
from fanfare_client.core.outbox import Entry
from fanfare_client.core.streams import Follow, Item
from fanfare_client.core.timing import Timing
from fanfare_client.doors.base import Host
from fanfare_client.feed import Feed
from fanfare_client.history import read_log
from fanfare_client.link import Link
from fanfare_client.rest import OnTokens, Rest, TokenSource, body_of
from fanfare_client.sender import Sender
from fanfare_client.state import State
from fanfare_client.subscription import Handlers, Subscription

JSON = dict[str, Any]
OnState = Callable[[State], Awaitable[None] | None]
log = logging.getLogger("fanfare_client")


class AsyncFanfare:
    """One user's client, for one event loop: `async with AsyncFanfare(url, token=…) as client`.

    `token` is an access token, or a function (plain or `async`) that is called with the token that
    was refused, or None at the start, and returns a good one. With `refresh_token` the client
    renews by itself and gives each new pair to `on_tokens`, to be stored. `outbox` is a file, of
    one user and one program, in which publishes wait for the server over a restart. While more
    than `backlog` things wait for the application, no more is read; nothing is lost by that.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | TokenSource,
        refresh_token: str | None = None,
        on_tokens: OnTokens | None = None,
        on_state: OnState | None = None,
        outbox: str | Path | None = None,
        door: Door | str | None = None,
        backlog: int = 10_000,
        timing: Timing | None = None,
        trust_env: bool = True,
    ) -> None:
        timing = timing or Timing()
        self._rest = Rest(
            url,
            token=token,
            refresh_token=refresh_token,
            on_tokens=on_tokens,
            timing=timing,
            trust_env=trust_env,
        )
        self._feed = Feed(self._deliver)
        self._link = Link(Host(self._rest, self._feed, timing, trust_env), self._told)
        self._sender = Sender(
            self._rest,
            timing,
            socket=lambda: self._link.socket,
            journal=Path(outbox) if outbox is not None else None,
        )
        self._on_state = on_state
        self._backlog = backlog
        self._subscriptions: dict[Follow, list[Subscription]] = {}
        self._live = asyncio.Event()
        self._status = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._telling = asyncio.Lock()  # one state after the other
        self._started = False
        self.notifications = Notifications(self)
        if door is not None:
            self._link.force(Door(door))

    async def __aenter__(self) -> Self:
        try:
            return await self.connect()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    @property
    def state(self) -> State:
        """How the connection is, and by which door."""
        return self._link.state

    @property
    def waiting(self) -> int:
        """How many publishes wait for the server's answer."""
        return len(self._sender)

    async def connect(self, *, wait: bool = True) -> Self:
        """Begin, and wait until a door is open, if that is wanted.

        Raises: EndedError where none ever will be.
        """
        if not self._started:
            self._started = True
            self._link.start()
            self._sender.start()
        if wait:
            await self._live.wait()
        if self._link.ended:
            raise EndedError("unauthorized", self.state.detail)
        return self

    async def close(self) -> None:
        """End. What is not published stays in the outbox's file, if there is one."""
        for subscriptions in list(self._subscriptions.values()):
            for subscription in list(subscriptions):
                await subscription.close()
        await self._sender.close(EndedError("unavailable", "The client was closed."))
        await self._link.close()
        await self._rest.close()
        rest = [task for task in self._tasks if task is not asyncio.current_task()]
        await asyncio.gather(*rest, return_exceptions=True)

    def channel(self, channel: str) -> Channel:
        """Return a channel, by id or slug. Nothing is asked of the server yet."""
        return Channel(self, channel)

    async def subscribe(
        self,
        stream: str,
        *,
        after: Position | None = None,
        history: int = 0,
        presence: bool = False,
        **handlers: Any,
    ) -> Subscription:
        """Follow a stream, `channel:<id or slug>` or `user:me`, and wait until it has begun.

        From `after` where that is given, else from now on, with the last `history` first.
        `handlers` are those of Handlers. Raises: UnsubscribedError; ValueError where `after` or
        `history` is wanted of a stream that is followed already.
        """
        follow = self._feed.streams.find(stream)
        if follow is not None and (after or history or presence):
            raise ValueError(f"{stream} is followed already: it can't begin anew")
        if follow is None:
            follow = Follow(stream, after, history, presence)
            self._feed.streams.add(follow)
        subscription = Subscription(
            follow,
            Handlers(**handlers),
            leave=self._left,
            crowded=self._count,
            sync=self._snapshot,
        )
        self._subscriptions.setdefault(follow, []).append(subscription)
        try:
            await self._begin(follow)
        except BaseException:
            await subscription.close()
            raise
        subscription.begin()
        return subscription

    async def publish(
        self,
        stream: str,
        type: str,  # noqa: A002 - the protocol's word
        data: Any = None,
        *,
        key: str | None = None,
        ephemeral: bool = False,
    ) -> Published:
        """Publish an event of the application's own, and return what became of it.

        It is tried until there is an answer, with one key. An `ephemeral` one is a signal: it is
        sent once, and nobody says whether it arrived.
        """
        body = {"type": type, "data": data}
        if ephemeral:
            kind, _, name = stream.partition(":")
            channel = name if kind == "channel" else None
            await self.ask(event_call(stream, {**body, "ephemeral": True}, channel=channel))
            return Published(None, replayed=False)
        return await self.submit(stream, "event", body, key)

    def submit(
        self, stream: str, kind: str, body: JSON, key: str | None
    ) -> asyncio.Future[Published]:
        """Put a publish into the outbox; cancelling what is returned does not take it back."""
        if self._link.ended:
            raise EndedError("unavailable", self.state.detail)
        return self._sender.submit(Entry(key or str(uuid.uuid4()), stream, kind, body))

    async def ask(self, call: Call) -> JSON:
        """Make a call once, through the best open door."""
        return await self._sender.ask(call)

    async def get(self, path: str, **params: Any) -> JSON:
        """GET anything under `/api/v1`."""
        return await self._rest.get(path, **params)

    async def request(self, method: str, path: str, body: JSON | None = None) -> JSON:
        """Call anything under `/api/v1`, once."""
        return body_of(await self._rest.request(method, path, json=body))

    def history(
        self, stream: str, after: Position | None = None, *, limit: int = 100
    ) -> AsyncIterator[Event]:
        """Read a channel's log from a position, or its beginning, up to its end of now."""
        return read_log(self._rest, stream, after, limit)

    async def set_status(self, status: str) -> None:
        """Say how one is present: `online`, `away`, … Only the socket can tell it."""
        self._status = status
        await self._tell_status()

    def force(self, door: Door | str | None) -> None:
        """Use this door alone, also where another one is better; None: choose again."""
        self._link.force(None if door is None else Door(door))

    def wake(self) -> None:
        """Try at once what would be tried later: the application knows that the network is back."""
        self._link.nudge()
        self._sender.wake()

    async def _begin(self, follow: Follow) -> None:
        started = self._feed.started(follow)
        if self._link.ended:
            raise EndedError("unavailable", self.state.detail)
        self._link.changed()
        await asyncio.shield(started)

    def _deliver(self, follow: Follow, item: Item) -> None:
        for subscription in list(self._subscriptions.get(follow, ())):
            subscription.put(item)
        if isinstance(item, Unsubscribed):
            self._subscriptions.pop(follow, None)
        self._count()

    def _left(self, subscription: Subscription) -> None:
        followers = self._subscriptions.get(subscription.follow, [])
        if subscription in followers:
            followers.remove(subscription)
        if not followers and self._subscriptions.pop(subscription.follow, None) is not None:
            self._feed.drop(subscription.follow)
            self._link.changed()

    def _count(self) -> None:
        waiting = sum(one.waiting for all_ in self._subscriptions.values() for one in all_)
        if waiting > self._backlog:
            self._link.crowd(True)
        elif waiting <= self._backlog // 2:
            self._link.crowd(False)

    async def _snapshot(self, stream: str, messages: int) -> JSON:
        return await self.channel(stream.partition(":")[2]).sync(messages)

    def _told(self, state: State) -> None:
        if state.state == "live":
            self._live.set()
            self._sender.wake()
            if self._status:
                self._spawn(self._tell_status())
        elif state.state == "ended":
            self._finish(state)
        else:
            self._live.clear()
        if self._on_state is not None:
            self._spawn(self._call(self._on_state, state))

    async def _call(self, on_state: OnState, state: State) -> None:
        async with self._telling:
            try:
                done = on_state(state)
                if inspect.isawaitable(done):
                    await done
            except Exception:
                # The application's code may raise anything; the connection is no worse for it.
                log.exception("on_state failed")

    def _finish(self, state: State) -> None:
        self._live.set()  # whoever waits learns that it is over
        error = EndedError("unavailable", state.detail)
        self._sender.fail(error)
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.end(error)

    async def _tell_status(self) -> None:
        socket = self._link.socket
        if socket is None:
            return
        try:
            await socket.call("presence.set", {"status": self._status})
        except FanfareError as error:
            log.debug("the status was not told: %s", error)  # it is told on the next socket

    def _spawn(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
