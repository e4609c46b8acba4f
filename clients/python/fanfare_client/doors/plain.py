"""What SSE and long-poll share: plain HTTP, entered with the positions, gone on with by cursor."""

import asyncio
from abc import abstractmethod
from typing import Any

from fanfare_client.core.calls import channel_path, streams_query
from fanfare_client.core.chooser import Kind, Trouble
from fanfare_client.core.errors import FanfareError
from fanfare_client.core.events import Position
from fanfare_client.core.streams import Follow
from fanfare_client.doors.base import DoorError, Host, OpenDoor, log, trouble_of
from fanfare_client.rest import body_of

JSON = dict[str, Any]
# Always among the streams: it may be read as long as the token holds, so a 404 never means that
# access was lost, but that these doors are not served here.
OWN = "user:me"
_JOINED_AT_ONCE = 20


class PlainDoor(OpenDoor):
    """A door that runs in rounds; what is followed changes between two of them."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stale = asyncio.Event()
        self._seen: dict[Follow, Position | None] = {}
        self._entered: set[Follow] = set()
        self._present: list[Follow] = []

    @property
    @abstractmethod
    def budget_s(self) -> float:
        """How long it may take until `ready` is done."""

    @abstractmethod
    async def round(self) -> Trouble | None:
        """Read for a while. Returns why it is over, or None to go on with another round."""

    @abstractmethod
    def forget(self) -> None:
        """Begin the next round from the positions."""

    async def open(self) -> None:
        """Go on with every stream, and wait until the server has answered."""
        self.spawn(self._run())
        waits: set[asyncio.Future[Any]] = {self.ready, self.closed}
        await asyncio.wait(waits, timeout=self.budget_s, return_when=asyncio.FIRST_COMPLETED)
        if self.closed.done():
            raise DoorError(self.closed.result())
        if not self.ready.done():
            raise DoorError(blocked("no ready in time"))

    def changed(self) -> None:
        """Begin a round with the new list."""
        if set(self.host.feed.streams) != self._entered:
            self.again()

    def again(self) -> None:
        """Begin a round from the positions, soon."""
        self._stale.set()

    async def enter(self) -> JSON:
        """Return the parameters that begin from the positions."""
        await self._join()
        follows = list(self.host.feed.streams)
        self._seen = {follow: follow.position for follow in follows}
        self._entered = set(follows)
        text = streams_query(follows)
        self._present = [follow for follow in follows if follow.presence]
        if text is not None:
            own = [] if self.host.feed.streams.find(OWN) else [OWN]
            return {"streams": ",".join([*filter(None, [text]), *own])}
        streams = {f.name: f.position.wire() if f.position else None for f in follows}
        body = {"streams": {OWN: None, **streams}}
        answer = await self.host.rest.request("POST", "/events/cursor", json=body)
        told = body_of(answer)
        self.learn(told)
        return {"cursor": told["cursor"]}

    def shown(self) -> JSON:
        """Return the parameter that names the channels to be shown in, as they are called now."""
        names = [f.name for f in self._entered.intersection(self.host.feed.streams) if f.presence]
        return {"presence": ",".join(names)} if names else {}

    def learn(self, told: JSON, events: list[JSON] | None = None) -> None:
        """Take what an answer tells: names, positions, events up to them, and what is lost."""
        feed = self.host.feed
        for asked, stream in (told.get("streams") or {}).items():
            follow = feed.streams.find(asked.partition("@")[0])
            if follow is not None:
                feed.bind(follow, stream)
        by_stream: dict[str, list[JSON]] = {}
        for event in events or ():
            by_stream.setdefault(event["stream"], []).append(event)
        for reset in told.get("resets") or ():
            self.on_reset(reset)
        for stream, place in (told.get("positions") or {}).items():
            follow, position = feed.streams.find(stream), Position.of(place)
            if follow is None:
                continue
            # Without events it says where they will begin: here, or after a reset that comes next.
            if events is not None or follow.position in (None, position):
                feed.page(follow, by_stream.get(stream, []), position)
        for lost in told.get("unsubscribed") or ():
            feed.lost(lost["stream"].partition("@")[0], lost["code"])

    def on_reset(self, told: JSON) -> None:
        """Take a reset."""
        follow = self.host.feed.streams.find(told["stream"])
        if follow is not None:
            position = Position.of(told["position"])
            asked = self._seen.get(follow)
            # A cursor that has moved on since answers no position that we gave.
            first = asked if asked == follow.position else None
            self.host.feed.reset(follow, told["reason"], position, first)

    def begun(self) -> None:
        """The first answer of an entrance came."""
        if not self.ready.done():
            self.ready.set_result(None)
        present, self._present = self._present, []
        for follow in present:
            self.spawn(self._show(follow))

    async def _show(self, follow: Follow) -> None:
        path = channel_path(follow.name.partition(":")[2], "/presence")
        try:
            self.host.feed.roster(follow, await self.host.rest.get(path))
        except FanfareError as error:
            log.debug("who is in %s is not known: %s", follow.name, error)

    async def _join(self) -> None:
        """Learn where new streams begin that want history: each poll takes one number of it."""
        wanted: dict[int, list[str]] = {}
        for follow in self.host.feed.streams:
            if follow.position is None and follow.history:
                wanted.setdefault(follow.history, []).append(follow.name)
        for history, names in wanted.items():
            for start in range(0, len(names), _JOINED_AT_ONCE):
                some = ",".join([*names[start : start + _JOINED_AT_ONCE], OWN])
                told = await self.host.rest.get(
                    "/events", streams=some, history=history, limit=1000
                )
                self.learn(told, told["events"])

    async def _run(self) -> None:
        while not self.closed.done():
            if self._stale.is_set():
                self._stale.clear()
                self.forget()
            trouble = await self._one()
            if trouble is not None:
                self.end(trouble)

    async def _one(self) -> Trouble | None:
        round_ = self.spawn(self._guarded())
        stale = self.spawn(self._stale.wait())
        try:
            await asyncio.wait({round_, stale}, return_when=asyncio.FIRST_COMPLETED)
            if round_.done():
                trouble: Trouble | None = round_.result()
                return trouble
            return None
        finally:
            round_.cancel()
            stale.cancel()
            await asyncio.gather(round_, stale, return_exceptions=True)

    async def _guarded(self) -> Trouble | None:
        try:
            return await self.round()
        except FanfareError as error:
            return trouble_of(error)
        except (KeyError, TypeError, ValueError) as error:
            return blocked(f"the answer is not understood: {error!r}")


def blocked(detail: str) -> Trouble:
    """Return the trouble with a network that lets nothing through."""
    return Trouble(Kind.BLOCKED, detail=detail)
