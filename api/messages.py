"""Messages of a channel."""

from flask import Response

from api import schemas
from api.parts import parts
from api.respond import (
    created,
    expect,
    has_tag,
    is_first_page,
    name_page,
    not_modified,
    ok,
    page_body,
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
    NotFoundError,
    PreconditionFailedError,
    RateLimitedError,
)
from core.services import messages
from core.store.messages import message_json

api = Api("messages")


@api.route(
    "POST",
    "/channels/{channel}/messages",
    {201: schemas.Message, 200: schemas.Message},
    body=schemas.MessageCreate,
    limit="write",
    refuses=[NotFoundError, ForbiddenError, ConflictError],
    answer_headers=["Location", "Fanfare-Position", "Idempotent-Replay"],
)
def create_message(caller: Caller, channel: str, body: schemas.MessageCreate) -> Response:
    """Write a message. A retry with the same `key` is answered 200 with the first result."""
    posted = messages.create(
        parts().db,
        caller,
        channel,
        messages.MessageDraft(**body.model_dump()),
        max_bytes=parts().max_event_bytes,
    )
    place = f"/api/v1/channels/{posted.message['channel_id']}/messages/{posted.message['id']}"
    response = created(posted.message, place)
    if posted.replayed:
        response.status_code = 200
        response.headers["Idempotent-Replay"] = "true"
    return with_position(response, posted.event)


@api.route(
    "GET",
    "/channels/{channel}/messages",
    {200: schemas.Page[schemas.Message]},
    query=schemas.MessageQuery,
    refuses=[NotFoundError, RateLimitedError],
    is_conditional=True,
)
def list_messages(caller: Caller, channel: str, query: schemas.MessageQuery) -> Response:
    """List messages, the newest first."""
    asked = page_request(query)
    if query.q:
        parts().limits.take("search", caller.user_id)
    channel_id, version = messages.get_version(parts().db, caller, channel)
    name = name_page(channel_id, query)
    tag = tag_of(name, version)
    if has_tag(tag):
        return not_modified(tag)
    body = parts().pages.find(name, version)
    if body is None:
        # Read after its version: at worst it is newer than its version says, never older.
        found = messages.list_messages(parts().db, channel_id, asked, _filter(query))
        body = page_body(found, query)
        if is_first_page(query):
            parts().pages.keep(name, version, body)
    return tagged(body, tag)


def _filter(query: schemas.MessageQuery) -> messages.MessageFilter:
    return messages.MessageFilter(
        query.before, query.after, query.author, query.q, query.sort.startswith("-")
    )


@api.route(
    "GET",
    "/channels/{channel}/messages/{message_id}",
    {200: schemas.Message},
    refuses=[NotFoundError],
    is_conditional=True,
)
def get_message(caller: Caller, channel: str, message_id: str) -> Response:
    """Read a message."""
    row = messages.get_message(parts().db, caller, channel, message_id)
    return with_version(ok(message_json(row)), row.version)


@api.route(
    "PATCH",
    "/channels/{channel}/messages/{message_id}",
    {200: schemas.Message},
    body=schemas.MessageChange,
    limit="write",
    refuses=[NotFoundError, ForbiddenError, PreconditionFailedError],
    answer_headers=["Fanfare-Position"],
    is_conditional=True,
)
def edit_message(
    caller: Caller, channel: str, message_id: str, body: schemas.MessageChange
) -> Response:
    """Edit a message of one's own."""
    posted = messages.edit(
        parts().db,
        caller,
        channel,
        message_id,
        changes(body),
        expect,
        max_bytes=parts().max_event_bytes,
    )
    return _changed(posted)


@api.route(
    "DELETE",
    "/channels/{channel}/messages/{message_id}",
    {200: schemas.Message},
    limit="write",
    refuses=[NotFoundError, ForbiddenError, PreconditionFailedError],
    answer_headers=["Fanfare-Position"],
    is_conditional=True,
)
def delete_message(caller: Caller, channel: str, message_id: str) -> Response:
    """Delete a message, one's own or as a moderator; gives the tombstone that stays."""
    return _changed(messages.delete(parts().db, caller, channel, message_id, expect))


def _changed(posted: messages.Posted) -> Response:
    response = with_version(ok(posted.message), posted.message["version"])
    return with_position(response, posted.event)
