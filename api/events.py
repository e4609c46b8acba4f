"""The log over HTTP: reading pages of it, and publishing to it."""

from itertools import groupby

import structlog
from flask import Response, g, request

from api import schemas
from api.cursors import name_listing
from api.parts import parts
from api.respond import created, empty, ok, with_position
from api.routing import Api
from core import json
from core.callers import Caller
from core.errors import (
    ConflictError,
    FanfareError,
    ForbiddenError,
    InternalError,
    NotFoundError,
    describe,
)
from core.events import Event
from core.pages import Json
from core.services import history, intents, publish

api = Api("events")
_log = structlog.get_logger(__name__)


@api.route(
    "GET",
    "/channels/{channel}/events",
    {200: schemas.LogPage},
    query=schemas.EventQuery,
    refuses=[NotFoundError],
)
def read_events(caller: Caller, channel: str, query: schemas.EventQuery) -> Response:
    """Read a page of the channel's log. `reset` says why a position can't be gone on from."""
    listing = name_listing(request.path, {})
    after, epoch = parts().cursors.read(listing, query.cursor) or [query.after, query.epoch]
    found = history.read_channel(
        *(parts().db, parts().tail, caller, channel), after=after, epoch=epoch, limit=query.limit
    )
    next_mark = [found.position.offset, found.position.epoch] if found.more else None
    return ok(
        {
            "items": [json.Raw(event) for event in found.events],
            "next_cursor": parts().cursors.write(listing, next_mark),
            "position": found.position.as_json(),
            "more": found.more,
            "reset": found.reset.as_json() if found.reset else None,
        }
    )


@api.route(
    "POST",
    "/channels/{channel}/events",
    {201: schemas.Published, 200: schemas.Published, 202: None},
    body=schemas.EventCreate,
    limit="write",
    refuses=[NotFoundError, ForbiddenError, ConflictError],
    answer_headers=["Location", "Fanfare-Position", "Idempotent-Replay"],
)
def publish_event(caller: Caller, channel: str, body: schemas.EventCreate) -> Response:
    """Publish an event of the application's own type; 202 for an ephemeral one."""
    draft = publish.Draft(f"channel:{channel}", **body.model_dump())
    if draft.ephemeral:
        _signal(caller, draft)
        return empty(202)
    done = publish.publish(parts().db, caller, draft, max_bytes=parts().max_event_bytes)
    response = created({"event": json.Raw(done.event.json)}, _place(done.event))
    if done.replayed:
        response.status_code = 200
        response.headers["Idempotent-Replay"] = "true"
    return with_position(response, done.event)


def _place(event: Event) -> str:
    channel_id = event.stream.removeprefix("channel:")
    return f"/api/v1/channels/{channel_id}/events?after={event.offset - 1}&limit=1"


def _signal(caller: Caller, draft: publish.Draft) -> None:
    rights = parts().lookups.rights
    made = publish.signal(rights, caller, draft, max_bytes=parts().max_event_bytes)
    parts().emit_signal(made)


@api.route(
    "POST",
    "/publish",
    {200: schemas.PublishOutcomes},
    body=schemas.PublishMany,
    refuses=[],
)
def publish_many(caller: Caller, body: schemas.PublishMany) -> Response:
    """Publish up to 100 events, in order, each with an outcome of its own."""
    outcomes: list[Json] = []
    for is_signal, items in groupby(body.events, key=lambda item: item.ephemeral):
        publish_run = _signal_run if is_signal else _log_run
        outcomes += publish_run(caller, [publish.Draft(**item.model_dump()) for item in items])
    return ok({"outcomes": outcomes})


def _signal_run(caller: Caller, drafts: list[publish.Draft]) -> list[Json]:
    return [_try_to_signal(caller, draft) for draft in drafts]


def _try_to_signal(caller: Caller, draft: publish.Draft) -> Json:
    parts().let_others_run()
    try:
        parts().limits.take("write", caller.user_id)
        _signal(caller, draft)
    except Exception as error:  # noqa: BLE001 - what became of the others stands, and is told
        return _refused(error)
    return {"ok": True}


def _log_run(caller: Caller, drafts: list[publish.Draft]) -> list[Json]:
    wanted = [_try_to_intend(caller, draft) for draft in drafts]
    intents.log_all(parts().db, [one for one in wanted if isinstance(one, intents.Intent)])
    return [_outcome(one) for one in wanted]


def _try_to_intend(caller: Caller, draft: publish.Draft) -> intents.Intent | FanfareError:
    parts().let_others_run()
    try:
        parts().limits.take("write", caller.user_id)
        return publish.intend(caller, draft, max_bytes=parts().max_event_bytes)
    except FanfareError as error:
        return error


def _outcome(wanted: intents.Intent | FanfareError) -> Json:
    try:
        if isinstance(wanted, FanfareError):
            raise wanted
        done = publish.published(wanted)
    except Exception as error:  # noqa: BLE001 - as above
        return _refused(error)
    return {"ok": True, "event": json.Raw(done.event.json), "replayed": done.replayed}


def _refused(error: Exception) -> Json:
    if not isinstance(error, FanfareError):
        _log.error("publish failed", request_id=g.request_id, exc_info=error)
        error = InternalError("The server failed. The log has the story.")
    return {"ok": False, "error": describe(error)}
