"""What a door is to the rest of the client."""

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar

from fanfare_client.core.chooser import Door, Kind, Trouble
from fanfare_client.core.errors import EndedError, FanfareError, NoAnswerError
from fanfare_client.core.timing import Timing
from fanfare_client.feed import Feed
from fanfare_client.rest import Rest, UnreachableError

log = logging.getLogger("fanfare_client")


@dataclass(frozen=True, slots=True)
class Host:
    """What a door works with."""

    rest: Rest
    feed: Feed
    timing: Timing
    trust_env: bool


class DoorError(Exception):
    """The door did not open."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.detail or trouble.code or trouble.kind)
        self.trouble = trouble


class OpenDoor(ABC):
    """One way in, used once: what is closed or broken is not opened again."""

    door: ClassVar[Door]

    def __init__(self, host: Host) -> None:
        self.host = host
        self.closed: asyncio.Future[Trouble] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[Any]] = set()

    @abstractmethod
    async def open(self) -> None:
        """Open it and go on with every stream. Raises: DoorError; EndedError."""

    @abstractmethod
    def changed(self) -> None:
        """What is followed has changed: go by it, soon."""

    async def close(self) -> None:
        """Leave it. What came until now was handed on."""
        self.end(Trouble(Kind.LOST, detail="closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def end(self, trouble: Trouble) -> None:
        """It is open no longer; the first reason stands."""
        if not self.closed.done():
            self.closed.set_result(trouble)

    async def renewed(self, token: str, expires_in: float) -> str:
        """Return a fresh token, however often it has to be asked for. Raises: EndedError.

        Not at once: many clients were told in the same moment, and tokens that never hold for
        long are not to be renewed without end.
        """
        early = random.uniform(0.1, 0.5) * expires_in  # noqa: S311 - jitter is no secret
        await asyncio.sleep(max(early, self.host.timing.backoff_s))
        while True:
            try:
                return await self.host.rest.renew(token)
            except FanfareError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(error.retry_after or self.host.timing.backoff_s)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do something beside; it ends with the door, and a fault in it ends the door."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, FanfareError):
            self.end(trouble_of(error))
        elif error is not None:
            log.error("a door failed", exc_info=error)
            self.end(Trouble(Kind.LOST, detail=repr(error)))


def trouble_of(error: FanfareError) -> Trouble:
    """Return what an error means for a door."""
    if isinstance(error, UnreachableError):
        return Trouble(Kind.UNREACHABLE, detail=error.detail)
    if isinstance(error, NoAnswerError):
        return Trouble(Kind.BLOCKED, detail=error.detail)
    retry = "never" if isinstance(error, EndedError) else "now"
    return Trouble(Kind.REFUSED, error.code, error.detail, retry, error.retry_after)
