"""Snapshots of channels: what a client starts from, true at one position.

What everybody sees of a channel is kept as it was rendered, under the place where the stream
stood: every change of it is an event, which moves that place. What is the caller's own is read at
each call, with the place, by one statement; so nothing is older than the call, nor for others.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from core import json
from core.callers import Caller
from core.pages import Json, PageRequest
from core.services import access
from core.store import channels, heads, messages
from core.store.database import Database
from core.times import to_rfc3339

SYNC_MEMBERS = 200


class Kept(Protocol):
    """What was rendered, by name: good for one version."""

    def find(self, name: str, version: str) -> bytes | None:
        """Give what is kept of this very version."""

    def keep(self, name: str, version: str, body: bytes) -> None:
        """Keep something in place of an older version."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A channel at one position: `shared` is JSON that all see alike, `own` is the caller's."""

    channel_id: str
    name: str
    version: str
    shared: bytes
    own: Json

    def own_json(self, presence: Json | None) -> bytes:
        """Render what is the caller's own, and who is there just now."""
        return json.dumps({**self.own, "presence": presence})

    def whole(self, own_json: bytes) -> bytes:
        """Put both together: two objects become one."""
        return self.shared[:-1] + b"," + own_json[1:]


def sync(db: Database, kept: Kept, caller: Caller, ref: str, message_count: int) -> Snapshot:
    """Give a channel as it is at one position.

    Raises:
        NotFoundError.
    """
    found = access.judge_head(caller, heads.fetch(db, ref, caller.user_id))
    name, version = _name(found, message_count)
    shared = kept.find(name, version)
    if shared is None:
        # Anew, and all of one moment.
        with db.snapshot() as conn:
            found = access.judge_head(caller, heads.find(conn, ref, caller.user_id))
            shared = _shared(conn, found.id, message_count)
        name, version = _name(found, message_count)
        kept.keep(name, version, shared)
    return Snapshot(found.id, name, version, shared, _own(found, caller))


def _name(found: Any, message_count: int) -> tuple[str, str]:
    return f"{found.id} sync {message_count}", f"{found.epoch}-{found.top}"


def _shared(conn: Connection, channel_id: str, message_count: int) -> bytes:
    channel = channels.get_channel(conn, channel_id)
    members = channels.list_members(conn, channel_id, PageRequest(SYNC_MEMBERS))
    newest = messages.list_page(conn, channel_id, PageRequest(message_count))
    count = len(members.items)
    if members.next_after is not None:
        count = channels.count_members(conn, channel_id)
    return json.dumps(
        {
            "channel": channels.channel_json(channel),
            "members": members.items,
            "member_count": count,
            "messages": newest.items[::-1],
        }
    )


def _own(found: Any, caller: Caller) -> Json:
    membership = found.role and {
        "channel_id": found.id,
        "user_id": caller.user_id,
        "username": caller.username,
        "role": found.role,
        "joined_at": to_rfc3339(found.joined_ms),
        "updated_at": to_rfc3339(found.updated_ms),
    }
    return {
        "membership": membership,
        "read_offset": found.read_offset,
        "unread": found.unread,
        "position": {"offset": found.top, "epoch": found.epoch},
    }
