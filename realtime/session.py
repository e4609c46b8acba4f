"""One client's session of Engine.IO and Socket.IO, over a WebSocket from the start.

It is an object, not a greenlet: one greenlet runs while its packets are handled, one after the
other. `engine.py` holds all of them, and pings them.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from core import json
from core.errors import FanfareError
from core.ids import new_id
from realtime import frames, green
from realtime.connection import Connection
from realtime.deflate import Packing, encode_packed
from realtime.deflated_transport import make_transport
from realtime.room import Frame
from realtime.socketio_text import (
    LEAVE,
    Elsewhere,
    Hello,
    Malformed,
    Packet,
    Sent,
    read_hello,
    read_packet,
)
from realtime.writers import Send

_log = structlog.get_logger(__name__)

# So often one session may ask to connect, to whichever namespace.
MOST_TRIES = 20
# Packets that wait for their turn, before no more is read.
_MOST_WAITING = 64
# Of events that are handled together.
_MOST_TOGETHER_BYTES = 256 * 1024
# Packets that mean nothing here: open, ping, upgrade, noop.
_IDLE_KINDS = {"0", "2", "5", "6"}
# Engine.IO's own goodbye: stock clients do not come back after it.
_GOODBYE = frames.encode_text("1")


@dataclass(frozen=True, slots=True)
class EngineTerms:
    """Times and sizes, as clients are told them."""

    ping_interval_s: float
    ping_timeout_s: float
    max_packet_bytes: int
    max_queued_bytes: int
    auth_timeout_s: float
    packing: Packing | None = None  # for who agreed to compression


class Gate(Protocol):
    """What becomes of clients and their packets: the gateway. Only `on_gone` must not wait."""

    def admit(self, carrier: Any, auth: object, name: str) -> Connection:
        """Let a client in.

        Raises:
            FanfareError.
        """

    def find(self, name: str) -> Connection | None:
        """Look a client up that was accepted."""

    def on_connected(self, connection: Connection) -> None:
        """A client was accepted, and has been told so."""

    def on_packets(self, connection: Connection, packets: Sequence[Sent]) -> None:
        """A client sent events, one behind the other."""

    def on_malformed(self, connection: Connection, detail: str, ack_id: str | None) -> None:
        """A client sent something that is no event."""

    def on_gone(self, name: str) -> None:
        """A connection is over."""

    def look_ahead(self, connection: Connection, seconds: float) -> None:
        """See to what is due in so long."""


class Home(Protocol):
    """Where a session lives: the engine."""

    gate: Gate
    terms: EngineTerms
    is_leaving: bool

    def forget(self, session: "Session") -> None:
        """Let go of a session that is over."""


class Session:
    """One client, from its handshake to its end. It carries what a `Connection` sends."""

    __slots__ = (
        "_engine", "_first", "_is_greeting", "_tries", "_waiting", "connection", "name",
        "pinged_at", "slot", "transport",
    )  # fmt: skip

    is_visited = True

    def __init__(self, engine: Home, sock: Any, packing: Packing | None) -> None:
        self._engine = engine
        self._waiting: deque[str] | None = None  # not None: they are being handled
        self._is_greeting = False
        # Leaves together with what follows it: the answer to who connects, with its greeting.
        self._first = b""
        self._tries = 0
        self.name = ""
        self.connection: Connection | None = None
        self.pinged_at = 0.0  # 0: no pong is waited for
        self.slot = 0
        self.transport = make_transport(sock, self, engine.terms.max_packet_bytes, packing)

    # What it carries.

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing can be sent any more."""
        return not self.transport.is_open

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent."""
        return self.transport.queued_bytes

    @property
    def packing(self) -> Packing | None:
        """Tell how what is sent may be compressed."""
        return self.transport.packing

    def send_frame(self, frame: Frame) -> None:
        """Send something that others may be sent, too."""
        self._write(frame.packed(self.packing))

    def send_text(self, text: str) -> None:
        """Send a packet of Socket.IO."""
        self._write(encode_packed("4" + text, self.packing))

    def _write(self, data: bytes) -> None:
        if self._first:
            data, self._first = self._first + data, b""
        self.transport.write(data)

    def sender(self) -> Send | None:
        """Give what writes straight to the system; None while something waits."""
        return None if self._first else self.transport.sender()

    def take_over(self, data: bytes, sent: int) -> None:
        """Go on with frames of which `sender` has sent a part."""
        self.transport.take_over(data, sent)

    def end(self, *, for_good: bool) -> None:
        """Close, after all that waits; `for_good`: stock clients shall not come back."""
        if self._first or for_good:
            self._write(_GOODBYE if for_good else b"")
        self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort("server abort")

    def has_more(self) -> bool:
        """Tell whether something was received that was not handled yet."""
        return bool(self._waiting) or (self.transport.is_open and self.transport.has_unread())

    def forget_if_told(self) -> None:
        """Forget a client that took its goodbye: the transport does."""

    # What the transport tells.

    def on_text(self, text: str) -> None:
        """Take a packet of Engine.IO."""
        kind = text[:1]
        if kind == "4":
            self._take(text[1:])
        elif kind == "3":
            self.pinged_at = 0.0
        elif kind == "1":
            self.transport.close()
        elif kind not in _IDLE_KINDS:
            self.transport.close(frames.PROTOCOL_ERROR, "this is no packet of Engine.IO")

    def on_binary(self, data: bytes) -> None:
        """Take bytes: attachments of what was refused, or a stranger's."""
        if self.connection is None and data:
            self.end(for_good=True)

    def is_full(self) -> bool:
        """Tell whether enough packets wait: many, or as much as the largest."""
        waiting, most = self._waiting or (), self._engine.terms.max_packet_bytes
        return len(waiting) >= _MOST_WAITING or sum(map(len, waiting)) >= most

    def on_blocked(self, *, is_blocked: bool) -> None:
        """Tell the connection how it can be written to."""
        if self.connection is not None:
            self.connection.on_blocked(is_blocked=is_blocked)

    def on_over(self, _reason: str) -> None:
        """Let go of the connection; not within the loop, for there may be much to do."""
        if self.name:
            green.run(self._engine.gate.on_gone, self.name)

    def on_released(self) -> None:
        """Be forgotten."""
        self._engine.forget(self)

    # Its packets, in order.

    def _take(self, text: str) -> None:
        if self._waiting is not None:
            self._waiting.append(text)
        else:
            self._waiting = deque((text,))
            green.run(self._handle_all)

    def _handle_all(self) -> None:
        waiting: Any = self._waiting
        handled = 0
        try:
            while waiting and self.transport.is_open:
                handled += self._handle_some(waiting)
                if handled >= _MOST_WAITING:
                    handled = 0
                    green.sleep(0)
                if not waiting:
                    self.transport.read_on()
        except Exception:  # noqa: BLE001 - one client's packet must not end more than its client
            _log.exception("session failed")
            self.transport.close(1011)
        finally:
            self._waiting = None

    def _handle_some(self, waiting: deque[str]) -> int:
        """Handle the first of what waits, with those behind it that may go together."""
        if self.connection is None:
            self._greet(waiting.popleft())
            return 1
        events: list[Sent] = []
        size = 0
        while waiting and len(events) < _MOST_WAITING and size < _MOST_TOGETHER_BYTES:
            packet = read_packet(waiting[0])
            if isinstance(packet, Sent):
                size += len(waiting.popleft())
                events.append(packet)
            elif events:
                break  # it waits until they are answered
            else:
                waiting.popleft()
                self._handle_other(self.connection, packet)
                return 1
        self._engine.gate.on_packets(self.connection, events)
        return len(events)

    def _handle_other(self, connection: Connection, packet: Packet | None) -> None:
        if isinstance(packet, Malformed):
            self._engine.gate.on_malformed(connection, packet.detail, packet.ack_id)
        elif packet is LEAVE:
            self.end(for_good=True)
        elif isinstance(packet, Elsewhere) and self._may_try():
            self._refuse_namespace(packet.namespace)

    # Coming in.

    def _greet(self, text: str) -> None:
        if self._engine.is_leaving:
            return  # `leave` closes it
        hello = read_hello(text)
        if hello is None or not self._may_try():
            self.end(for_good=True)
        elif isinstance(hello, Elsewhere):
            self._refuse_namespace(hello.namespace)
        else:
            self._is_greeting = True
            try:
                self._let_in(hello)
            finally:
                self._is_greeting = False

    def _let_in(self, hello: Hello) -> None:
        name = new_id()
        gate = self._engine.gate
        try:
            connection = gate.admit(self, hello.auth, name)
        except FanfareError as error:
            data = {"code": error.code, "detail": error.detail}
            refusal = json.dumps({"message": error.detail, "data": data})
            self.send_text("4" + refusal.decode())
            return
        self.name, self.connection = name, connection
        if self.is_closed:
            # It was closed while the token was looked up, and `on_over` knew of no connection.
            gate.on_gone(name)
            return
        self._first = frames.encode_text(f'40{{"sid":"{name}"}}')
        try:
            gate.on_connected(connection)
        finally:
            if self._first:
                self._write(b"")
                # Nobody could write straight to it before.
                self.on_blocked(is_blocked=False)

    def _may_try(self) -> bool:
        self._tries += 1
        return self._tries <= MOST_TRIES

    def _refuse_namespace(self, namespace: str) -> None:
        refusal = frames.encode_text(f'44{namespace},{{"message":"Invalid namespace"}}')
        if self.queued_bytes + len(refusal) <= self._engine.terms.max_queued_bytes:
            self.transport.write(refusal)

    def turn_away(self) -> None:
        """Close a stranger while the node ends: it comes back, elsewhere."""
        if self.connection is None and not self._is_greeting:
            self.transport.close()
