"""One function a packet: from its validated form to one service, and to its ack."""

import math
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from core import json
from core.errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    RateLimitedError,
    TooManySubscriptionsError,
    UnavailableError,
    describe,
)
from core.events import user_stream
from core.services import messages, publish, reads
from core.services.history import Wish
from realtime import packets
from realtime.connection import Connection
from realtime.dispatch import Handler, Pending, Reply, Together
from realtime.gateway import Gateway
from realtime.node import Outcome
from realtime.presence_store import Roster

Ack = dict[str, Any]


def _subscribe(
    gateway: Gateway, connection: Connection, packet: packets.Subscribe, reply: Reply
) -> None:
    after = packet.after.position() if packet.after else None
    wishes = {packet.stream: Wish(after, packet.history)}
    present = {packet.stream} if packet.presence else set()

    def answer(acks: dict[str, Ack]) -> None:
        ack = acks[packet.stream]
        if "error" in ack:
            raise NotFoundError(ack["error"]["detail"])
        reply(ack)

    _watch(gateway, connection, wishes, answer, limit=packet.limit, present=present)


def _resume(gateway: Gateway, connection: Connection, packet: packets.Resume, reply: Reply) -> None:
    wishes = {stream: Wish(at.position()) for stream, at in packet.positions.items()}
    _watch(
        gateway,
        connection,
        wishes,
        lambda acks: reply({"streams": acks}),
        limit=500,
        present=set(packet.presence),
    )


def _watch(
    gateway: Gateway,
    connection: Connection,
    wishes: Mapping[str, Wish],
    answer: Any,
    *,
    limit: int,
    present: set[str],
) -> None:
    """Subscribe to all of `wishes`, and answer with an ack for each."""
    _check_presence(wishes, present)
    names = gateway.access.readable(connection.caller, wishes)
    if connection.is_ending:
        # It ended while we asked the database, and what it watched was let go of: nobody would
        # let go of what is added now.
        raise UnavailableError("The connection is ending.")
    _check_room(gateway, connection, set(names.values()))
    wanted = {names[asked] for asked in present if asked in names}
    _take_presence(connection, len(wanted))
    # One text for all who watch it.
    connection.watch(map(sys.intern, names.values()))
    by_name = {name: wishes[asked] for asked, name in names.items()}
    watched: set[str] = set()
    rosters: dict[str, Roster | None] = {}

    def prepare(streams: list[str]) -> None:
        shown = [stream for stream in streams if stream in wanted]
        if len(shown) < len(wanted):
            connection.presence_bucket.give_back(len(wanted) - len(shown))
        if shown:
            connection.presence |= frozenset(shown)
            rosters.update(gateway.parts.presence.enter(connection.id, shown))

    def on_outcomes(outcomes: dict[str, Outcome]) -> None:
        watched.update(outcomes)
        answer({asked: _ack_of(outcomes.get(names.get(asked, "")), rosters) for asked in wishes})

    try:
        gateway.parts.node.subscribe(connection, by_name, limit, on_outcomes, prepare=prepare)
    finally:
        connection.unwatch(by_name.keys() - watched)
        for stream in by_name.keys() - (rosters.keys() & watched):
            gateway.leave_presence(connection, stream)


def _check_presence(wishes: Mapping[str, Wish], present: set[str]) -> None:
    for stream in present:
        if stream not in wishes:
            raise InvalidError.of("presence", "names a stream that is not in positions")
        if not stream.startswith("channel:"):
            raise InvalidError.of("presence", "only channels have it")


def _take_presence(connection: Connection, streams: int) -> None:
    if not streams:
        return
    wait_s = connection.presence_bucket.take(time.monotonic(), streams)
    if wait_s:
        raise RateLimitedError("Too much presence.", math.ceil(wait_s * 1000) / 1000)


def _check_room(gateway: Gateway, connection: Connection, wanted: set[str]) -> None:
    # The own stream comes on top: nobody asked for it.
    most = gateway.parts.limits.connection.max_subscriptions + 1
    if len(wanted.union(connection.streams)) > most:
        raise TooManySubscriptionsError(f"A connection may watch {most - 1} streams.")


def _ack_of(outcome: Outcome | None, rosters: Mapping[str, Roster | None]) -> Ack:
    if outcome is None:
        return {"ok": False, "error": describe(NotFoundError("There is no such stream."))}
    ack: Ack = {
        "ok": True,
        "stream": outcome.stream,
        "position": outcome.position.as_json(),
        "events": [json.Raw(event) for event in outcome.events],
        "more": outcome.more,
        "reset": outcome.reset.as_json() if outcome.reset else None,
    }
    if outcome.stream in rosters:
        roster = rosters[outcome.stream]
        ack["presence"] = roster.as_json() if roster else None
    return ack


