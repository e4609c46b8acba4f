"""The best door: a WebSocket, through the stock asynchronous Socket.IO client.

That client starts a task for each packet. The handlers here never wait, so the packets are dealt
with in the order in which they came; reconnecting and its jitter are ours, not the stock one's.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import aiohttp
import socketio

from fanfare_client.core.calls import subscribe_argument
from fanfare_client.core.chooser import Door, Kind, Trouble
from fanfare_client.core.errors import FanfareError, NoAnswerError, from_wire
from fanfare_client.core.events import Position
from fanfare_client.core.streams import Follow
from fanfare_client.doors.base import DoorError, Host, OpenDoor, trouble_of

JSON = dict[str, Any]
# What a proxy answers for a server that is away: no reason to think that it blocks WebSocket.
_AWAY = {429, 502, 503, 504}
# The stock client raises these of its own making where something in between speaks nonsense.
_NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class SocketDoor(OpenDoor):
    """One connection of Socket.IO, without the stock client's own reconnecting."""

    door = Door.SOCKET

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.ready: asyncio.Future[JSON] = asyncio.get_running_loop().create_future()
        self._http = aiohttp.ClientSession(trust_env=host.trust_env)
        self._io = socketio.AsyncClient(
            reconnection=False, handle_sigint=False, http_session=self._http
        )
        self._io.on("*", self._packet)
        self._io.on("connect_error", self._refused)
        self._token = ""
        self._refusal: object = None
        self._followed: dict[Follow, str] = {}
        self._epochs: dict[str, str] = {}
        self._packets: dict[str, Callable[[JSON], None]] = {
            "ready": self._on_ready,
            "event": self._on_event,
            "signal": host.feed.signal,
            "reset": self._on_reset,
            "unsubscribed": self._on_unsubscribed,
            "auth.expiring": self._on_expiring,
            "bye": self._on_bye,
        }

    async def open(self) -> None:
        """Connect, wait for `ready`, and resume."""
        try:
            self._token = await self.host.rest.token()
            async with asyncio.timeout(self.host.timing.socket_s):
                await self._connect()
                await self._first(self.ready)
            await self._resume(self.host.feed.streams)
        except TimeoutError:
            raise DoorError(Trouble(Kind.BLOCKED, detail="no ready in time")) from None
        except FanfareError as error:
            trouble = self.closed.result() if self.closed.done() else trouble_of(error)
            raise DoorError(trouble) from error

    def changed(self) -> None:
        """Subscribe to what is new, and unsubscribe from what is gone."""
        wanted = set(self.host.feed.streams)
        for follow in wanted - self._followed.keys():
            self._catch_up(follow)
        for follow in self._followed.keys() - wanted:
            name = self._followed.pop(follow)
            if self.host.feed.streams.find(name) is None and not name.startswith("user:"):
                self.spawn(self._unsubscribe(name))

    async def call(
        self, packet: str, argument: JSON, on_ack: Callable[[JSON], None] | None = None
    ) -> JSON:
        """Send a packet and return its ack, whatever it says; no ack in time ends the door.

        `on_ack` is called before any later packet is dealt with. Raises: NoAnswerError.
        """
        answer: asyncio.Future[JSON] = asyncio.get_running_loop().create_future()

        def acked(ack: JSON) -> None:
            if answer.done():
                return
            if on_ack is not None:
                on_ack(ack)
            answer.set_result(ack)

        try:
            await self._io.emit(packet, argument, callback=acked)
            async with asyncio.timeout(self.host.timing.ack_s):
                return await self._first(answer)
        except TimeoutError:
            self.end(Trouble(Kind.SILENT, detail=f"no answer to {packet}"))
            raise NoAnswerError(f"no answer to {packet} over the socket") from None
        except socketio.exceptions.SocketIOError as error:
            raise NoAnswerError(str(error)) from error
        finally:
            answer.cancel()

    async def close(self) -> None:
        """Say goodbye, as far as the network lets it."""
        await super().close()
        engine = self._io.eio
        loops = [task for task in (engine.read_loop_task, engine.write_loop_task) if task]
        try:
            async with asyncio.timeout(self.host.timing.close_s):
                await engine.disconnect(abort=True)
        except (TimeoutError, aiohttp.ClientError, OSError, *_NONSENSE):
            pass  # whoever is there does not listen: the connection is cut below
        await self._http.close()
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)

    async def _connect(self) -> None:
        budget = 10 * self.host.timing.socket_s  # ours runs out before
        try:
            await self._io.connect(
                self.host.rest.url,
                auth={"token": self._token},
                transports=["websocket"],
                wait_timeout=budget,
            )
        except socketio.exceptions.ConnectionError as error:
            raise DoorError(self._why(error)) from error
        except (aiohttp.ClientError, OSError, *_NONSENSE) as error:
            raise DoorError(Trouble(Kind.BLOCKED, detail=repr(error))) from error
        # The end of this task is the one sign of the end that can't be missed: the stock client
        # forgets to tell when the connection breaks in the moment of its connect.
        self._io.eio.read_loop_task.add_done_callback(self._gone)

    def _why(self, error: BaseException) -> Trouble:
        if isinstance(self._refusal, dict):
            data = self._refusal.get("data") or {}
            return trouble_of(from_wire(data, status=401))
        cause = error.__cause__.__context__ if error.__cause__ else None
        if isinstance(cause, aiohttp.WSServerHandshakeError) and cause.status in _AWAY:
            return Trouble(Kind.UNREACHABLE, detail=f"HTTP status {cause.status}")
        if isinstance(cause, aiohttp.ClientConnectorError):
            return Trouble(Kind.UNREACHABLE, detail=str(cause))
        return Trouble(Kind.BLOCKED, detail=str(cause or error))

    async def _resume(self, follows: Iterable[Follow]) -> None:
        known = [follow for follow in follows if follow.position]
        asked = {follow: follow.position for follow in known}
        for follow in known:
            follow.pending += 1
            self._followed[follow] = follow.name
        try:
            if known:
                argument = {
                    "positions": {f.name: at.wire() for f, at in asked.items() if at},
                    "presence": [follow.name for follow in known if follow.presence],
                }
                await self._answered("resume", argument, lambda ack: self._resumed(ack, asked))
        finally:
            for follow in known:
                follow.pending -= 1
        for follow in known:
            if follow.gap and follow in self._followed:
                self._catch_up(follow)
        self.changed()

    def _resumed(self, ack: JSON, asked: dict[Follow, Position | None]) -> None:
        for follow, position in asked.items():
            self._take(follow, ack["streams"].get(follow.name), asked=position)

    def _catch_up(self, follow: Follow) -> None:
        self._followed[follow] = follow.name
        follow.pending += 1
        # Not at the end of the task: one that is cancelled before it began never gets there.
        self.spawn(self._read_on(follow)).add_done_callback(lambda _: self._caught_up(follow))

    def _caught_up(self, follow: Follow) -> None:
        follow.pending -= 1

    async def _read_on(self, follow: Follow) -> None:
        """Read from the stream's position until nothing is missing, and watch it."""
        while follow in self._followed:
            take = partial(self._take, follow, asked=follow.position)
            ack = await self._answered("subscribe", subscribe_argument(follow), take)
            if not ack.get("more"):
                if not follow.gap:
                    return
                await asyncio.sleep(self.host.timing.backoff_s)

    async def _answered(self, packet: str, argument: JSON, on_ok: Callable[[JSON], None]) -> JSON:
        """Call until the server does not say that it was too fast, or that it can't just now."""
        while True:
            ack = await self.call(packet, argument, lambda ack: on_ok(ack) if _done(ack) else None)
            if _done(ack):
                return ack
            error = from_wire(ack.get("error"))
            await asyncio.sleep(error.retry_after or self.host.timing.backoff_s)

    def _take(self, follow: Follow, ack: JSON | None, *, asked: Position | None) -> None:
        if ack is None or follow not in self._followed:
            return
        if not ack["ok"]:
            error = from_wire(ack["error"])
            if error.retryable:
                follow.gap = True  # read again
            else:
                del self._followed[follow]
                self.host.feed.lost(follow.name, error.code, error.detail)
            return
        if not self.host.feed.bind(follow, ack["stream"]):
            del self._followed[follow]
            return
        self._followed[follow] = ack["stream"]
        position = Position.of(ack["position"])
        self._epochs[ack["stream"]] = position.epoch
        if ack["reset"]:
            self.host.feed.reset(follow, ack["reset"]["reason"], position, asked)
        else:
            self.host.feed.page(follow, ack["events"], position, more=ack["more"])
            follow.gap = follow.gap or bool(ack["more"])
        if follow.presence:
            self.host.feed.roster(follow, ack.get("presence"))

    async def _unsubscribe(self, name: str) -> None:
        try:
            await self.call("unsubscribe", {"stream": name})
        except NoAnswerError:
            pass  # the door is gone, and the subscription with it

    async def _first(self, wanted: asyncio.Future[JSON]) -> JSON:
        waits: set[asyncio.Future[Any]] = {wanted, self.closed}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done():
            raise NoAnswerError(self.closed.result().detail)
        return wanted.result()

    def _packet(self, name: str, data: Any = None, *_more: Any) -> None:
        handle = self._packets.get(name)
        if handle is not None and isinstance(data, dict) and not self.closed.done():
            handle(data)

    def _refused(self, said: object = None) -> None:
        self._refusal = said

    def _gone(self, _task: asyncio.Task[None]) -> None:
        self.end(Trouble(Kind.LOST, detail="the connection broke"))

    def _on_ready(self, data: JSON) -> None:
        if not self.ready.done():
            self.ready.set_result(data)

    def _on_event(self, data: JSON) -> None:
        missing = self.host.feed.live(data, epoch=self._epochs.get(data["stream"]))
        if missing is not None:
            self._catch_up(missing)

    def _on_reset(self, data: JSON) -> None:
        follow = self.host.feed.streams.find(data["stream"])
        position = Position.of(data["position"])
        self._epochs[data["stream"]] = position.epoch
        if follow is not None:
            self.host.feed.reset(follow, data["reason"], position)

    def _on_unsubscribed(self, data: JSON) -> None:
        follow = self.host.feed.streams.find(data["stream"])
        if follow is not None:
            self._followed.pop(follow, None)
            self.host.feed.lost(data["stream"], data["code"])

    def _on_expiring(self, data: JSON) -> None:
        self.spawn(self._renew(data["expires_in"]))

    async def _renew(self, expires_in: float) -> None:
        self._token = await self.renewed(self._token, expires_in)
        await self.call("auth.refresh", {"token": self._token})

    def _on_bye(self, data: JSON) -> None:
        self.end(bye_of(data))


def bye_of(data: JSON) -> Trouble:
    """Read a `bye`."""
    return Trouble(
        Kind.BYE,
        data["code"],
        data.get("detail") or "",
        data.get("retry") or "now",
        float(data.get("retry_after") or 0) if data.get("retry") == "later" else 0.0,
    )


def _done(ack: JSON) -> bool:
    return bool(ack["ok"]) or not from_wire(ack.get("error")).retryable
