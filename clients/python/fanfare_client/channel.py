"""A channel, and one's notifications, as the asyncio flavour gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfare_client.core.calls import Call, Published, channel_path
from fanfare_client.core.events import Event, Position, Roster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fanfare_client.client import AsyncFanfare
    from fanfare_client.subscription import Subscription

JSON = dict[str, Any]
OWN = "user:me"


class Channel:
    """One channel, by id or slug."""

    def __init__(self, client: AsyncFanfare, channel: str) -> None:
        self.id = channel
        self.stream = f"channel:{channel}"
        self._client = client

    async def subscribe(self, **wishes: Any) -> Subscription:
        """Follow it: see AsyncFanfare.subscribe."""
        return await self._client.subscribe(self.stream, **wishes)

    async def send(
        self, body: str, *, data: Any = None, reply_to: str | None = None, key: str | None = None
    ) -> Published:
        """Post a message, and return what became of it; it is tried until there is an answer."""
        more = {"data": data, "reply_to": reply_to}
        given = {name: value for name, value in more.items() if value is not None}
        return await self._client.submit(self.stream, "message", {"body": body, **given}, key)

    async def publish(
        self,
        type: str,  # noqa: A002 - the protocol's word
        data: Any = None,
        *,
        key: str | None = None,
        ephemeral: bool = False,
    ) -> Published:
        """Publish an event of one's own: see AsyncFanfare.publish."""
        return await self._client.publish(self.stream, type, data, key=key, ephemeral=ephemeral)

    async def edit(self, message: str, body: str) -> JSON:
        """Change a message's text, and return the message."""
        return await self._client.request(
            "PATCH", self._path(f"/messages/{message}"), {"body": body}
        )

    async def delete(self, message: str) -> JSON:
        """Delete a message, and return what is left of it."""
        return await self._client.request("DELETE", self._path(f"/messages/{message}"))

    async def typing(self) -> None:
        """Show that one is typing."""
        body: JSON = {}
        call = Call("typing", {"channel": self.id}, "POST", self._path("/typing"), body)
        await self._client.ask(call)

    async def read(self, offset: int) -> JSON:
        """Move the read marker forward; return `read_offset` and `unread`."""
        argument = {"channel": self.id, "offset": offset}
        return await self._client.ask(
            Call("read", argument, "PUT", self._path("/read"), {"offset": offset})
        )

    async def messages(self, **filters: Any) -> JSON:
        """Return a page of messages, the newest first; `limit`, `cursor`, `q` and so on go by."""
        return await self._client.get(self._path("/messages"), **filters)

    def history(self, after: Position | None = None, *, limit: int = 100) -> AsyncIterator[Event]:
        """Read the log from a position, or its beginning, up to its end of now."""
        return self._client.history(self.stream, after, limit=limit)

    async def sync(self, messages: int = 50) -> JSON:
        """Return a snapshot, and in `position` the place in the log that it is true at."""
        return await self._client.get(self._path("/sync"), messages=messages)

    async def presence(self) -> Roster:
        """Return who is present."""
        roster = await self._client.get(self._path("/presence"))
        return Roster(roster["count"], roster["people"])

    def _path(self, rest: str) -> str:
        return channel_path(self.id, rest)


class Notifications:
    """One's own stream and notifications."""

    def __init__(self, client: AsyncFanfare) -> None:
        self._client = client

    async def subscribe(self, **wishes: Any) -> Subscription:
        """Follow one's own stream: see AsyncFanfare.subscribe."""
        return await self._client.subscribe(OWN, **wishes)

    async def list(self, **filters: Any) -> JSON:
        """Return a page, the newest first: `unread`, `kind`, `limit`, `cursor`."""
        return await self._client.get("/notifications", **filters)

    async def unread(self) -> int:
        """Return how many are unread."""
        return int((await self._client.get("/notifications/unread"))["count"])

    async def read(self, *ids: str) -> JSON:
        """Mark these as read, or all of them where none is named."""
        body = {"ids": list(ids)} if ids else {}
        return await self._client.request("POST", "/notifications/read", body)

    async def delete(self, notification: str) -> None:
        """Delete one."""
        await self._client.request("DELETE", f"/notifications/{notification}")
