"""The tables, the same on SQLite and PostgreSQL.

Times are whole milliseconds. Ids compare byte by byte on both ("C" on PostgreSQL), so pages come
in the same order. Migrations are made from these models.
"""

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
db = SQLAlchemy(metadata=metadata)


def _text(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


_ID = _text(36)
# SQLite gives row ids by itself only to a column declared INTEGER.
_SERIAL = BigInteger().with_variant(Integer, "sqlite")

users = Table(
    "users",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("username", _text(32), nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("user_id", _ID, ForeignKey("users.id"), nullable=False),
    # The one refresh token of the family that is still good.
    Column("refresh_id", _ID, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Index("ix_sessions_user_id_id", "user_id", "id"),
    Index("ix_sessions_expires_ms", "expires_ms"),
)

tickets = Table(
    "tickets",
    metadata,
    Column("digest", _text(64), primary_key=True),
    Column("user_id", _ID, ForeignKey("users.id"), nullable=False),
    Column("session_id", _ID, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("token_expires_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("ix_tickets_expires_ms", "expires_ms"),
    Index("ix_tickets_session_id", "session_id"),
)

access_changes = Table(
    "access_changes",
    metadata,
    Column("id", _SERIAL, primary_key=True),
    Column("kind", _text(16), nullable=False),
    Column("user_id", _ID, nullable=False),
    Column("session_id", _ID, nullable=False),
    Column("stream", _text(48), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_access_changes_at_ms", "at_ms"),
    # An id must never come again: who has read up to it would miss the second one.
    sqlite_autoincrement=True,
)

streams = Table(
    "streams",
    metadata,
    Column("id", _SERIAL, primary_key=True),
    Column("name", _text(48), nullable=False, unique=True),
    Column("epoch", _text(16), nullable=False),
    Column("top", BigInteger, nullable=False),
    Column("trimmed", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("stream_id", BigInteger, ForeignKey("streams.id"), primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("type", _text(128), nullable=False),
    Column("data", Text, nullable=False),
    # The publisher: a user's id, or '' for the server. Not NULL, so that the index below holds.
    Column("actor", _ID, nullable=False),
    Column("key", _text(128)),
    # Tells a retry from another publish that took the same key.
    Column("digest", _text(32)),
    Column("at_ms", BigInteger, nullable=False),
)
Index(
    "uq_events_stream_id_actor_key",
    events.c.stream_id,
    events.c.actor,
    events.c.key,
    unique=True,
    sqlite_where=text("key IS NOT NULL"),
    postgresql_where=text("key IS NOT NULL"),
)

channels = Table(
    "channels",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("slug", _text(64), unique=True),
    # The two user ids of a direct channel, sorted: one such channel for each pair.
    Column("pair", _text(73), unique=True),
    Column("name", _text(80), nullable=False),
    Column("kind", _text(8), nullable=False),
    Column("topic", Text, nullable=False),
    Column("created_by", _ID, ForeignKey("users.id"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),
    Index("ix_channels_kind_name_id", "kind", "name", "id"),
    Index("ix_channels_name_id", "name", "id"),
)

members = Table(
    "members",
    metadata,
    Column("channel_id", _ID, ForeignKey("channels.id"), primary_key=True),
    Column("user_id", _ID, ForeignKey("users.id"), primary_key=True),
    Column("role", _text(16), nullable=False),
    Column("joined_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Index("ix_members_user_id_channel_id", "user_id", "channel_id"),
)

reads = Table(
    "reads",
    metadata,
    Column("user_id", _ID, ForeignKey("users.id"), primary_key=True),
    Column("channel_id", _ID, ForeignKey("channels.id"), primary_key=True),
    Column("offset", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("channel_id", _ID, ForeignKey("channels.id"), primary_key=True),
    # The offset of its message.created: pages follow the stream's order.
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("id", _ID, nullable=False, unique=True),
    Column("author_id", _ID, ForeignKey("users.id"), nullable=False),
    Column("body", Text),
    Column("data", Text),
    Column("reply_to", _ID),
    Column("key", _text(128)),
    # The offset of the newest event that changed it.
    Column("version", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("edited_ms", BigInteger),
    Column("deleted_ms", BigInteger),
    Index("ix_messages_channel_id_author_id_offset", "channel_id", "author_id", "offset"),
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("user_id", _ID, ForeignKey("users.id"), nullable=False),
    Column("kind", _text(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text),
    Column("data", Text),
    Column("collapse", _text(128)),
    Column("read", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("ix_notifications_user_id_id", "user_id", "id"),
    Index("ix_notifications_user_id_read_id", "user_id", "read", "id"),
    Index("ix_notifications_user_id_kind_id", "user_id", "kind", "id"),
)
# At most one unread notification of a user stands for each `collapse`.
Index(
    "uq_notifications_user_id_collapse",
    notifications.c.user_id,
    notifications.c.collapse,
    unique=True,
    sqlite_where=text("collapse IS NOT NULL AND NOT read"),
    postgresql_where=text("collapse IS NOT NULL AND NOT read"),
)
