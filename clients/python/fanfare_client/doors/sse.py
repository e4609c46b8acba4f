"""The second door: server-sent events."""

import json
from typing import Any

import httpx

from fanfare_client.core.chooser import Door, Kind, Trouble
from fanfare_client.core.events import Position
from fanfare_client.core.sse import Parser, Sent
from fanfare_client.doors.plain import PlainDoor
from fanfare_client.doors.socket import bye_of

JSON = dict[str, Any]


class SseDoor(PlainDoor):
    """One stream after the other; each begins from the positions."""

    door = Door.SSE

    @property
    def budget_s(self) -> float:
        """Until `event: ready` was read: a proxy that buffers shows nothing."""
        return self.host.timing.sse_s

    def forget(self) -> None:
        """Nothing is kept from one stream to the next."""

    async def round(self) -> Trouble | None:
        """Read a stream to its end."""
        rest = self.host.rest
        params = {**await self.enter(), **self.shown()}
        parser = Parser()
        self._epochs: dict[str, str] = {}
        self._token = await rest.token()
        async with rest.stream(
            "/events/stream", params, silence_s=self.host.timing.silence_s
        ) as response:
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                return Trouble(Kind.BLOCKED, detail="the answer is no stream of events")
            trouble = await self._read(response, parser)
        return trouble or Trouble(Kind.LOST, detail="the stream ended")

    async def _read(self, response: httpx.Response, parser: Parser) -> Trouble | None:
        try:
            async for text in response.aiter_text():
                for sent in parser.feed(text):
                    trouble = self._take(sent)
                    if trouble is not None:
                        return trouble
        except httpx.HTTPError as error:
            # It was open: this is not the refusal that it would be at the start.
            return Trouble(Kind.LOST, detail=f"{type(error).__name__}: {error}")
        return None

    def _take(self, sent: Sent) -> Trouble | None:
        data = json.loads(sent.data)
        match sent.event:
            case "ready":
                self._on_ready(data)
            case "event":
                return self._on_event(data)
            case "signal":
                self.host.feed.signal(data)
            case "reset":
                self._epochs[data["stream"]] = data["position"]["epoch"]
                self.on_reset(data)
            case "unsubscribed":
                self.host.feed.lost(data["stream"], data["code"])
            case "auth.expiring":
                self.spawn(self._renew(data["expires_in"]))
            case "bye":
                return bye_of(data)
        return None

    def _on_ready(self, data: JSON) -> None:
        for stream, position in data["positions"].items():
            self._epochs[stream] = Position.of(position).epoch
        self.learn(data)
        self.begun()

    def _on_event(self, data: JSON) -> Trouble | None:
        if self.host.feed.live(data, epoch=self._epochs.get(data["stream"])) is None:
            return None
        return Trouble(Kind.LOST, detail="an event is missing")

    async def _renew(self, expires_in: float) -> None:
        await self.renewed(self._token, expires_in)
        self.again()
