"""Following streams where there is no WebSocket: long-poll and Server-Sent Events.

Any node answers any call: where a reader stands is in its cursor, and nowhere else.
"""

import gzip
import re
from collections.abc import Mapping
from typing import Any

from flask import Response, request

from api import schemas
from api.parts import parts
from api.respond import empty, ok
from api.routing import Api
from core import json
from core.callers import Caller
from core.errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TooManyConnectionsError,
)
from core.event_cursor import MOST_STREAMS
from core.follow import Answer, Ask
from core.positions import Position
from core.services import publish
from core.validation import check

api = Api("fallback")

# Below it the reader gains nothing.
_WORTH_PACKING_BYTES = 1024
_NAMED = re.compile(r"(?P<name>[^@]+)(@(?P<offset>\d{1,16})/(?P<epoch>[^@/]{1,16}))?")


@api.route(
    "GET",
    "/events",
    {200: schemas.Poll},
    query=schemas.PollQuery,
    limit="follow",
    may_storm=True,
    refuses=[NotFoundError, TooManyConnectionsError],
)
def poll_events(caller: Caller, query: schemas.PollQuery) -> Response:
    """Long-poll: wait for what happens in up to 128 streams.

    The first call names `streams` and is answered at once. Later ones give the `cursor` alone: the
    answer comes as soon as there is something, or empty after `wait` seconds.
    """
    ask = _ask(caller, query, query.cursor, limit=query.limit, wait_s=query.wait)
    answer = parts().doors.poll(caller, ask, request.environ)
    body = {
        "events": list(map(json.Raw, answer.events)),
        "signals": list(map(json.Raw, answer.signals)),
        "resets": list(map(json.Raw, answer.resets)),
        **_place(answer, is_named=ask.is_named),
        "bye": answer.bye,
    }
    return _packed(ok(body))


@api.route(
    "GET",
    "/events/stream",
    {200: None},
    media="text/event-stream",
    query=schemas.FollowQuery,
    limit="follow",
    may_storm=True,
    refuses=[NotFoundError, TooManyConnectionsError],
)
def stream_events(caller: Caller, query: schemas.FollowQuery) -> Response:
    """Server-Sent Events: what happens in up to 128 streams, as `text/event-stream`.

    Each event's id is the cursor behind it; `Last-Event-ID` goes on from there, on any node.
    """
    cursor = request.headers.get("Last-Event-ID") or query.cursor
    pieces = parts().doors.stream(caller, _ask(caller, query, cursor), request.environ)
    if request.method == "HEAD":
        # The pieces would be neither read nor closed.
        pieces.close()
    response = Response(pieces, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    # nginx and those who follow it would wait for more before they pass anything on.
    response.headers["X-Accel-Buffering"] = "no"
    return response


@api.route(
    "POST",
    "/events/cursor",
    {200: schemas.Place},
    body=schemas.CursorCreate,
    refuses=[NotFoundError],
)
def make_cursor(caller: Caller, body: schemas.CursorCreate) -> Response:
    """Make a cursor of positions, for a client that comes from another door."""
    return ok(_place(parts().doors.place(caller, _positions(body)), is_named=True))


@api.route(
    "POST",
    "/channels/{channel}/typing",
    {202: None},
    limit="write",
    refuses=[NotFoundError, ForbiddenError],
)
def show_typing(caller: Caller, channel: str) -> Response:
    """Show the others of a channel that the caller is typing."""
    parts().emit_signal(publish.typing(parts().lookups.rights, caller, channel))
    return empty(202)


def _ask(caller: Caller, query: schemas.FollowQuery, cursor: str | None, **more: Any) -> Ask:
    if cursor is not None:
        asked: dict[str, Position | None] = {**parts().event_cursors.read(cursor)}
    elif query.streams is not None:
        asked = _read_names(query.streams)
    else:
        raise InvalidError.of("streams", "is missing: name streams, or give a cursor")
    presence = _shown(query.presence, asked)
    if presence:
        # To be seen in a channel is work for its watchers.
        parts().limits.take("follow", caller.user_id, len(presence))
    history = query.history if cursor is None else 0
    return Ask(asked, is_named=cursor is None, history=history, presence=presence, **more)


def _shown(text: str, asked: Mapping[str, object]) -> frozenset[str]:
    channels = frozenset(name for name in asked if name.startswith("channel:"))
    if text in ("true", "false"):
        return channels if text == "true" else frozenset()
    named = frozenset(text.split(","))
    if not named <= channels:
        raise InvalidError.of("presence", "is neither true nor false, nor names of these channels")
    return named


def _read_names(text: str) -> dict[str, Position | None]:
    found = [_NAMED.fullmatch(part) for part in text.split(",")]
    if None in found:
        raise InvalidError.of("streams", "is not a list of <name> or <name>@<offset>/<epoch>")
    if len(found) > MOST_STREAMS + 1:
        raise InvalidError.of("streams", f"names more than {MOST_STREAMS} channels")
    wanted = {
        match["name"]: match["offset"] and {"offset": int(match["offset"]), "epoch": match["epoch"]}
        for match in found
        if match is not None
    }
    return _positions(check(schemas.CursorCreate, {"streams": wanted}))


def _positions(wanted: schemas.CursorCreate) -> dict[str, Position | None]:
    if sum(name.startswith("channel:") for name in wanted.streams) > MOST_STREAMS:
        raise InvalidError.of("streams", f"names more than {MOST_STREAMS} channels")
    return {
        name: None if at is None else Position(at.offset, at.epoch)
        for name, at in wanted.streams.items()
    }


def _place(answer: Answer, *, is_named: bool) -> dict[str, Any]:
    place: dict[str, Any] = {
        "cursor": parts().event_cursors.write(answer.positions),
        "positions": {name: at.as_json() for name, at in answer.positions.items()},
        "unsubscribed": [
            json.Raw(one) if isinstance(one, bytes) else one for one in answer.unsubscribed
        ],
    }
    return place | ({"streams": answer.names} if is_named else {})


def _packed(response: Response) -> Response:
    response.headers["Vary"] = "Accept-Encoding"
    body = response.get_data()
    if len(body) >= _WORTH_PACKING_BYTES and request.accept_encodings["gzip"]:
        response.set_data(gzip.compress(body, 5, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response
