"""A client that follows `bye`: it publishes and watches, resumes, and keeps book of every error.

Written on a plain WebSocket, in one thread, so that nothing between it and the server mends,
repeats or reorders what happens.
"""

import json
import random
import threading
import time
from typing import Any

import websocket

from tests.support.wait import wait_until

DEADLINE_S = 60.0


class Follower:
    """One client of one channel. `errors` is what a person would have noticed."""

    def __init__(self, url: str, token: str, stream: str, name: str) -> None:
        self.offsets: list[int] = []
        self.keys: list[str] = []
        self.published: list[str] = []
        self.byes: list[dict[str, Any]] = []
        self.nodes: list[str] = []
        self.errors: list[str] = []
        self._url, self._token, self._stream, self._name = url, token, stream, name
        self._position: dict[str, Any] | None = None
        self._unacked: dict[int, str] = {}
        # Those of them that were sent over an earlier connection.
        self._lost: set[int] = set()
        self._acks = 0
        self._is_publishing = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Follower":
        """Connect, and follow the stream."""
        self._thread.start()
        wait_until(lambda: self._position or self.errors, deadline_s=DEADLINE_S, what="its place")
        return self

    def publish(self, on: bool) -> None:
        """Begin or cease to publish, one event after the other."""
        (self._is_publishing.set if on else self._is_publishing.clear)()

    def is_quiet(self) -> bool:
        """Whether all that it published was acked."""
        return not self._unacked

    def stop(self) -> None:
        """Leave."""
        self._stop.set()
        self._thread.join(DEADLINE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                bye = self._follow()
            except Exception as error:  # noqa: BLE001 - kept for the test to judge
                self.errors.append(f"{type(error).__name__}: {error}")
                time.sleep(0.2)
                continue
            if bye is not None:
                self.byes.append(bye)
                time.sleep(bye["retry_after"] + random.uniform(0, 0.2))

    def _follow(self) -> dict[str, Any] | None:
        url = self._url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        opened = websocket.create_connection(url, timeout=DEADLINE_S, http_no_proxy=["*"])
        try:
            self._lost = set(self._unacked)
            opened.send("40" + json.dumps({"token": self._token}))
            return self._talk(opened)
        finally:
            opened.shutdown()

    def _talk(self, opened: websocket.WebSocket) -> dict[str, Any] | None:
        bye: dict[str, Any] | None = None
        while not self._stop.is_set():
            opened.settimeout(0.05)
            try:
                text = opened.recv()
            except websocket.WebSocketTimeoutException:
                text = None
            except (websocket.WebSocketConnectionClosedException, ConnectionError):
                if bye is None:
                    raise
                return bye
            opened.settimeout(DEADLINE_S)
            if text == "":
                if bye is None:
                    raise ConnectionError("closed without a word")
                return bye
            if text is not None:
                bye = self._take(opened, str(text)) or bye
            if self._is_publishing.is_set() and self._position and not self._unacked and not bye:
                self._publish_next(opened)
        return None

    def _take(self, opened: websocket.WebSocket, text: str) -> dict[str, Any] | None:
        if text == "2":
            opened.send("3")
        elif text.startswith("42"):
            name, data = json.loads(text[2:])
            if name == "bye":
                return dict(data)
            if name == "ready":
                self.nodes.append(data["node"])
                self._subscribe(opened)
            elif name == "event":
                self._see(data)
        elif text.startswith("43"):
            number, _, body = text[2:].partition("[")
            self._take_ack(opened, int(number), json.loads("[" + body)[0])
        elif text.startswith("44"):
            raise ConnectionError(f"refused: {text}")
        return None

    def _subscribe(self, opened: websocket.WebSocket) -> None:
        asked: dict[str, Any] = {"stream": self._stream}
        if self._position is not None:
            asked["after"] = self._position
        opened.send("420" + json.dumps(["subscribe", asked]))

    def _take_ack(self, opened: websocket.WebSocket, number: int, ack: dict[str, Any]) -> None:
        if not ack["ok"]:
            raise ConnectionError(f"not ok: {ack}")
        if number != 0:
            self.published.append(self._unacked.pop(number))
            return
        if ack["reset"]:
            raise ConnectionError(f"reset: {ack}")
        for event in ack["events"]:
            self._see(event)
        self._position = ack["position"]
        if ack["more"]:
            self._subscribe(opened)
            return
        lost, self._lost = self._lost, set()
        for number in lost:
            # Its ack was lost with the connection: the key makes it take effect once.
            self._send(opened, self._unacked.pop(number))

    def _see(self, event: dict[str, Any]) -> None:
        if event["stream"] != self._stream:
            return
        self.offsets.append(event["offset"])
        self.keys.append(event["key"])
        if self._position is not None:
            self._position = {**self._position, "offset": event["offset"]}

    def _publish_next(self, opened: websocket.WebSocket) -> None:
        self._send(opened, f"{self._name}-{len(self.published)}")

    def _send(self, opened: websocket.WebSocket, key: str) -> None:
        self._acks += 1
        self._unacked[self._acks] = key
        event = {"stream": self._stream, "type": "load.made", "data": 1, "key": key}
        opened.send(f"42{self._acks}" + json.dumps(["publish", event]))
