"""One call, as the socket says it and as REST says it, and what the answer means."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fanfare_client.core.events import Position
from fanfare_client.core.outbox import Entry
from fanfare_client.core.streams import Follow

JSON = dict[str, Any]
# Longer lists of streams go into a body: some proxies take no more of an address.
QUERY_AT_MOST = 1500


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a publish. `replayed`: an earlier try had done it."""

    position: Position | None
    replayed: bool
    message: JSON | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A packet of the socket, and the same as a request."""

    packet: str
    argument: JSON
    method: str
    path: str
    body: JSON


def channel_path(channel: str, rest: str = "") -> str:
    """Return the address of a channel, given by id or slug."""
    # Dots are quoted too: the channel ".." must not lead anywhere.
    return f"/channels/{quote(channel, safe='').replace('.', '%2E')}{rest}"


def publish_call(entry: Entry) -> Call:
    """Return how an entry of the outbox is published."""
    kind, _, name = entry.stream.partition(":")
    body = {**entry.body, "key": entry.key}
    if entry.kind == "message":
        path = channel_path(name, "/messages")
        return Call("message.create", {"channel": name, **body}, "POST", path, body)
    return event_call(entry.stream, body, channel=name if kind == "channel" else None)


def event_call(stream: str, body: JSON, *, channel: str | None) -> Call:
    """Return how an event, or a signal, is published."""
    argument = {"stream": stream, **body}
    if channel is None:
        return Call("publish", argument, "POST", "/publish", {"events": [argument]})
    return Call("publish", argument, "POST", channel_path(channel, "/events"), body)


def of_ack(ack: JSON) -> Published:
    """Read the ack of a publish."""
    position = ack.get("position")
    at = Position.of(position) if position else None
    return Published(at, bool(ack.get("replayed")), ack.get("message"))


def of_answer(entry: Entry, body: JSON, headers: Mapping[str, str]) -> Published | JSON:
    """Read the answer to a publish by REST; an error is given in the form of the wire."""
    header = headers.get("Fanfare-Position")
    at = Position.parse(header) if header else None
    if "outcomes" in body:
        outcome: JSON = body["outcomes"][0]
        if not outcome.get("ok"):
            return dict(outcome.get("error") or {})
        return Published(at, bool(outcome.get("replayed")))
    if ("id" if entry.kind == "message" else "event") not in body:
        return {"code": "unavailable", "detail": "This is no answer of a server of ours."}
    replayed = headers.get("Idempotent-Replay") == "true"
    return Published(at, replayed, body if entry.kind == "message" else None)


def streams_query(follows: Iterable[Follow]) -> str | None:
    """Return the streams and where they stand, as a poll names them; None where that is long."""
    names = [f"{f.name}@{f.position}" if f.position else f.name for f in follows]
    text = ",".join(names)
    return text if len(text) <= QUERY_AT_MOST else None


def subscribe_argument(follow: Follow) -> JSON:
    """Return what `subscribe` takes to begin, or to go on, with a stream."""
    argument: JSON = {"stream": follow.name}
    if follow.position:
        argument["after"] = follow.position.wire()
    elif follow.history:
        argument["history"] = follow.history
    if follow.presence:
        argument["presence"] = True
    return argument
