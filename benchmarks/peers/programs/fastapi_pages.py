"""FastAPI with SQLAlchemy, asynchronous, with response models, on Fanfare's own rows."""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Response
from pydantic import BaseModel, ConfigDict
from rows import channel_by, member_count, members_of, newest, stream_of
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

app = FastAPI()
engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=10)
sessions = async_sessionmaker(engine, expire_on_commit=False)


async def session() -> AsyncIterator[AsyncSession]:
    """Give each request a session of its own."""
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


class Row(BaseModel):
    """Read from the attributes of a row."""

    model_config = ConfigDict(from_attributes=True)


class Message(Row):
    """A message."""

    id: str
    channel_id: str
    offset: int
    version: int
    author_id: str
    author_username: str
    body: str | None
    data: str | None
    reply_to: str | None
    key: str | None
    created_at: datetime


class Member(Row):
    """A member."""

    channel_id: str
    user_id: str
    username: str
    role: str
    joined_at: datetime
    updated_at: datetime


class Channel(Row):
    """A channel."""

    id: str
    slug: str | None
    name: str
    kind: str
    topic: str
    created_by: str
    version: int


class Page(BaseModel):
    """A page of messages."""

    items: list[Message]


class Snapshot(BaseModel):
    """A channel as it is."""

    channel: Channel
    members: list[Member]
    member_count: int
    messages: list[Message]
    position: dict[str, Any]


async def _channel(db: AsyncSession, slug: str) -> Any:
    found = (await db.execute(channel_by(slug))).scalar_one_or_none()
    if found is None:
        raise HTTPException(404)
    return found


@app.get("/channels/{slug}/messages", response_model=Page)
async def list_messages(
    slug: str,
    db: Session,
    response: Response,
    limit: int = 50,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Any:
    """Give the newest messages, unless the client has them."""
    channel = await _channel(db, slug)
    top = (await db.execute(stream_of(channel.id))).scalar_one().top
    etag = f'"v{top}"'
    if if_none_match == etag:
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return {"items": (await db.execute(newest(channel.id, limit))).scalars().all()}


@app.get("/channels/{slug}/sync", response_model=Snapshot)
async def sync(slug: str, db: Session, messages: int = 50) -> Any:
    """Give a channel as it is at one position, read in one transaction."""
    await db.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    channel = await _channel(db, slug)
    stream = (await db.execute(stream_of(channel.id))).scalar_one()
    return {
        "channel": channel,
        "members": (await db.execute(members_of(channel.id))).scalars().all(),
        "member_count": (await db.execute(member_count(channel.id))).scalar_one(),
        "messages": (await db.execute(newest(channel.id, messages))).scalars().all()[::-1],
        "position": {"offset": stream.top, "epoch": stream.epoch},
    }
