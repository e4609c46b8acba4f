"""May this caller see, or use, this channel or stream? What may not be seen does not exist."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from core import permissions
from core.callers import Caller
from core.errors import FanfareError, ForbiddenError, NotFoundError
from core.events import channel_stream, user_stream
from core.positions import StreamState
from core.store import channels, heads, log
from core.store.database import Database


@dataclass(frozen=True, slots=True)
class Access:
    """A channel that the caller may read. `role` is what the caller may act as."""

    channel: Row[Any]
    role: str | None

    @property
    def id(self) -> str:
        """The channel's id."""
        return str(self.channel.id)

    @property
    def stream(self) -> str:
        """The channel's stream."""
        return channel_stream(self.channel.id)


def readable(conn: Connection, caller: Caller, ref: str) -> Access:
    """Find a channel, by id or slug, that the caller may read.

    Raises:
        NotFoundError: there is none, or it is none of the caller's business.
    """
    row = judge_head(caller, channels.find_access(conn, ref, caller.user_id))
    return Access(row, effective_role(caller, row.kind, row.role))


def place_of(db: Database, caller: Caller, ref: str) -> tuple[str, StreamState]:
    """Give the id of a channel that the caller may read, and where its stream stands.

    Both of one moment: whoever may read then may read all up to there.

    Raises:
        NotFoundError: there is none, or it is none of the caller's business.
    """
    row = judge_head(caller, heads.fetch_place(db, ref, caller.user_id))
    return row.id, StreamState(row.stream_id, row.stream, row.epoch, row.top, row.trimmed)


def judge_head(caller: Caller, found: Any) -> Any:
    """Give a channel's head, which tells its kind and the caller's role, if there is one to see.

    Raises:
        NotFoundError: there is none, or it is none of the caller's business.
    """
    if found is not None:
        role = effective_role(caller, found.kind, found.role)
        if permissions.may_read(found.kind, role):
            return found
    raise NotFoundError("There is no such channel.")


def effective_role(caller: Caller, kind: str, role: str | None) -> str | None:
    """Administrators act as owners everywhere but in other people's direct channels."""
    return "owner" if caller.is_admin and kind != "direct" else role


def check_may_post(caller: Caller, kind: str | None, role: str | None) -> None:
    """Hold the caller to what may be posted to: a channel of a kind; without one there is none.

    Raises:
        NotFoundError, ForbiddenError.
    """
    acts_as = effective_role(caller, kind, role) if kind else None
    if not kind or not permissions.may_read(kind, acts_as):
        raise NotFoundError("There is no such channel.")
    if not permissions.may_post(acts_as):
        raise ForbiddenError("Only members may post to this channel.")


def moderated(conn: Connection, caller: Caller, ref: str) -> Access:
    """Find a channel that the caller may moderate.

    Raises:
        NotFoundError, ForbiddenError.
    """
    found = readable(conn, caller, ref)
    if not permissions.may_moderate(found.role):
        raise ForbiddenError("Only moderators and owners may do this.")
    return found


def resolve_as_server(conn: Connection, stream: str) -> str:
    """Give the full name of any stream.

    Raises:
        NotFoundError.
    """
    kind, _, ref = stream.partition(":")
    if kind == "channel":
        row = channels.find_access(conn, ref, "")
        if row is None:
            raise NotFoundError("There is no such channel.")
        stream = channel_stream(row.id)
    return log.get_state(conn, stream).name


def readable_streams(conn: Connection, caller: Caller, asked: Iterable[str]) -> dict[str, str]:
    """Give the full names of those of many streams that the caller may read, by one query."""
    wish = (caller, frozenset(asked))
    return readable_by_many(conn, [wish])[wish]


Wish = tuple[Caller, frozenset[str]]


def readable_by_many(conn: Connection, wishes: Iterable[Wish]) -> dict[Wish, dict[str, str]]:
    """Give, for each of many callers, what `readable_streams` would, by one query for all."""
    wishes = list(wishes)
    refs = {name[8:] for _, asked in wishes for name in asked if name.startswith("channel:")}
    users = {caller.user_id for caller, _ in wishes}
    known = _known_channels(conn, sorted(refs), sorted(users))
    return {wish: _readable_of(wish, known) for wish in wishes}


def postable_by_many(
    conn: Connection, asks: Iterable[tuple[Caller, str]]
) -> dict[tuple[Caller, str], str | FanfareError]:
    """Give, for each of many callers and streams, its full name or why they may not post there."""
    asks = list(asks)
    refs = {stream[8:] for _, stream in asks if stream.startswith("channel:")}
    users = {caller.user_id for caller, _ in asks}
    known = _known_channels(conn, sorted(refs), sorted(users))
    return {ask: _postable_of(*ask, known) for ask in asks}


def postable_alone(db: Database, caller: Caller, stream: str) -> str | FanfareError:
    """Give the same for one caller and stream, by a query that costs little."""
    known: dict[str, _Channel] = {}
    kind, _, ref = stream.partition(":")
    row = heads.fetch_place(db, ref, caller.user_id) if kind == "channel" else None
    if row is not None:
        known[ref] = _Channel(row.id, row.kind, {caller.user_id: row.role} if row.role else {})
    return _postable_of(caller, stream, known)


def _postable_of(caller: Caller, stream: str, known: "dict[str, _Channel]") -> str | FanfareError:
    kind, _, ref = stream.partition(":")
    if kind == "user" and ref in ("me", caller.user_id):
        return user_stream(caller.user_id)
    if kind != "channel":
        return NotFoundError("There is no such stream.")
    found = known.get(ref) or _Channel("", "", {})
    try:
        check_may_post(caller, found.kind, found.roles.get(caller.user_id))
    except FanfareError as error:
        return error
    return channel_stream(found.id)


@dataclass(slots=True)
class _Channel:
    id: str
    kind: str
    roles: dict[str, str]


def _known_channels(conn: Connection, refs: list[str], users: list[str]) -> dict[str, _Channel]:
    known: dict[str, _Channel] = {}
    for row in channels.roles_among(conn, refs, users) if refs else []:
        found = known.setdefault(row.id, _Channel(row.id, row.kind, {}))
        if row.slug:
            known[row.slug] = found
        if row.user_id:
            found.roles[row.user_id] = row.role
    return known


def _readable_of(wish: Wish, known: dict[str, _Channel]) -> dict[str, str]:
    caller, asked = wish
    own, found = user_stream(caller.user_id), {}
    for name in asked:
        channel = known.get(name[8:]) if name.startswith("channel:") else None
        if name in ("user:me", own):
            found[name] = own
        elif channel is not None:
            role = effective_role(caller, channel.kind, channel.roles.get(caller.user_id))
            if permissions.may_read(channel.kind, role):
                found[name] = channel_stream(channel.id)
    return found
