"""Packets of clients: held to their limit, validated, handled in order, and each of them acked.

Publishes that follow one another are logged as one list, so a client that does not wait for each
ack pays for few commits. Nothing that a client sends can raise past this module.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from core.errors import (
    BadRequestError,
    FanfareError,
    InternalError,
    RateLimitedError,
    describe,
)
from core.metrics import PACKETS
from core.services import intents
from core.services.intents import Intent
from core.validation import check
from realtime.connection import Connection
from realtime.packets import PACKETS as SCHEMAS
from realtime.socketio_text import Sent

if TYPE_CHECKING:
    from realtime.gateway import Gateway

_log = structlog.get_logger(__name__)

Answer = dict[str, Any]
Reply = Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class Pending:
    """An answer that can be given once its intent is in the log, or at once where it has none."""

    answer: Callable[[], Answer | None]
    intent: Intent | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """Handles a packet that may be logged with others: `prepare` does nothing yet."""

    prepare: Callable[["Gateway", Connection, Any], Pending]


# A handler takes the connection and its validated packet, and gives what the ack adds to `ok`;
# or it calls `reply` itself, and gives None.
Handler = Callable[["Gateway", Connection, Any, Reply], Answer | None]
Handlers = Mapping[str, Handler | Together]


class Dispatcher:
    """Brings packets to their handlers, and answers back."""

    def __init__(self, gateway: "Gateway", handlers: Handlers) -> None:
        self._gateway = gateway
        self._handlers = handlers

    def on_packets(self, connection: Connection, packets: Sequence[Sent]) -> None:
        """Handle packets of one client in their order."""
        connection.begin_packet()
        try:
            together: list[tuple[Sent, Pending]] = []
            for packet in packets:
                self._take(connection, packet, together)
            self._log_all(connection, together)
        finally:
            connection.end_packet()

    def _take(
        self, connection: Connection, packet: Sent, together: list[tuple[Sent, Pending]]
    ) -> None:
        handler = self._handlers.get(packet.name)
        if isinstance(handler, Together):
            pending = self._prepare(connection, packet, handler)
        else:
            pending = Pending(partial(self._handle, connection, packet, handler))
        if pending.intent is not None:
            together.append((packet, pending))
            return
        # What came before it has its effect, and its ack, before.
        self._log_all(connection, together)
        together.clear()
        self._answer(connection, packet, pending)

    def _prepare(self, connection: Connection, packet: Sent, handler: Together) -> Pending:
        try:
            return handler.prepare(self._gateway, connection, _validated(connection, packet))
        except Exception as error:  # noqa: BLE001 - raised again, in its turn
            return Pending(partial(_fail, error))

    def _log_all(self, connection: Connection, together: list[tuple[Sent, Pending]]) -> None:
        if not together or connection.is_ending:
            return
        wanted = [pending.intent for _, pending in together if pending.intent is not None]
        intents.log_all(self._gateway.parts.db, wanted)
        for packet, pending in together:
            self._answer(connection, packet, pending)

    def _answer(self, connection: Connection, packet: Sent, pending: Pending) -> None:
        if connection.is_ending:
            return
        known = packet.name if packet.name in self._handlers else "unknown"
        try:
            answer = pending.answer()
            PACKETS.labels(known, "ok").inc()
            if answer is not None:
                _reply(connection, packet, answer)
        except FanfareError as error:
            PACKETS.labels(known, error.code).inc()
            _refuse(connection, error, packet.ack_id)
        except Exception:  # noqa: BLE001 - every packet is acked
            PACKETS.labels(known, "internal").inc()
            _log.exception("packet failed", packet=known, connection=connection.id)
            _refuse(connection, InternalError("The server failed."), packet.ack_id)

    def _handle(
        self, connection: Connection, packet: Sent, handler: Handler | None
    ) -> Answer | None:
        value = _validated(connection, packet)
        if handler is None:
            raise BadRequestError("There is no such event.")
        return handler(self._gateway, connection, value, partial(_reply, connection, packet))

    def on_malformed(self, connection: Connection, detail: str, ack_id: str | None) -> None:
        """Refuse what is no event."""
        if not connection.bucket.take(time.monotonic()):
            _refuse(connection, BadRequestError(detail), ack_id)


def _validated(connection: Connection, packet: Sent) -> Any:
    wait_s = connection.bucket.take(time.monotonic())
    if wait_s:
        raise RateLimitedError("Too many packets.", math.ceil(wait_s * 1000) / 1000)
    schema = SCHEMAS.get(packet.name)
    if schema is None:
        return None
    if len(packet.args) != 1 or not isinstance(packet.args[0], dict):
        raise BadRequestError("An event takes one object.")
    return check(schema, packet.args[0])


def _fail(error: Exception) -> None:
    raise error


def _reply(connection: Connection, packet: Sent, answer: Answer) -> None:
    if packet.ack_id is not None:
        connection.ack(packet.ack_id, {"ok": True, **answer})


def _refuse(connection: Connection, error: FanfareError, ack_id: str | None) -> None:
    if ack_id is not None:
        connection.ack(ack_id, {"ok": False, "error": describe(error)})
