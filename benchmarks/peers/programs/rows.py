"""Fanfare's tables as its peers map them: what a page and a snapshot need of them."""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, ForeignKey, Select, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

MOST_MEMBERS = 200


class Base(DeclarativeBase):
    """What all tables have in common."""


class User(Base):
    """A user."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str]


class Stream(Base):
    """A stream: its top changes with everything in its channel."""

    __tablename__ = "streams"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    epoch: Mapped[str]
    top: Mapped[int] = mapped_column(BigInteger)


class Channel(Base):
    """A channel."""

    __tablename__ = "channels"
    id: Mapped[str] = mapped_column(primary_key=True)
    slug: Mapped[str | None]
    name: Mapped[str]
    kind: Mapped[str]
    topic: Mapped[str]
    created_by: Mapped[str]
    created_ms: Mapped[int] = mapped_column(BigInteger)
    updated_ms: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)


class Member(Base):
    """A member of a channel."""

    __tablename__ = "members"
    channel_id: Mapped[str] = mapped_column(ForeignKey("channels.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[str]
    joined_ms: Mapped[int] = mapped_column(BigInteger)
    updated_ms: Mapped[int] = mapped_column(BigInteger)
    user: Mapped[User] = relationship()

    @property
    def username(self) -> str:
        """The user's name."""
        return self.user.username

    @property
    def joined_at(self) -> datetime:
        """When the user joined."""
        return time_of(self.joined_ms)

    @property
    def updated_at(self) -> datetime:
        """When that changed."""
        return time_of(self.updated_ms)


class Message(Base):
    """A message of a channel."""

    __tablename__ = "messages"
    channel_id: Mapped[str] = mapped_column(ForeignKey("channels.id"), primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[str]
    author_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    body: Mapped[str | None]
    data: Mapped[str | None]
    reply_to: Mapped[str | None]
    key: Mapped[str | None]
    version: Mapped[int] = mapped_column(BigInteger)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    edited_ms: Mapped[int | None] = mapped_column(BigInteger)
    deleted_ms: Mapped[int | None] = mapped_column(BigInteger)
    author: Mapped[User] = relationship()

    @property
    def author_username(self) -> str:
        """The author's name."""
        return self.author.username

    @property
    def created_at(self) -> datetime:
        """When it was written."""
        return time_of(self.created_ms)


def time_of(milliseconds: int) -> datetime:
    """Give the time that a column's number stands for."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def channel_by(slug: str) -> Select[Channel]:
    """Find a channel."""
    return select(Channel).where(Channel.slug == slug)


def stream_of(channel_id: str) -> Select[Stream]:
    """Find a channel's stream."""
    return select(Stream).where(Stream.name == f"channel:{channel_id}")


def newest(channel_id: str, limit: int) -> Select[Message]:
    """Find the newest messages, with their authors."""
    found = select(Message).where(Message.channel_id == channel_id)
    found = found.options(joinedload(Message.author, innerjoin=True))
    return found.order_by(Message.offset.desc()).limit(limit)


def members_of(channel_id: str) -> Select[Member]:
    """Find the members, with their names."""
    found = select(Member).where(Member.channel_id == channel_id)
    found = found.options(joinedload(Member.user, innerjoin=True))
    return found.order_by(Member.user_id).limit(MOST_MEMBERS)


def member_count(channel_id: str) -> Select[int]:
    """Count the members."""
    return select(func.count()).select_from(Member).where(Member.channel_id == channel_id)
