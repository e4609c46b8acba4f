"""Plain Flask with SQLAlchemy, for gunicorn, on Fanfare's own rows."""

import os
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from flask import Flask, Response, abort, request
from rows import Channel, channel_by, member_count, members_of, newest, stream_of
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

app = Flask(__name__)
engine = create_engine(os.environ["DATABASE_URL"], pool_size=10)

_MESSAGE = (
    *("id", "channel_id", "offset", "version", "author_id", "author_username"),
    *("body", "data", "reply_to", "key", "created_at"),
)
_MEMBER = ("channel_id", "user_id", "username", "role", "joined_at", "updated_at")
_CHANNEL = ("id", "slug", "name", "kind", "topic", "created_by", "version")


def _json(row: object, names: Iterable[str]) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in names}
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in found.items()}


def _channel(db: Session, slug: str) -> Channel:
    return db.execute(channel_by(slug)).scalar_one_or_none() or abort(404)


@app.get("/channels/<slug>/messages")
def list_messages(slug: str) -> Any:
    """Give the newest messages, unless the client has them."""
    with Session(engine) as db:
        channel = _channel(db, slug)
        top = db.execute(stream_of(channel.id)).scalar_one().top
        etag = f"v{top}"
        if request.if_none_match.contains(etag):
            return Response(status=304, headers={"ETag": f'"{etag}"'})
        found = db.execute(newest(channel.id, int(request.args["limit"]))).scalars()
        body = {"items": [_json(row, _MESSAGE) for row in found]}
        return body, {"ETag": f'"{etag}"'}


@app.get("/channels/<slug>/sync")
def sync(slug: str) -> Any:
    """Give a channel as it is at one position, read in one transaction."""
    with Session(engine) as db:
        db.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        channel = _channel(db, slug)
        stream = db.execute(stream_of(channel.id)).scalar_one()
        members = db.execute(members_of(channel.id)).scalars()
        messages = db.execute(newest(channel.id, int(request.args["messages"]))).scalars()
        return {
            "channel": _json(channel, _CHANNEL),
            "members": [_json(row, _MEMBER) for row in members],
            "member_count": db.execute(member_count(channel.id)).scalar_one(),
            "messages": [_json(row, _MESSAGE) for row in messages][::-1],
            "position": {"offset": stream.top, "epoch": stream.epoch},
        }
