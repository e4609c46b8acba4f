"""Keeps one door open: chooses it, moves up and down, and tells the application its state."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from fanfare_client.core.chooser import Chooser, Door, Kind, Trouble
from fanfare_client.core.errors import EndedError, FanfareError
from fanfare_client.doors.base import DoorError, Host, OpenDoor
from fanfare_client.doors.poll import PollDoor
from fanfare_client.doors.socket import SocketDoor
from fanfare_client.doors.sse import SseDoor
from fanfare_client.state import State

DOORS: dict[Door, type[OpenDoor]] = {
    Door.SOCKET: SocketDoor,
    Door.SSE: SseDoor,
    Door.POLL: PollDoor,
}
log = logging.getLogger("fanfare_client")


class Link:
    """One client's way to the server."""

    def __init__(self, host: Host, tell: Callable[[State], None]) -> None:
        self.state = State("connecting")
        self._host = host
        self._tell = tell
        self._chooser = Chooser(host.timing, random.random)
        self._door: OpenDoor | None = None
        self._nudged = asyncio.Event()
        self._eager = False
        self._room = asyncio.Event()
        self._room.set()
        self._live_once = False
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def socket(self) -> SocketDoor | None:
        """The socket, while it is the door and open."""
        door = self._door
        if isinstance(door, SocketDoor) and not door.closed.done():
            return door
        return None

    @property
    def ended(self) -> bool:
        """Whether nothing will come any more."""
        return self.state.state == "ended"

    def start(self) -> None:
        """Begin."""
        self._task = self._spawn(self._run())

    def changed(self) -> None:
        """What is followed has changed."""
        if self._door is not None:
            self._door.changed()

    def force(self, door: Door | None) -> None:
        """Use this door alone; None: choose again."""
        self._chooser.force(door)
        self.nudge()

    def nudge(self) -> None:
        """Try now what would be tried later: the network may be back."""
        self._eager = True
        self._nudged.set()

    def crowd(self, crowded: bool) -> None:
        """Read no more while the application does not keep up; nothing is lost by that."""
        if crowded == self._room.is_set():
            (self._room.clear if crowded else self._room.set)()
            self._nudged.set()

    async def close(self) -> None:
        """Leave."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._door is not None:
            self._leave(self._door)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self.ended:
            self._say(State("ended", detail="closed"))

    async def _run(self) -> None:
        try:
            await self._keep_open()
        except Exception as error:
            # Nobody waits for this task: without a word the client would be silent for ever.
            log.exception("the client failed")
            self._end(FanfareError("internal", repr(error)))

    async def _keep_open(self) -> None:
        while True:
            if not self._room.is_set():
                self._say(State("reconnecting", detail="the application does not keep up"))
            await self._room.wait()
            wait_s: float | None = 0.0
            trouble = await self._go()
            if trouble is not None:
                wait_s = await self._judge(trouble)
            if wait_s is None:
                return
            await self._pause(wait_s)

    async def _go(self) -> Trouble | None:
        """Open the chosen door and stay there. Returns why that is over; None: by our own wish."""
        self._say(State("reconnecting" if self._live_once else "connecting"))
        door = DOORS[self._chooser.door](self._host)
        try:
            await self._opened(door)
        except DoorError as error:
            return error.trouble
        try:
            return await self._stay()
        finally:
            if self._door is not None:
                self._leave(self._door)
                self._door = None

    async def _opened(self, door: OpenDoor) -> None:
        """Open a door and make it ours. Raises: DoorError."""
        try:
            await door.open()
        except BaseException:
            self._leave(door)
            raise
        before, self._door = self._door, door
        if before is not None:
            self._leave(before)
        self._live_once = True
        self._chooser.opened(door.door, time.monotonic())
        door.changed()  # what was followed since it began to open
        self._say(State("live", door.door))

    async def _stay(self) -> Trouble | None:
        while True:
            door = self._door
            assert door is not None
            self._nudged.clear()
            if self._chooser.door != door.door or not self._room.is_set():
                return None
            climb = self._spawn(self._climb())
            nudge = self._spawn(self._nudged.wait())
            try:
                await asyncio.wait({climb, nudge, door.closed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                climb.cancel()
                nudge.cancel()
                await asyncio.gather(climb, nudge, return_exceptions=True)
            if self._door is not door:
                continue
            if door.closed.done():
                return door.closed.result()

    async def _climb(self) -> None:
        """Look for a better door beside the open one, and move there when one opens."""
        while higher := self._chooser.higher():
            wait_s = 0.0 if self._eager else self._chooser.probe_wait()
            self._eager = False
            await asyncio.sleep(wait_s)
            for name in higher:
                try:
                    await self._opened(DOORS[name](self._host))
                except DoorError as error:
                    log.debug("%s is not open yet: %s", name, error)
                except Exception:
                    # The open door is no worse for it; the next try may go better.
                    log.exception("%s can't be tried", name)
                else:
                    return
        await asyncio.Event().wait()  # there is none

    async def _judge(self, trouble: Trouble) -> float | None:
        """Return how long to wait; None: it is over."""
        step = self._chooser.failed(trouble, time.monotonic())
        if step.end:
            self._end(trouble.error())
            return None
        wait_s = step.wait_s
        if step.renew:
            try:
                await self._host.rest.renew(await self._host.rest.token())
            except EndedError:
                self._end(trouble.error())
                return None
            except FanfareError as error:
                wait_s += error.retry_after or self._host.timing.backoff_s
        offline = trouble.kind == Kind.UNREACHABLE
        self._say(
            State(
                "offline" if offline else "reconnecting" if self._live_once else "connecting",
                detail=trouble.detail or trouble.code or str(trouble.kind),
                retry_at=time.time() + wait_s,
            )
        )
        return wait_s

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._nudged.wait()
        except TimeoutError:
            pass  # nobody was in a hurry
        self._nudged.clear()

    def _end(self, error: FanfareError) -> None:
        self._say(State("ended", detail=str(error)))
        self._host.feed.end(EndedError(error.code, error.detail))

    def _leave(self, door: OpenDoor) -> None:
        self._spawn(door.close())

    def _say(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._tell(state)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
