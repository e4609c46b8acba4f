"""What reads are to say, put together row by row from the tables, by none of the program's queries.

Slow, and simple enough to be believed: what is read quickly, or kept, is compared with it.
"""

from sqlalchemy import select

from core import json
from core.store import models as m
from core.times import to_rfc3339


def snapshot(db, caller, channel_id, count):
    """Give what a sync is to say; None where the channel is none of the caller's business."""
    with db.snapshot() as conn:

        def rows(table, **where):
            wanted = [table.c[name] == value for name, value in where.items()]
            return [row._asdict() for row in conn.execute(select(table).where(*wanted))]

        (channel,) = rows(m.channels, id=channel_id)
        (stream,) = rows(m.streams, name=f"channel:{channel_id}")
        names = {row["id"]: row["username"] for row in rows(m.users)}
        everybody = sorted(rows(m.members, channel_id=channel_id), key=lambda it: it["user_id"])
        said = sorted(rows(m.messages, channel_id=channel_id), key=lambda it: it["offset"])
        marks = rows(m.reads, channel_id=channel_id, user_id=caller.user_id)
    mine = [row for row in everybody if row["user_id"] == caller.user_id]
    may_all = caller.is_admin and channel["kind"] != "direct"
    if channel["deleted_ms"] or not (channel["kind"] == "public" or mine or may_all):
        return None
    read_offset = marks[0]["offset"] if marks else 0
    fresh = [row for row in said if row["offset"] > read_offset and row["deleted_ms"] is None]
    told = [member_json(row, names) for row in everybody]
    return {
        "channel": channel_json(channel),
        "membership": next((row for row in told if row["user_id"] == caller.user_id), None),
        "members": told,
        "member_count": len(everybody),
        "messages": [message_json(row, names) for row in said[-count:]],
        "presence": None,
        "read_offset": read_offset,
        "unread": sum(row["author_id"] != caller.user_id for row in fresh),
        "position": {"offset": stream["top"], "epoch": stream["epoch"]},
    }


def channel_json(row):
    plain = ("id", "slug", "name", "kind", "topic", "created_by", "version")
    times = {name: to_rfc3339(row[f"{name}_ms"]) for name in ("created", "updated")}
    return {name: row[name] for name in plain} | {f"{n}_at": at for n, at in times.items()}


def member_json(row, names):
    return {
        "channel_id": row["channel_id"],
        "user_id": row["user_id"],
        "username": names[row["user_id"]],
        "role": row["role"],
        "joined_at": to_rfc3339(row["joined_ms"]),
        "updated_at": to_rfc3339(row["updated_ms"]),
    }


def message_json(row, names):
    plain = ("id", "channel_id", "offset", "version", "author_id", "body", "reply_to", "key")
    found = {name: row[name] for name in plain}
    found["author_username"] = names[row["author_id"]]
    found["data"] = None if row["data"] is None else json.loads(row["data"])
    for name in ("created", "edited", "deleted"):
        at_ms = row[f"{name}_ms"]
        found[f"{name}_at"] = None if at_ms is None else to_rfc3339(at_ms)
    return found


def page(db, caller, channel_id, count):
    """Give the newest messages as a page is to say, newest first; None as above."""
    told = snapshot(db, caller, channel_id, 10**6)
    return told and told["messages"][::-1][:count]
