"""The last door: long-poll. It needs nothing but answers to requests."""

from typing import Any

from fanfare_client.core.chooser import Door, Kind, Trouble
from fanfare_client.doors.base import Host
from fanfare_client.doors.plain import PlainDoor
from fanfare_client.doors.socket import bye_of
from fanfare_client.rest import body_of

JSON = dict[str, Any]


class PollDoor(PlainDoor):
    """One poll after the other; the cursor of each answer begins the next."""

    door = Door.POLL

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._params: JSON | None = None
        self._first = True

    @property
    def budget_s(self) -> float:
        """Until the first reply."""
        return self.host.timing.poll_s

    def forget(self) -> None:
        """Throw the cursor away."""
        self._params = None

    async def round(self) -> Trouble | None:
        """Wait for one answer."""
        params = self._params or await self.enter()
        timing = self.host.timing
        wait: JSON = {}
        if "cursor" in params:
            wait = {"wait": 0 if self._first else timing.wait_s}
        answer = await self.host.rest.request(
            "GET",
            "/events",
            params={**params, **self.shown(), **wait},
            timeout_s=timing.request_s + timing.wait_s,
        )
        told = body_of(answer)
        self._first = False
        self._params = {"cursor": told["cursor"]}
        return self._take(told)

    def _take(self, told: JSON) -> Trouble | None:
        self.learn(told, told["events"])
        for signal in told.get("signals") or ():
            self.host.feed.signal(signal)
        self.begun()
        self._seen.clear()
        if told.get("bye"):
            return bye_of(told["bye"])
        if any(follow.gap and not follow.pending for follow in self.host.feed.streams):
            return Trouble(Kind.LOST, detail="an event is missing")
        return None
