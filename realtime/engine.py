"""The sessions of this process that are WebSockets from the start: held, pinged, looked after.

One greenlet pings everybody. Sessions that begin with polling are `wire.py`'s.
"""

import time
from collections import deque
from typing import Any

import structlog

from core import json
from realtime import frames, green
from realtime.session import EngineTerms, Gate, Session
from realtime.websocket import is_deflated

_log = structlog.get_logger(__name__)

# The parts of a ping interval in which everybody is visited once.
_SLOTS = 25
_LEAST_TICK_S = 0.005
_PING = frames.encode_text("2")


class Engine:
    """The sessions of this process that are WebSockets from the start."""

    def __init__(self, gate: Gate, terms: EngineTerms, make_name: Any) -> None:
        self.gate = gate
        self.terms = terms
        self.is_leaving = False
        self._make_name = make_name
        # Who is pinged together. What is left of an interval is told by the place.
        self._slots: list[set[Session]] = [set() for _ in range(_SLOTS)]
        self._at = 0
        self._number = 0
        # When, and in which place, pongs began to be waited for.
        self._pinged: deque[tuple[float, int]] = deque()
        self._strangers: deque[tuple[float, Session]] = deque()
        self._is_turning = False

    def __len__(self) -> int:
        """Count the sessions, strangers' too."""
        return self._number

    def open(self, sock: Any, greeting: bytes) -> None:
        """Begin a session on a socket; `greeting` is the answer to its handshake."""
        session = Session(self, sock, self.terms.packing if is_deflated(greeting) else None)
        session.slot = (self._at - 1) % _SLOTS
        self._slots[session.slot].add(session)
        self._number += 1
        self._strangers.append((time.monotonic() + self.terms.auth_timeout_s, session))
        session.transport.write(greeting + frames.encode_text(self._open_packet()))
        if not self._is_turning:
            self._is_turning = True
            green.spawn(self._turn_for_ever)

    def _open_packet(self) -> str:
        terms = self.terms
        told = {
            "sid": self._make_name(),
            "upgrades": [],
            "pingTimeout": int(terms.ping_timeout_s * 1000),
            "pingInterval": int(terms.ping_interval_s * 1000),
            "maxPayload": terms.max_packet_bytes,
        }
        return "0" + json.dumps(told).decode()

    def forget(self, session: Session) -> None:
        """Let go of a session that is over."""
        self._slots[session.slot].remove(session)
        self._number -= 1

    def leave(self) -> bool:
        """Let nobody connect any more; tell whether no session is left."""
        self.is_leaving = True
        for slot in self._slots:
            for session in list(slot):
                session.turn_away()
        return not len(self)

    # The wheel.

    def _turn_for_ever(self) -> None:
        tick_s = max(_LEAST_TICK_S, self.terms.ping_interval_s / _SLOTS)
        due = time.monotonic()
        # With nobody left, and nothing to give back, until the next one comes.
        while not green.let_idle_go() or self._number or self._strangers:
            due = max(due + tick_s, time.monotonic())
            green.sleep(due - time.monotonic())
            try:
                self._turn(time.monotonic())
            except Exception:  # noqa: BLE001 - the others have to be pinged
                _log.exception("pings failed")
        self._is_turning = False

    def _turn(self, now: float) -> None:
        self._close_strangers(now)
        self._close_silent(now - self.terms.ping_timeout_s)
        self._at = (self._at + 1) % _SLOTS
        self._pinged.append((now, self._at))
        for session in list(self._slots[self._at]):
            self._visit(session, now)

    def _close_silent(self, late: float) -> None:
        while self._pinged and self._pinged[0][0] <= late:
            _, slot = self._pinged.popleft()
            for session in list(self._slots[slot]):
                if session.pinged_at and session.pinged_at <= late:
                    _log.info("ping timeout", session=session.name)
                    session.transport.close(1001, "ping timeout")

    def _visit(self, session: Session, now: float) -> None:
        if session.is_closed:
            return
        if not session.pinged_at:
            session.pinged_at = now
            session.transport.write(_PING)
        if session.connection is not None:
            self.gate.look_ahead(session.connection, 2 * self.terms.ping_interval_s)

    def _close_strangers(self, now: float) -> None:
        while self._strangers:
            due, session = self._strangers[0]
            if not session.is_closed and session.connection is None:
                if due > now:
                    return
                session.end(for_good=True)
            self._strangers.popleft()
