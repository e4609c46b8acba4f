"""`run.py tail`: a stream's events in the terminal, over the stock Socket.IO client.

Keeps its position, so a lost connection or a restarted server costs nothing but a pause.
"""

import contextlib
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import socketio

from core import json


class TailError(Exception):
    """The stream can't be followed; the message says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show, and from where on: `after` is OFFSET or OFFSET/EPOCH."""

    stream: str
    after: str | None
    history: int
    as_json: bool


class _Follower:
    def __init__(self, client: socketio.Client, wanted: Wanted) -> None:
        self.client = client
        self.wanted = wanted
        self.over = threading.Event()
        self.error: str | None = None
        self.stream = ""
        self.position = _first_position(wanted.after)
        # The client hands out each packet in a thread of its own, so events may come in any
        # order, and before the page of the log that leads up to them.
        self._lock = threading.Lock()
        self._early: dict[int, dict[str, Any]] = {}

    def on_ready(self, ready: dict[str, Any]) -> None:
        _note(f"connected to node {ready['node'][:8]} as {ready['user']['username']}")
        threading.Thread(target=self._catch_up, daemon=True).start()

    def _catch_up(self) -> None:
        # What the connection is lost for is asked for again after the next `ready`.
        with self._lock, contextlib.suppress(socketio.exceptions.SocketIOError):
            while self._next_page():
                pass
            if self.over.is_set():
                return
            self._early = {o: e for o, e in self._early.items() if o > self.position["offset"]}
            self._show_early()

    def _next_page(self) -> bool:
        packet: dict[str, Any] = {"stream": self.stream or self.wanted.stream}
        if self.position:
            packet["after"] = self.position
        else:
            packet["history"] = self.wanted.history
        ack = self.client.call("subscribe", packet, timeout=30)
        if not ack["ok"]:
            self.fail(f"{self.wanted.stream}: {ack['error']['detail']}")
            return False
        if ack["reset"]:
            _note(f"the position is gone ({ack['reset']['reason']}); going on from the newest")
        self.stream = ack["stream"]
        for event in ack["events"]:
            self._show(event)
        self.position = ack["position"]
        return bool(ack["more"])

    def on_event(self, event: dict[str, Any]) -> None:
        with self._lock:
            if event["stream"] == self.stream:
                self._early[event["offset"]] = event
                self._show_early()

    def _show_early(self) -> None:
        while event := self._early.pop(self.position["offset"] + 1, None):
            self._show(event)
            self.position = {**self.position, "offset": event["offset"]}

    def on_reset(self, reset: dict[str, Any]) -> None:
        if reset["stream"] == self.stream:
            _note(f"the stream was reset ({reset['reason']})")
            with self._lock:
                self.position, self._early = reset["position"], {}

    def on_unsubscribed(self, told: dict[str, Any]) -> None:
        if told["stream"] == self.stream:
            self.fail(f"access ended: {told['code']}")

    def on_signal(self, signal: dict[str, Any]) -> None:
        if signal["stream"] == self.stream and not self.wanted.as_json:
            print(f"{signal['at'][11:23]}       ~  {signal['type']}", flush=True)

    def fail(self, why: str) -> None:
        self.error = why
        self.over.set()

    def _show(self, event: dict[str, Any]) -> None:
        text = json.dumps(event).decode()
        if not self.wanted.as_json:
            data = json.dumps(event["data"]).decode()
            text = f"{event['at'][11:23]} {event['offset']:>7}  {event['type']:<20} {data}"
        print(text, flush=True)


class _Tokens:
    """A token for each connect; the first is made at once, so that its fault is told at once."""

    def __init__(self, get_token: Callable[[], str]) -> None:
        self._get_token = get_token
        self._first: str | None = get_token()

    def next(self) -> str:
        token, self._first = self._first, None
        return token or self._get_token()


def follow(url: str, get_token: Callable[[], str], wanted: Wanted) -> None:
    """Show events until interrupted.

    Raises:
        TailError: the server can't be reached, or refuses.
    """
    client = socketio.Client(reconnection=True, reconnection_delay=0.5, reconnection_delay_max=10)
    follower = _Follower(client, wanted)
    client.on("ready", follower.on_ready)
    client.on("event", follower.on_event)
    client.on("signal", follower.on_signal)
    client.on("reset", follower.on_reset)
    client.on("unsubscribed", follower.on_unsubscribed)
    client.on("connect_error", lambda error: _on_refused(follower, error))
    client.on("disconnect", lambda *_: None if follower.error else _note("disconnected"))
    tokens = _Tokens(get_token)
    try:
        client.connect(url, auth=lambda: {"token": tokens.next()}, transports=["websocket"])
        follower.over.wait()
    except socketio.exceptions.ConnectionError as error:
        raise TailError(follower.error or f"{url}: {error}") from error
    finally:
        client.disconnect()
    raise TailError(follower.error or "ended")


def _on_refused(follower: _Follower, error: Any) -> None:
    if isinstance(error, dict) and isinstance(error.get("data"), dict):
        follower.fail(str(error["data"].get("detail")))


def _first_position(after: str | None) -> dict[str, Any]:
    if after is None:
        return {}
    offset, _, epoch = after.rpartition("@")[2].partition("/")
    if not offset.isdigit():
        raise TailError("--after takes OFFSET/EPOCH, as publish prints it")
    if not epoch:
        raise TailError("--after needs the epoch too: OFFSET/EPOCH, as publish prints it")
    return {"offset": int(offset), "epoch": epoch}


def _note(text: str) -> None:
    print(f"— {text}", file=sys.stderr, flush=True)
