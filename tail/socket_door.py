"""The first door: WebSocket, over the stock Socket.IO client."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import socketio

from tail.doors import Call, DoorLostError, TailError, goodbye, refusal
from tail.view import Fields

_CALL_S = 30
# How long an end in order may hold the next door up.
_GOODBYE_S = 1.0


class SocketDoor:
    """It is open when the server's `ready` came."""

    name = "socket"

    def __init__(self, budget_s: float) -> None:
        self._budget_s = budget_s

    def follow(self, call: Call, opened: Callable[[str], None]) -> None:
        """Follow until it is cut."""
        session = _Session(call, opened, self._budget_s)
        try:
            session.run()
        finally:
            session.close()


class _Session:
    def __init__(self, call: Call, opened: Callable[[str], None], budget_s: float) -> None:
        self._call = call
        self._view = call.view
        self._opened = opened
        self._budget_s = budget_s
        self._ready = threading.Event()
        self._over = threading.Event()
        self._error: TailError | DoorLostError | None = None
        self._client = socketio.Client(
            reconnection=False, request_timeout=budget_s, handle_sigint=False
        )
        handlers: dict[str, Callable[..., None]] = {
            "ready": self._on_ready,
            "event": self._view.put,
            "signal": self._view.show_signal,
            "reset": lambda it: self._view.reset(it["stream"], it["reason"], it["position"]),
            "unsubscribed": self._on_unsubscribed,
            "bye": lambda bye: self._end(goodbye(bye)),
            "connect_error": self._on_refused,
            "disconnect": lambda *_: self._end(DoorLostError("the connection was lost")),
        }
        for name, handler in handlers.items():
            self._client.on(name, self._unless_over(handler))

    def _unless_over(self, handler: Callable[..., None]) -> Callable[..., None]:
        # What an abandoned socket says late must not be taken for the next one's word.
        return lambda *said: None if self._over.is_set() else handler(*said)

    def run(self) -> None:
        until = time.monotonic() + self._budget_s
        try:
            self._client.connect(
                self._call.url,
                auth={"token": self._call.token},
                transports=["websocket"],
                wait=False,
            )
        except socketio.exceptions.ConnectionError as error:
            raise self._error or DoorLostError(str(error)) from error
        while not (self._ready.is_set() or self._over.is_set()):
            if time.monotonic() > until:
                raise DoorLostError(f"no word from the server in {self._budget_s:g} s")
            self._ready.wait(0.05)
        self._over.wait()
        raise self._error or DoorLostError("ended")

    def close(self) -> None:
        self._over.set()
        # A socket that is deaf does not hear our goodbye either: nobody waits for it.
        end = threading.Thread(target=self._client.disconnect, daemon=True)
        end.start()
        end.join(_GOODBYE_S)

    def _end(self, error: TailError | DoorLostError) -> None:
        self._error = self._error or error
        self._over.set()

    def _on_ready(self, ready: Fields) -> None:
        self._ready.set()
        self._opened(f"to node {ready['node'][:8]} as {ready['user']['username']}")
        threading.Thread(target=self._catch_up, daemon=True).start()

    def _catch_up(self) -> None:
        # What the connection is lost for is asked for again by the next one.
        with contextlib.suppress(socketio.exceptions.SocketIOError):
            while not self._over.is_set() and self._next_page():
                pass

    def _next_page(self) -> bool:
        packet: Fields = {"stream": self._view.name}
        if self._view.position:
            packet["after"] = self._view.position
        else:
            packet["history"] = self._view.wanted.history
        ack = self._client.call("subscribe", packet, timeout=_CALL_S)
        if not ack["ok"]:
            error = ack["error"]
            told = f"{self._view.wanted.stream}: {error['detail']}"
            self._end(refusal(error["code"], told, error.get("retry_after", 0)))
            return False
        self._view.put_page(ack["stream"], ack["events"], ack["position"])
        if ack["reset"]:
            self._view.reset(ack["stream"], ack["reset"]["reason"], ack["position"])
        return bool(ack["more"])

    def _on_unsubscribed(self, told: Fields) -> None:
        if told["stream"] == self._view.stream:
            self._end(TailError(f"access ended: {told['code']}"))

    def _on_refused(self, error: Any) -> None:
        data = error.get("data") if isinstance(error, dict) else None
        if isinstance(data, dict):
            self._end(refusal(str(data.get("code")), str(data.get("detail"))))
        else:
            self._end(DoorLostError(str(error)))
