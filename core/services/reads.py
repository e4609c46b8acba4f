"""How far each user has read: a marker that only moves forward, told to the user's own devices."""

from dataclasses import dataclass

from core.callers import Caller
from core.errors import InvalidError
from core.events import Event, user_stream
from core.pages import Json
from core.services import access
from core.services.publish import log_event
from core.store import channels, log
from core.store.database import Database, Write
from core.times import now_ms


@dataclass(frozen=True, slots=True)
class ReadMark:
    """Where the marker stands, what is unread after it, and its event (None: it did not move)."""

    read_offset: int
    unread: int
    event: Event | None

    def as_json(self) -> Json:
        """Give the wire form."""
        return {"read_offset": self.read_offset, "unread": self.unread}


def mark(db: Database, caller: Caller, ref: str, offset: int) -> ReadMark:
    """Move the caller's marker in a channel forward to `offset`; backward does nothing.

    Raises:
        NotFoundError, InvalidError: the channel has no such offset yet.
    """
    now = now_ms()
    with db.write() as write:
        found = access.readable(write.conn, caller, ref)
        if offset > log.get_state(write.conn, found.stream).top:
            raise InvalidError.of("offset", "is ahead of the channel's newest event")
        if not (offset and channels.move_read(write, found.id, caller.user_id, offset, now)):
            return _present(write, caller, found)
        unread = channels.count_unread(write.conn, found.id, caller.user_id, offset)
        payload = {"channel_id": found.id, "offset": offset, "unread": unread}
        event = log_event(
            write,
            user_stream(caller.user_id),
            "read.moved",
            lambda _offset: payload,
            actor=caller.user_id,
            at_ms=now,
        )
        return ReadMark(offset, unread, event)


def _present(write: Write, caller: Caller, found: access.Access) -> ReadMark:
    conn = write.conn
    offset = channels.read_offset(conn, found.id, caller.user_id)
    unread = channels.count_unread(conn, found.id, caller.user_id, offset)
    return ReadMark(offset, unread, None)
