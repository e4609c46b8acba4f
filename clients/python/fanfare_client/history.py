"""Reading a channel's log, page by page."""

from collections.abc import AsyncIterator

from fanfare_client.core.calls import channel_path
from fanfare_client.core.errors import ResetError
from fanfare_client.core.events import Event, Position, Reset, event_of
from fanfare_client.rest import Rest


async def read_log(
    rest: Rest, stream: str, after: Position | None, limit: int
) -> AsyncIterator[Event]:
    """Give the events after a position, in order. Raises: ResetError; FanfareError."""
    path = channel_path(stream.removeprefix("channel:"), "/events")
    offset = after.offset if after else 0
    epoch = after.epoch if after else None
    while True:
        page = await rest.get(path, after=offset, epoch=epoch, limit=limit)
        position = Position.of(page["position"])
        if page["reset"]:
            raise ResetError(Reset(stream, page["reset"]["reason"], position))
        for data in page["items"]:
            yield event_of(data, position.epoch)
        if not page["more"]:
            return
        offset, epoch = position.offset, position.epoch
