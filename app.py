"""The composition root: alone knows every part, makes them and wires them."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from flask import Flask
from flask_socketio import SocketIO
from werkzeug.middleware.proxy_fix import ProxyFix

import logs
from api import (
    accounts,
    channels,
    edge,
    errors,
    events,
    fallback,
    messages,
    notifications,
    openapi,
    presence,
    system,
    users,
)
from api.cache import PageCache
from api.cursors import Cursors
from api.limits import RateLimits
from api.limits_redis import make_store
from api.parts import Parts as ApiParts
from api.routing import Api
from api.tokens import Tokens
from api.web import Web
from config import Settings, SettingsError, with_secret
from core.event_cursor import EventCursors
from core.passwords import Passwords
from core.services import accounts as account_services
from core.services.access_log import AccessLog
from core.services.callers import Callers
from core.services.history import LogReader
from core.services.lookups import Lookups
from core.services.retention import Retention
from core.store.connecting import config_of_database
from core.store.database import Database
from core.store.models import db as flask_db
from core.store.schema import schema_is_current
from jobs import retention
from realtime import asyncapi, deflate, green, writers
from realtime.access_watch import AccessWatch
from realtime.bus import Bus
from realtime.bus_memory import MemoryBus
from realtime.bus_redis import RedisBus
from realtime.client_redis import RedisAddress, RedisRefusedError
from realtime.connection import ConnectionLimits
from realtime.drain import Drain, DrainTimes
from realtime.followers import FollowerLimits, FollowerParts, Followers
from realtime.gateway import Gateway, GatewayLimits
from realtime.gateway import Parts as GatewayParts
from realtime.green_door import Guests
from realtime.green_line import take_socket
from realtime.handlers import HANDLERS
from realtime.handshakes import (
    QuickHandshakes,
    Terms,
    guard_handshakes,
    is_own_or_allowed,
    name_sessions,
)
from realtime.hub import Hub
from realtime.node import Node, NodeLimits
from realtime.presence import Presence, PresenceLimits
from realtime.presence_memory import MemoryPresence
from realtime.presence_redis import RedisPresence
from realtime.presence_store import PresenceStore
from realtime.wire import plug_in_websocket

__version__ = "0.1.0"
_ROOT = Path(__file__).resolve().parent
_APIS: list[Api] = [
    accounts.api,
    users.api,
    channels.api,
    messages.api,
    events.api,
    fallback.api,
    notifications.api,
    presence.api,
]
_PAGE_CACHE_BYTES = 16 * 1024 * 1024
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fanfare:
    """A whole program, ready to serve or to be used from the command line."""

    settings: Settings
    flask: Flask
    db: Database
    tokens: Tokens
    node: Node | None = None
    gateway: Gateway | None = None
    access_watch: AccessWatch | None = None
    presence: Presence | None = None
    drain: Drain | None = None
    guests: Guests | None = None

    def get_drain(self) -> Drain:
        """Give what ends this node; what is no whole node has none."""
        if self.drain is None:
            raise ValueError("only a whole node has an end")
        return self.drain

    def get_guests(self) -> Guests:
        """Give what takes WebSockets away from the HTTP server; what is no whole node has none."""
        if self.guests is None:
            raise ValueError("only a whole node has guests")
        return self.guests

    def measure(self) -> None:
        """Set the gauges that are not kept up to date all the time."""
        if self.gateway is not None:
            self.gateway.measure()


def create_core(settings: Settings) -> Fanfare:
    """Make what needs no server: the database, and what makes tokens."""
    settings = with_secret(settings)
    flask = Web(__name__, static_folder=None)
    flask.config.update(
        SECRET_KEY=settings.secret_key,
        JWT_SECRET_KEY=settings.secret_key,
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        **config_of_database(settings.database_uri, settings.database_pool_size),
    )
    _make_folder(settings)
    flask_db.init_app(flask)
    flask.teardown_appcontext_funcs.clear()  # they would end sessions of the ORM: there are none
    with flask.app_context():
        db = Database(
            flask_db.engine,
            reads=flask_db.engines.get("reads"),
            sqlite_synchronous=settings.sqlite_synchronous,
            wait_readable=green.get_waiter(),
        )
    tokens = Tokens(
        flask,
        access_ttl_s=settings.access_token_ttl_s,
        refresh_ttl_s=settings.refresh_token_ttl_s,
    )
    return Fanfare(settings, flask, db, tokens)


def _make_folder(settings: Settings) -> None:
    Path(settings.instance_path).mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.database_file is not None:
        settings.database_file.parent.mkdir(parents=True, exist_ok=True)


def create_app(settings: Settings) -> Fanfare:
    """Make a whole node."""
    logs.set_up(settings.log_level)
    fanfare = create_core(settings)
    settings, flask, db, tokens = fanfare.settings, fanfare.flask, fanfare.db, fanfare.tokens
    node_id = _make_node_id(settings)
    node = Node(
        Hub(writer=writers.choose(native_wanted=settings.native_writer == "on")),
        _make_bus(settings, node_id),
        LogReader(db),
        NodeLimits(compare_interval_s=settings.compare_interval_s),
    )
    lookups = Lookups(db, beside=green.run)
    # Before the node tells anybody: who acts on what they hear is judged anew.
    db.announce_to(lookups.rights.on_committed)
    db.announce_to(node.committed)
    callers = Callers(partial(account_services.authenticate, db))
    # The first to hear of it: whoever acts on it asks anew who is calling.
    node.tell_controls_to(callers.forget)
    node.tell_controls_to(lookups.rights.forget)
    seen = _make_presence(settings, node_id, node)
    cursors = EventCursors(settings.secret_key)
    followers = Followers(
        FollowerParts(node, seen, callers, lookups, cursors, node_id, _follower_limits(settings))
    )
    _add_api(flask, settings, db, callers, tokens, node, seen, followers)
    gateway = _add_gateway(flask, settings, db, callers, tokens, node, node_id, seen, lookups)
    drain = Drain([gateway, followers], DrainTimes(settings.drain_window_s, settings.grace_s))
    _add_system(flask, db, node, gateway, drain)
    guests = _guard_sockets(flask, settings, gateway, drain)
    # Around all, so that sockets are judged by the address that the client called, too.
    flask.wsgi_app = _behind_proxies(settings, flask.wsgi_app)  # type: ignore[method-assign]
    access_watch = AccessWatch(AccessLog(db), node.act_on)
    node.tell_controls_to(access_watch.on_control)
    node.judge_controls_by(access_watch.judge)
    for end in (access_watch.stop, seen.stop, node.stop, db.close):
        drain.at_end(end)
    return Fanfare(settings, flask, db, tokens, node, gateway, access_watch, seen, drain, guests)


def _behind_proxies(settings: Settings, app: Any) -> Any:
    hops = settings.trusted_proxies
    return ProxyFix(app, x_for=hops, x_proto=hops, x_host=hops) if hops else app


def redis_answers(settings: Settings) -> bool:
    """Ask once whether Redis is there. Where it is away the node starts, and is not ready yet.

    Raises:
        SettingsError: it is there, and refuses us.
    """
    try:
        return _redis_address(settings).check()
    except RedisRefusedError as error:
        raise SettingsError(f"REDIS_URL: Redis refuses us: {error}") from error


def _redis_address(settings: Settings) -> RedisAddress:
    certificates = (settings.redis_ca_file, settings.redis_cert_file, settings.redis_key_file)
    return RedisAddress(settings.redis_url, *certificates)


def _make_bus(settings: Settings, node_id: str) -> Bus:
    if not settings.redis_url:
        return MemoryBus()
    return RedisBus(_redis_address(settings), node_id, settings.redis_space)


def _make_presence(settings: Settings, node_id: str, node: Node) -> Presence:
    limits = PresenceLimits(
        settings.presence_lease_s, settings.presence_grace_s, settings.presence_roster_most
    )
    return Presence(_make_presence_store(settings, node_id), node.emit_signal, limits)


def _make_presence_store(settings: Settings, node_id: str) -> PresenceStore:
    if not settings.redis_url:
        return MemoryPresence(node_id=node_id, lease_s=settings.presence_lease_s)
    return RedisPresence(
        _redis_address(settings).client,
        prefix=settings.redis_space,
        node_id=node_id,
        lease_s=settings.presence_lease_s,
    )


def _store_of_limits(settings: Settings) -> Callable[[], Any] | None:
    if not settings.redis_url:
        return None
    return partial(make_store, _redis_address(settings).client, settings.redis_space)


def _follower_limits(settings: Settings) -> FollowerLimits:
    return FollowerLimits(settings.max_queued_bytes, settings.max_connections_per_user)


def _add_api(
    flask: Flask,
    settings: Settings,
    db: Database,
    callers: Callers,
    tokens: Tokens,
    node: Node,
    seen: Presence,
    followers: Followers,
) -> None:
    flask.extensions["fanfare"] = ApiParts(
        db=db,
        callers=callers,
        lookups=followers.parts.lookups,
        passwords=Passwords(green.in_thread),
        tokens=tokens,
        cursors=Cursors(settings.secret_key),
        limits=RateLimits(
            is_on=settings.rate_limits == "on",
            events_per_s=settings.max_events_per_s,
            make_store=_store_of_limits(settings),
        ),
        pages=PageCache(_PAGE_CACHE_BYTES),
        emit_signal=node.emit_signal,
        tail=node.tail,
        presence=seen,
        doors=followers,
        event_cursors=followers.parts.cursors,
        let_others_run=lambda: green.sleep(0),
        max_event_bytes=settings.max_event_bytes,
    )
    edge.install(flask, settings.origins)
    errors.install(flask)
    for api in _APIS:
        flask.register_blueprint(api.blueprint(), url_prefix="/api/v1")


def _add_system(flask: Flask, db: Database, node: Node, gateway: Gateway, drain: Drain) -> None:
    endpoints = [endpoint for api in _APIS for endpoint in api.endpoints]
    flask.register_blueprint(
        system.blueprint(
            _ROOT,
            openapi.document(endpoints, __version__),
            asyncapi.document(__version__),
            system.Probes(
                {
                    "database": lambda: schema_is_current(db),
                    "bus": node.hears_others,
                },
                lambda: drain.has_begun,
                gateway.measure,
            ),
        )
    )


def _guard_sockets(flask: Flask, settings: Settings, gateway: Gateway, drain: Drain) -> Guests:
    name = settings.node_name or gateway.parts.node_id
    terms = Terms(
        name,
        settings.serves_polling,
        is_draining=lambda: drain.has_begun,
        origins=settings.origins,
        open=lambda environ, greeting: gateway.engine.open(take_socket(environ), greeting),
        compresses=settings.ws_compression_level > 0,
    )
    name_sessions(flask.extensions["socketio"].server.eio, name)
    flask.wsgi_app = edge.add_safety(guard_handshakes(flask.wsgi_app, terms))  # type: ignore[method-assign]
    return QuickHandshakes(terms, gateway.engine, partial(_behind_proxies, settings))


def _add_gateway(
    flask: Flask,
    settings: Settings,
    db: Database,
    callers: Callers,
    tokens: Tokens,
    node: Node,
    node_id: str,
    seen: Presence,
    lookups: Lookups,
) -> Gateway:
    options: dict[str, Any] = {
        "transports": settings.transports.split(","),
        "cors_allowed_origins": partial(is_own_or_allowed, origins=settings.origins),
        "cors_credentials": False,  # there are no cookies
    }
    socketio = SocketIO(
        flask,
        async_mode="eventlet",
        # In order: the next packet of a client waits for the one before.
        async_handlers=False,
        manage_session=False,
        max_http_buffer_size=settings.max_packet_bytes,
        ping_interval=settings.ping_interval_s,
        ping_timeout=settings.ping_timeout_s,
        **options,
    )
    packing = deflate.make_packing(settings.ws_compression_level, settings.ws_compression_min_bytes)
    plug_in_websocket(socketio.server, packing)  # type: ignore[attr-defined]
    limits = GatewayLimits(
        connection=ConnectionLimits(
            settings.max_queued_bytes, settings.max_events_per_s, settings.max_subscriptions
        ),
        max_connections_per_user=settings.max_connections_per_user,
        max_event_bytes=settings.max_event_bytes,
        auth_timeout_s=settings.auth_timeout_s,
        max_packet_bytes=settings.max_packet_bytes,
        ping_interval_s=settings.ping_interval_s,
        ping_timeout_s=settings.ping_timeout_s,
        packing=packing,
    )
    parts = GatewayParts(db, node, seen, callers, tokens.verify_access, lookups, node_id, limits)
    return Gateway(socketio, parts, HANDLERS)


def _make_node_id(settings: Settings) -> str:
    # Of this process alone: one that drains and its successor may share a name for a while.
    drawn = secrets.token_hex(6)
    return f"{settings.node_name}-{drawn}" if settings.node_name else drawn


def start_background(fanfare: Fanfare) -> None:
    """Start what runs beside the requests."""
    if fanfare.node is None or fanfare.access_watch is None or fanfare.presence is None:
        raise ValueError("only a whole node has a background")
    fanfare.node.start()
    fanfare.access_watch.start()
    green.spawn(fanfare.presence.run_for_ever, time.monotonic)
    settings = fanfare.settings
    rules = Retention(
        settings.retention_max_events,
        int(settings.retention_max_age_s),
        int(settings.retention_min_age_s),
    )
    green.spawn(
        retention.run_for_ever, fanfare.db, rules, settings.retention_interval_s, green.sleep
    )