def _unsubscribe(
    gateway: Gateway, connection: Connection, packet: packets.Unsubscribe, _reply: Reply
) -> Ack:
    stream = _full_name(gateway, connection, packet.stream)
    if stream == user_stream(connection.user_id):
        raise ForbiddenError("Every connection watches its user's own stream.")
    if stream not in connection.streams:
        raise NotFoundError("You do not watch this stream.")
    connection.unwatch([stream])
    gateway.parts.node.unsubscribe(connection, stream)
    gateway.leave_presence(connection, stream)
    return {}


def _full_name(gateway: Gateway, connection: Connection, asked: str) -> str:
    if asked in connection.streams:
        return asked
    return gateway.access.readable(connection.caller, [asked]).get(asked, asked)


def _publish(gateway: Gateway, connection: Connection, packet: packets.Publish) -> Pending:
    draft = publish.Draft(packet.stream, packet.type, packet.data, packet.key, packet.ephemeral)
    if packet.ephemeral:
        return Pending(partial(_signal, gateway, connection, draft))
    max_bytes = gateway.parts.limits.max_event_bytes
    intent = publish.intend(connection.caller, draft, max_bytes=max_bytes)
    return Pending(lambda: _published(publish.published(intent)), intent)


def _published(done: publish.Published) -> Ack:
    return {"position": done.event.position.as_json(), "replayed": done.replayed}


def _signal(gateway: Gateway, connection: Connection, draft: publish.Draft) -> Ack:
    parts, max_bytes = gateway.parts, gateway.parts.limits.max_event_bytes
    signal = publish.signal(parts.lookups.rights, connection.caller, draft, max_bytes=max_bytes)
    parts.node.emit_signal(signal, but=connection)
    return {}


def _message_create(
    gateway: Gateway, connection: Connection, packet: packets.MessageCreate
) -> Pending:
    draft = messages.MessageDraft(packet.body, packet.data, packet.reply_to, packet.key)
    max_bytes = gateway.parts.limits.max_event_bytes
    intent = messages.intend(connection.caller, packet.channel, draft, max_bytes=max_bytes)
    return Pending(lambda: _posted(messages.posted(intent)), intent)


def _message_update(
    gateway: Gateway, connection: Connection, packet: packets.MessageUpdate, _reply: Reply
) -> Ack:
    return _posted(
        messages.edit(
            gateway.parts.db,
            connection.caller,
            packet.channel,
            packet.id,
            {"body": packet.body},
            _any_version,
            max_bytes=gateway.parts.limits.max_event_bytes,
        )
    )


def _message_delete(
    gateway: Gateway, connection: Connection, packet: packets.MessageDelete, _reply: Reply
) -> Ack:
    return _posted(
        messages.delete(
            gateway.parts.db, connection.caller, packet.channel, packet.id, _any_version
        )
    )


def _any_version(_version: int) -> None:
    """Expect nothing: the socket has no If-Match."""


def _posted(posted: messages.Posted) -> Ack:
    position = posted.event.position.as_json() if posted.event else None
    return {"message": posted.message, "position": position, "replayed": posted.replayed}


def _typing(gateway: Gateway, connection: Connection, packet: packets.Typing, _reply: Reply) -> Ack:
    signal = publish.typing(gateway.parts.lookups.rights, connection.caller, packet.channel)
    gateway.parts.node.emit_signal(signal, but=connection)
    return {}


def _read(gateway: Gateway, connection: Connection, packet: packets.Read, _reply: Reply) -> Ack:
    mark = reads.mark(gateway.parts.db, connection.caller, packet.channel, packet.offset)
    return mark.as_json()


def _presence_set(
    gateway: Gateway, connection: Connection, packet: packets.PresenceSet, _reply: Reply
) -> Ack:
    _take_presence(connection, len(connection.presence))
    gateway.parts.presence.set_status(connection.id, packet.status)
    return {}


def _auth_refresh(
    gateway: Gateway, connection: Connection, packet: packets.AuthRefresh, _reply: Reply
) -> Ack:
    return {"expires_in": gateway.refresh(connection, packet.token)}


HANDLERS: dict[str, Handler | Together] = {
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "resume": _resume,
    "publish": Together(_publish),
    "message.create": Together(_message_create),
    "message.update": _message_update,
    "message.delete": _message_delete,
    "typing": _typing,
    "read": _read,
    "presence.set": _presence_set,
    "auth.refresh": _auth_refresh,
}
