"""The socket door: who may connect, what becomes of each packet, and whose access has ended.

Every packet is acked: with what its handler gives, or with an error. Nothing is emitted before
authentication, and nothing that a client sends can raise past this module.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from flask import request
from flask_socketio import SocketIO
from socketio.exceptions import ConnectionRefusedError as RefusedError

from core.callers import Caller, Claims
from core.errors import (
    BadRequestError,
    FanfareError,
    InternalError,
    TooManyConnectionsError,
    UnavailableError,
)
from core.events import user_stream
from core.ids import new_id
from core.metrics import CONNECTIONS, GREENLETS, SESSIONS
from core.services.callers import Callers
from core.services.history import Wish
from core.services.lookups import Lookups
from core.store.database import Database
from core.times import now_ms, to_rfc3339
from core.validation import check
from realtime import green
from realtime.access_ends import AccessEnds
from realtime.connection import Carrier, Connection, ConnectionLimits
from realtime.connections import Connections
from realtime.deflate import Packing
from realtime.dispatch import Dispatcher, Handlers
from realtime.engine import Engine
from realtime.node import Node, Outcome
from realtime.packets import Auth
from realtime.presence import Presence
from realtime.session import EngineTerms
from realtime.socketio_text import Sent
from realtime.wire import Polled, Wire

_log = structlog.get_logger(__name__)

# So long before its token expires, a connection is told.
_WARNING_S = 60
_DRAINING = ("draining", "The node is shutting down.", "later")


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What is allowed at this door, and told to clients in `ready`."""

    connection: ConnectionLimits
    max_connections_per_user: int
    max_event_bytes: int
    auth_timeout_s: float
    max_packet_bytes: int
    ping_interval_s: float
    ping_timeout_s: float
    packing: Packing | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What the gateway works with."""

    db: Database
    node: Node
    presence: Presence
    callers: Callers
    verify: Callable[[str], Claims]
    lookups: Lookups
    node_id: str
    limits: GatewayLimits


class Gateway:
    """Handles everything that comes in by sockets."""

    def __init__(self, socketio: SocketIO, parts: Parts, handlers: Handlers) -> None:
        self.parts = parts
        self.connections: Connections[Connection] = Connections(CONNECTIONS)
        self.access = AccessEnds(self, parts.callers, parts.lookups)
        self._dispatcher = Dispatcher(self, handlers)
        self._spread: Callable[[int], list[float]] | None = None
        self._server: Any = socketio.server  # type: ignore[attr-defined]
        socketio.on_event("connect", self._on_connect)
        self._wire = Wire(
            self._server,
            self,
            auth_timeout_s=parts.limits.auth_timeout_s,
            max_queued_bytes=parts.limits.connection.max_queued_bytes,
        )
        self.engine = Engine(self, _terms_of(parts.limits), self._name_session)
        parts.node.tell_controls_to(self.access.on_control)

    # Connecting.

    def _name_session(self) -> str:
        return str(self._server.eio.generate_id())

    def _on_connect(self, auth: object = None) -> None:
        # Whatever happens here must end in this one exception: for a TypeError the library
        # would call again, without the token.
        try:
            self._admit_polled(auth, request.sid)  # type: ignore[attr-defined]
        except FanfareError as error:
            raise _refusal(error) from None
        except Exception:  # noqa: BLE001 - see above
            _log.exception("connect failed")
            raise _refusal(InternalError("The server failed.")) from None

    def _admit_polled(self, auth: object, sid: str) -> None:
        eio_sid = self._server.manager.eio_sid_from_sid(sid, "/")
        socket = self._server.eio.sockets.get(eio_sid)
        if socket is None:
            raise UnavailableError("The connection is gone.")
        # Whoever knows the name of such a session could speak in it: it is told to nobody else.
        self._admit(Polled(socket), auth, eio_sid, new_id())

    def admit(self, carrier: Carrier, auth: object, name: str) -> Connection:
        """Let a client in, under the name of its session, which is its connection's id, too.

        Raises:
            FanfareError: never anything else.
        """
        return self._admit(carrier, auth, name, name)

    def _admit(self, carrier: Carrier, auth: object, name: str, id_: str) -> Connection:
        try:
            return self._try_to_admit(carrier, auth, name, id_)
        except FanfareError:
            raise
        except Exception:  # noqa: BLE001 - a bug of ours is none of the client's business
            _log.exception("connect failed")
            raise InternalError("The server failed.") from None

    def _try_to_admit(self, carrier: Carrier, auth: object, name: str, id_: str) -> Connection:
        claims = self.parts.verify(check(Auth, auth if isinstance(auth, dict) else {}).token)
        caller, profile = self.parts.callers.ask(lambda: self.parts.lookups.admit(claims))
        limits = self.parts.limits
        if self.connections.count(caller.user_id) >= limits.max_connections_per_user:
            raise TooManyConnectionsError("You have too many open connections.")
        if carrier.is_closed:
            # It went away while we asked the database; nobody would let go of it again.
            raise UnavailableError("The connection is gone.")
        other = self.connections.latest(caller.user_id)
        # Tabs of one login are one caller: kept once.
        caller = other.caller if other is not None and other.caller == caller else caller
        connection = Connection(carrier, caller, limits.connection, id_)
        connection.profile = profile
        self.connections.add(name, connection)
        _log.info("connected", connection=connection.id, user=caller.user_id)
        return connection

    def _authenticate(self, token: str) -> Caller:
        claims = self.parts.verify(token)
        return self.parts.callers.authenticate(claims, self.parts.lookups.authenticate)

    def find(self, name: str) -> Connection | None:
        """Look a client up that was accepted."""
        return self.connections.find(name)

    def on_connected(self, connection: Connection) -> None:
        """Greet a client: it follows its own stream from now on."""
        try:
            self._try_to_greet(connection)
        finally:
            connection.end_packet()
        if self._spread is not None:
            # It came in while everybody else was sent away.
            connection.leave_when_quiet(*_DRAINING, self._spread(len(self.connections) or 1)[0])

    def _try_to_greet(self, connection: Connection) -> None:
        try:
            self._greet(connection)
        except FanfareError as error:
            connection.say_goodbye(error.code, error.detail, "later", 1)
        except Exception:  # noqa: BLE001 - the client must not be left without a word
            _log.exception("greeting failed", connection=connection.id)
            connection.say_goodbye("internal", "The server failed.", "later", 5)

    def _greet(self, connection: Connection) -> None:
        own = sys.intern(user_stream(connection.user_id))
        profile, connection.profile = connection.profile, None
        connection.watch([own])
        self.parts.presence.arrive(connection)
        self._watch_expiry(connection)

        def answer(outcomes: dict[str, Outcome]) -> None:
            if own not in outcomes:
                raise UnavailableError("Your stream can't be read.")
            if not outcomes[own].more:
                position = outcomes[own].position.as_json()
                connection.emit("ready", self._ready(connection, profile, position))

        while not (connection.is_over() or self.parts.node.hub.is_live(own, connection)):
            self.parts.node.subscribe(connection, {own: Wish()}, 1, answer)

    def _ready(self, connection: Connection, profile: Any, position: Any) -> dict[str, Any]:
        limits = self.parts.limits
        return {
            "user": profile,
            "connection_id": connection.id,
            "node": self.parts.node_id,
            "server_time": to_rfc3339(now_ms()),
            "limits": {
                "max_event_bytes": limits.max_event_bytes,
                "max_subscriptions": limits.connection.max_subscriptions,
                "max_queued_bytes": limits.connection.max_queued_bytes,
                "max_events_per_s": limits.connection.max_events_per_s,
                "ping_interval_s": limits.ping_interval_s,
                "ping_timeout_s": limits.ping_timeout_s,
            },
            "position": position,
        }

    # The token's end.

    def _watch_expiry(self, connection: Connection) -> None:
        connection.cancel_timers()
        # Who is visited needs no timers yet: `look_ahead` sets them in time.
        visit_s = 2 * self.parts.limits.ping_interval_s
        self.look_ahead(connection, visit_s if connection.is_visited else math.inf)

    def look_ahead(self, connection: Connection, seconds: float) -> None:
        """Set the timers for the end of a token, if its warning is due in so long."""
        left_s = (connection.caller.expires_at_ms - now_ms()) / 1000
        if connection.timers or left_s - _WARNING_S > seconds or connection.is_over():
            return
        connection.timers = (
            green.later(max(0, left_s - _WARNING_S), self._warn, connection),
            green.later(max(0, left_s), self._expire, connection),
        )

    def _warn(self, connection: Connection) -> None:
        left_s = max(0, round((connection.caller.expires_at_ms - now_ms()) / 1000))
        connection.emit("auth.expiring", {"expires_in": left_s})

    def _expire(self, connection: Connection) -> None:
        connection.say_goodbye("token_expired", "The access token has expired.", "now")

    def refresh(self, connection: Connection, token: str) -> int:
        """Go on with a fresh token of the same user; give the seconds that it is good for.

        Raises:
            UnauthorizedError.
        """
        caller = self._authenticate(token)
        if caller.user_id != connection.user_id:
            raise BadRequestError("The token is another user's.")
        connection.caller = caller
        self._watch_expiry(connection)
        return max(0, (caller.expires_at_ms - now_ms()) // 1000)

    # Packets.

    def on_packets(self, connection: Connection, packets: Sequence[Sent]) -> None:
        """Handle packets of one client in their order, and ack each, whatever happens."""
        self._dispatcher.on_packets(connection, packets)

    def on_malformed(self, connection: Connection, detail: str, ack_id: str | None) -> None:
        """Refuse what is no event."""
        self._dispatcher.on_malformed(connection, detail, ack_id)

    # Endings.

    def on_gone(self, name: str) -> None:
        """Let go of everything that a closed connection held."""
        connection = self.connections.remove(name)
        if connection is None:
            return
        connection.is_ending = True
        connection.cancel_timers()
        for stream in connection.streams:
            self.parts.node.unsubscribe(connection, stream)
        self.parts.presence.gone(connection.id, time.monotonic())
        _log.info("disconnected", connection=connection.id, user=connection.user_id)

    # What `AccessEnds` asks for.

    def clients_of(self, user_id: str) -> list[Connection]:
        """Give a user's connections."""
        return self.connections.of_user(user_id)

    def watchers_of(self, stream: str) -> list[Connection]:
        """Give the connections that follow a stream."""
        return [one for one in self.parts.node.hub.watchers(stream) if isinstance(one, Connection)]

    def end_subscription(self, connection: Connection, stream: str, code: str) -> None:
        """Stop a watcher that lost access, and tell it."""
        connection.unwatch([stream])
        self.parts.node.unsubscribe(connection, stream)
        self.leave_presence(connection, stream)
        connection.emit("unsubscribed", {"stream": stream, "code": code})

    def leave_presence(self, connection: Connection, stream: str) -> None:
        """Have a connection no longer be present in a stream."""
        if stream in connection.presence:
            connection.presence -= {stream}
            self.parts.presence.leave(connection.id, stream)

    def hide(self, connection: Connection) -> None:
        """Have a connection no longer be present anywhere."""
        self.parts.presence.depart(connection.id)

    # The end of the node.

    def begin_to_leave(self, spread: Callable[[int], list[float]]) -> None:
        """Tell everybody that another node, or the successor, takes over: once they are answered.

        `spread(n)` gives n times, in seconds, at which they shall come back.
        """
        self._spread = spread
        connections = list(self.connections)
        for connection, seconds in zip(connections, spread(len(connections)), strict=True):
            connection.leave_when_quiet(*_DRAINING, seconds)

    def go_on_leaving(self) -> bool:
        """Say the goodbyes that can be said by now; tell whether nobody is left."""
        for connection in self.connections:
            connection.go_on_leaving()
        # Each of them goes on, also behind one that is not done.
        return all([self._wire.leave(), self.engine.leave()])

    def measure(self) -> None:
        """Set the gauges that are not kept up to date all the time."""
        GREENLETS.set(green.count_greenlets())
        SESSIONS.set(len(self._server.eio.sockets) + len(self.engine))


def _terms_of(limits: GatewayLimits) -> EngineTerms:
    return EngineTerms(
        limits.ping_interval_s,
        limits.ping_timeout_s,
        limits.max_packet_bytes,
        limits.connection.max_queued_bytes,
        limits.auth_timeout_s,
        limits.packing,
    )


def _refusal(error: FanfareError) -> RefusedError:
    return RefusedError(error.detail, {"code": error.code, "detail": error.detail})
