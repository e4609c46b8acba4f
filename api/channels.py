"""Channels, their snapshots, members and read markers."""

from typing import Any

from flask import Response

from api import schemas
from api.parts import parts
from api.respond import (
    created,
    empty,
    expect,
    has_tag,
    not_modified,
    ok,
    page,
    page_request,
    tag_of,
    tagged,
    with_position,
    with_version,
)
from api.routing import Api, changes
from core.callers import Caller
from core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
)
from core.events import channel_stream
from core.services import channels, members, reads, snapshots
from core.store.channels import channel_json

api = Api("channels")


@api.route(
    "POST",
    "/channels",
    {201: schemas.Channel, 200: schemas.Channel},
    body=schemas.ChannelCreate,
    limit="write",
    refuses=[ConflictError],
    answer_headers=["Location", "Fanfare-Position"],
)
def create_channel(caller: Caller, body: schemas.ChannelCreate) -> Response:
    """Make a channel. 200 gives the direct channel that the pair has already."""
    done = channels.create(parts().db, caller, channels.ChannelDraft(**body.model_dump()))
    if done.existed:
        return ok(done.channel)
    response = created(done.channel, f"/api/v1/channels/{done.channel['id']}")
    return with_position(response, done.event)


@api.route(
    "GET",
    "/channels",
    {200: schemas.Page[schemas.ListedChannel]},
    query=schemas.ChannelQuery,
    is_conditional=True,
)
def list_channels(caller: Caller, query: schemas.ChannelQuery) -> Response:
    """List the channels that one may see; with `member=me`, one's own and what is unread there."""
    found = channels.list_channels(
        parts().db,
        caller,
        page_request(query),
        kind=query.kind,
        mine=query.member == "me",
        search=query.q,
        sort=query.sort,
    )
    return page(found, query)


@api.route(
    "GET",
    "/channels/{channel}",
    {200: schemas.Channel},
    refuses=[NotFoundError],
    is_conditional=True,
)
def get_channel(caller: Caller, channel: str) -> Response:
    """Read a channel, by id or slug."""
    row = channels.get_channel(parts().db, caller, channel)
    return with_version(ok(channel_json(row)), row.version)


@api.route(
    "PATCH",
    "/channels/{channel}",
    {200: schemas.Channel},
    body=schemas.ChannelChange,
    limit="write",
    refuses=[NotFoundError, ForbiddenError, ConflictError, PreconditionFailedError],
    answer_headers=["Fanfare-Position"],
    is_conditional=True,
)
def change_channel(caller: Caller, channel: str, body: schemas.ChannelChange) -> Response:
    """Change a channel's name, topic or slug."""
    done = channels.change(parts().db, caller, channel, changes(body), expect)
    response = with_version(ok(done.channel), done.channel["version"])
    return with_position(response, done.event)


@api.route(
    "DELETE",
    "/channels/{channel}",
    {204: None},
    limit="write",
    refuses=[NotFoundError, ForbiddenError, PreconditionFailedError],
    answer_headers=["Fanfare-Position"],
    is_conditional=True,
)
def delete_channel(caller: Caller, channel: str) -> Response:
    """Delete a channel, for everybody."""
    return with_position(empty(), channels.delete(parts().db, caller, channel, expect))


@api.route(
    "GET",
    "/channels/{channel}/sync",
    {200: schemas.Sync},
    query=schemas.SyncQuery,
    refuses=[NotFoundError],
    is_conditional=True,
)
def sync_channel(caller: Caller, channel: str, query: schemas.SyncQuery) -> Response:
    """Read a snapshot, and the position that it is true at; and who is present just now."""
    found = snapshots.sync(parts().db, parts().pages, caller, channel, query.messages)
    own = found.own_json(_present(found.channel_id))
    tag = tag_of(found.name, found.version, own.decode())
    return not_modified(tag) if has_tag(tag) else tagged(found.whole(own), tag)


def _present(channel_id: str) -> dict[str, Any] | None:
    # A snapshot is worth having without it.
    try:
        return parts().presence.roster(channel_stream(channel_id))
    except UnavailableError:
        return None


@api.route(
    "GET",
    "/channels/{channel}/members",
    {200: schemas.Page[schemas.Member]},
    query=schemas.MemberQuery,
    refuses=[NotFoundError],
    is_conditional=True,
)
def list_members(caller: Caller, channel: str, query: schemas.MemberQuery) -> Response:
    """List the members of a channel."""
    found = members.list_members(parts().db, caller, channel, page_request(query), role=query.role)
    return page(found, query)


@api.route(
    "PUT",
    "/channels/{channel}/members/{user_id}",
    {201: schemas.Member, 200: schemas.Member},
    body=schemas.MemberPut,
    body_may_miss=True,
    limit="write",
    refuses=[NotFoundError, ForbiddenError, ConflictError],
    answer_headers=["Location", "Fanfare-Position"],
)
def put_member(caller: Caller, channel: str, user_id: str, body: schemas.MemberPut) -> Response:
    """Join (`me`), make somebody a member, or change a role."""
    target = caller.user_id if user_id == "me" else user_id
    done = members.put(parts().db, caller, channel, target, body.role)
    place = f"/api/v1/channels/{done.member['channel_id']}/members/{target}"
    response = created(done.member, place) if done.is_new else ok(done.member)
    return with_position(response, done.event)


@api.route(
    "DELETE",
    "/channels/{channel}/members/{user_id}",
    {204: None},
    limit="write",
    refuses=[NotFoundError, ForbiddenError, ConflictError],
    answer_headers=["Fanfare-Position"],
)
def remove_member(caller: Caller, channel: str, user_id: str) -> Response:
    """Leave (`me`), or remove a member."""
    target = caller.user_id if user_id == "me" else user_id
    return with_position(empty(), members.remove(parts().db, caller, channel, target))


@api.route(
    "PUT",
    "/channels/{channel}/read",
    {200: schemas.ReadMark},
    body=schemas.ReadPut,
    limit="write",
    refuses=[NotFoundError, InvalidError],
    answer_headers=["Fanfare-Position"],
)
def mark_read(caller: Caller, channel: str, body: schemas.ReadPut) -> Response:
    """Move one's read marker forward."""
    mark = reads.mark(parts().db, caller, channel, body.offset)
    return with_position(ok(mark.as_json()), mark.event)
