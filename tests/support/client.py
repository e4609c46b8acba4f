"""Clients for tests: a small one for REST, and the stock Python Socket.IO client with a memory.

The socket client keeps every packet in the order of its arrival. The stock client starts a
thread for each packet, which may reorder them, so here one thread handles them all.
"""

import contextlib
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import engineio
import requests
import socketio

PASSWORD = "correct horse battery"
API = "/api/v1"
JSON = dict[str, Any]

T = TypeVar("T")


def unique(prefix: str = "user") -> str:
    """Return a name that no other test has taken."""
    return f"{prefix}-{secrets.token_hex(5)}"


class RestClient:
    """One user's calls to `/api/v1`. Every call returns the response, whatever its status."""

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self.access_token = token
        self.refresh_token: str | None = None
        self.user: JSON = {}
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the machine is not for a server on it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """The id of the user who is signed in."""
        return str(self.user["id"])

    def register(
        self, username: str | None = None, password: str = PASSWORD, **more: object
    ) -> requests.Response:
        """Register a user, by default one with a name of its own, and sign in as it."""
        body = {"username": username or unique(), "password": password, **more}
        return self._keep(self.raw("POST", f"{API}/auth/register", json=body))

    def login(self, username: str, password: str = PASSWORD) -> requests.Response:
        """Sign in."""
        body = {"username": username, "password": password}
        return self._keep(self.raw("POST", f"{API}/auth/login", json=body))

    def refresh(self) -> requests.Response:
        """Trade the refresh token for a new pair."""
        bearer = {"Authorization": f"Bearer {self.refresh_token}"}
        return self._keep(self.raw("POST", f"{API}/auth/refresh", headers=bearer))

    def call(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> requests.Response:
        """Call `path` under `/api/v1` with the access token; `more` goes to requests."""
        bearer = {"Authorization": f"Bearer {self.access_token}"} if self.access_token else {}
        if json is not None:
            more["json"] = json
        return self.raw(method, API + path, headers={**bearer, **(headers or {})}, **more)

    def raw(self, method: str, path: str, **more: Any) -> requests.Response:
        """Call any path of the server, with nothing added."""
        more = {"timeout": self._timeout_s, "allow_redirects": False, **more}
        return self._session.request(method, self.url + path, **more)

    def get(self, path: str, **more: Any) -> requests.Response:
        """GET under `/api/v1`."""
        return self.call("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> requests.Response:
        """POST under `/api/v1`."""
        return self.call("POST", path, json, **more)

    def put(self, path: str, json: Any = None, **more: Any) -> requests.Response:
        """PUT under `/api/v1`."""
        return self.call("PUT", path, json, **more)

    def patch(self, path: str, json: Any = None, **more: Any) -> requests.Response:
        """PATCH under `/api/v1`."""
        return self.call("PATCH", path, json, **more)

    def delete(self, path: str, **more: Any) -> requests.Response:
        """DELETE under `/api/v1`."""
        return self.call("DELETE", path, **more)

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def _keep(self, response: requests.Response) -> requests.Response:
        if response.ok:
            body = response.json()
            self.access_token = body["access_token"]
            self.refresh_token = body["refresh_token"]
            self.user = body.get("user", self.user)
        return response


def registered(url: str, username: str | None = None, **more: Any) -> RestClient:
    """Return a client that has registered a user and is signed in as it."""
    client = RestClient(url)
    response = client.register(username, **more)
    assert response.status_code == 201, response.text
    return client


class RefusedError(Exception):
    """The server refused the connection: `code` and `detail` as the contract names them."""

    def __init__(self, message: str, code: str | None, detail: str | None) -> None:
        super().__init__(f"{message} ({code}: {detail})")
        self.code = code
        self.detail = detail


class SocketClient:
    """A stock Socket.IO connection that remembers all it was sent, for a test to wait for.

    `packets` holds `(name, data)` of everything in the order of its arrival; `events`, `signals`
    and the like are views of it. Connections are not made again by themselves.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        auth: Any = None,
        transports: Sequence[str] = ("websocket",),
        query: str = "",
    ) -> None:
        self.url = url
        self.packets: list[tuple[str, Any]] = []
        self.disconnected = False
        self._auth = {"token": token} if auth is None and token is not None else auth
        self._transports = list(transports)
        self._query = query
        self._changed = threading.Condition()
        self._refusal: Any = None
        self._io = _OrderedClient(reconnection=False, handle_sigint=False)
        self._io.on("*", self._remember)
        self._io.on("connect_error", self._refused)
        self._io.on("disconnect", self._gone)

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(self, *_error: object) -> None:
        self.close()

    def connect(self, *, deadline_s: float = 10.0) -> Self:
        """Connect and wait for `ready`; a second call is a new connection with the same memory.

        Raises: RefusedError with the server's code; socketio's ConnectionError when there is
        no server.
        """
        self._refusal, self.disconnected = None, False
        seen = len(self.packets)
        try:
            self._io.connect(
                self.url + self._query,
                auth=self._auth,
                transports=self._transports,
                wait_timeout=deadline_s,
            )
        except socketio.exceptions.ConnectionError:
            self._io.disconnect()
            if isinstance(self._refusal, dict):
                data = self._refusal.get("data") or {}
                message = str(self._refusal.get("message"))
                raise RefusedError(message, data.get("code"), data.get("detail")) from None
            raise
        self.wait_for(
            lambda client: (
                any(name == "ready" for name, _ in client.packets[seen:]) or client.disconnected
            ),
            deadline_s=deadline_s,
            what="ready",
        )
        return self

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return bool(self._io.connected)

    @property
    def ready(self) -> JSON:
        """What the server last said in `ready`."""
        return self.named("ready")[-1]

    @property
    def events(self) -> list[JSON]:
        """The events that came live, in order (not those in acks)."""
        return self.named("event")

    @property
    def signals(self) -> list[JSON]:
        """The signals, in order."""
        return self.named("signal")

    @property
    def byes(self) -> list[JSON]:
        """The server's reasons for closing."""
        return self.named("bye")

    def named(self, name: str) -> list[JSON]:
        """Return the data of every packet of that name, in order."""
        return [data for packet, data in list(self.packets) if packet == name]

    def offsets(self, stream: str) -> list[int]:
        """Return the offsets of the live events of `stream` (named by id), in order."""
        return [event["offset"] for event in self.events if event["stream"] == stream]

    def call(self, event: str, argument: Any = None, *, timeout_s: float = 10.0) -> Any:
        """Send a packet and return its ack.

        Raises: AssertionError when none comes in time.
        """
        try:
            return self._io.call(event, argument, timeout=timeout_s)
        except socketio.exceptions.TimeoutError:
            raise AssertionError(f"no ack to {event!r} within {timeout_s} s") from None

    def ok(self, event: str, argument: Any = None, *, timeout_s: float = 10.0) -> JSON:
        """Send a packet whose ack has to be `ok: true`, and return that ack."""
        ack: JSON = self.call(event, argument, timeout_s=timeout_s)
        assert ack["ok"] is True, f"{event} was refused: {ack}"
        return ack

    def refusal(self, event: str, argument: Any = None, *, timeout_s: float = 10.0) -> JSON:
        """Send a packet whose ack has to be `ok: false`, and return its error."""
        ack: JSON = self.call(event, argument, timeout_s=timeout_s)
        assert ack["ok"] is False, f"{event} was accepted: {ack}"
        error: JSON = ack["error"]
        return error

    def send(
        self, event: str, argument: Any = None, callback: Callable[..., None] | None = None
    ) -> None:
        """Send a packet and wait for nothing; `callback` gets the ack."""
        self._io.emit(event, argument, callback=callback)

    def wait_for(
        self, predicate: Callable[["SocketClient"], T], *, deadline_s: float = 10.0, what: str = ""
    ) -> T:
        """Return the first truthy result of `predicate(self)`, asked after each packet.

        Raises: AssertionError after `deadline_s` seconds, with the last packets.
        """
        end = time.monotonic() + deadline_s
        with self._changed:
            while not (result := predicate(self)):
                left = end - time.monotonic()
                if left <= 0:
                    last = self.packets[-5:]
                    raise AssertionError(f"waited {deadline_s} s in vain for {what}; last: {last}")
                self._changed.wait(min(left, 0.5))
        return result

    def wait_for_event(
        self, kind: str, *, stream: str | None = None, deadline_s: float = 10.0
    ) -> JSON:
        """Return the first live event of that type (and stream), waiting for it."""

        def find(client: "SocketClient") -> JSON | None:
            fits = (event for event in client.events if event["type"] == kind)
            return next((event for event in fits if stream in (None, event["stream"])), None)

        found = self.wait_for(find, deadline_s=deadline_s, what=f"an event {kind}")
        assert found is not None
        return found

    def wait_for_disconnect(self, *, deadline_s: float = 10.0) -> None:
        """Wait until the connection is gone."""
        self.wait_for(lambda client: client.disconnected, deadline_s=deadline_s, what="the end")

    def drop(self) -> None:
        """Cut the connection without a goodbye, as a lost network would."""
        with contextlib.suppress(AttributeError, OSError):
            self._io.eio.ws.sock.shutdown(socket.SHUT_RDWR)
        self.wait_for_disconnect()

    def close(self) -> None:
        """Disconnect in order, and leave after two seconds whatever the stock client waits for.

        It may lose its goodbye to a race of its own, and then waits for the server's next ping.
        """
        closer = threading.Thread(target=self._disconnect, daemon=True)
        closer.start()
        closer.join(2)
        self._io.eio.end()

    def _disconnect(self) -> None:
        with contextlib.suppress(Exception):
            self._io.disconnect()

    def _remember(self, name: str, *data: Any) -> None:
        with self._changed:
            self.packets.append((name, data[0] if len(data) == 1 else list(data)))
            self._changed.notify_all()

    def _refused(self, data: Any = None) -> None:
        self._refusal = data

    def _gone(self, *_reason: Any) -> None:
        with self._changed:
            self.disconnected = True
            self._changed.notify_all()


class _OrderedEngine(engineio.Client):  # type: ignore[misc] # engineio ships no types
    """The stock engine, but one thread handles its packets, in the order of their arrival."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._packets: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._handler: threading.Thread | None = None

    def start_background_task(self, target: Any, *arguments: Any, **named: Any) -> Any:
        if target != self.handlers.get("message"):
            return super().start_background_task(target, *arguments, **named)
        if self._handler is None:
            self._handler = threading.Thread(target=self._handle, daemon=True)
            self._handler.start()
        self._packets.put(lambda: target(*arguments, **named))
        return None

    def end(self) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            self._packets.put(None)
            handler.join(1)

    def _handle(self) -> None:
        while (handle := self._packets.get()) is not None:
            handle()


class _OrderedClient(socketio.Client):  # type: ignore[misc] # socketio ships no types
    def _engineio_client_class(self) -> type[engineio.Client]:
        return _OrderedEngine
