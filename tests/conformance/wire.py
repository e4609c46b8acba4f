"""HTTP and raw Socket.IO frames, as an outsider has them: nothing of the server's own code.

A test reads when it wants to: nothing here reads by itself, so what is asserted about order is
about the order on the wire. Where a server says that it was asked too fast, a call waits.
"""

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any, Self

import requests
import websocket

API = "/api/v1"
PASSWORD = "correct horse battery"
# For what has to come, on a slow machine too; nothing here judges speed.
PATIENCE_S = 60.0
# A call that came too fast is made so many times.
TRIES = 4
Json = dict[str, Any]
Packet = tuple[str, Any]


_patience_s = PATIENCE_S


def wait_at_most(seconds: float) -> None:
    """Say how long is waited for what has to come, from now on."""
    global _patience_s
    _patience_s = seconds


def patience_s() -> float:
    """Give how long is waited for what has to come."""
    return _patience_s


def deadline() -> float:
    """Give the moment until which something may come, on the monotonic clock."""
    return time.monotonic() + _patience_s


def wait_until(condition: Callable[[], object]) -> None:
    """Ask again and again until it is so."""
    end = deadline()
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def unique(prefix: str) -> str:
    """Return a name that nobody has taken."""
    return f"{prefix}-{secrets.token_hex(6)}"


class Http:
    """Calls to one address. A call that came too fast is made again once the server allows it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the machine is not for a server on it

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> requests.Response:
        """Call `path` under /api/v1 and give the answer, whatever its status."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        for _ in range(TRIES):
            response = self._session.request(
                method,
                self.url + API + path,
                json=body,
                data=raw,
                headers=sent,
                timeout=_patience_s,
                allow_redirects=False,
            )
            if response.status_code != 429 or code_of(response) != "rate_limited":
                break
            time.sleep(float(response.headers["Retry-After"]) + 0.1)
        return response

    def close(self) -> None:
        """Close its connections."""
        self._session.close()


def code_of(response: requests.Response) -> str | None:
    """Give the code of an error, or None where the answer is none of the server's own."""
    with contextlib.suppress(requests.JSONDecodeError):
        body = response.json()
        return body.get("code") if isinstance(body, dict) else None
    return None


class RefusedError(Exception):
    """The server refused a socket: `code` and `detail` of its connect_error."""

    def __init__(self, refusal: Json) -> None:
        super().__init__(str(refusal))
        self.code: str | None = (refusal.get("data") or {}).get("code")
        self.message: str | None = refusal.get("message")
        self.data: Json = refusal.get("data") or {}


class Socket:
    """One Socket.IO connection by WebSocket. `packets` is all that was read, in its order.

    An ack is the packet `("ack", (id, body))`; the ends are `disconnect` and `close`.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        auth: Any = None,
        receive_buffer: int | None = None,
        answers_pings: bool = True,
    ) -> None:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        if receive_buffer is not None:
            options.append((socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer))
        self.packets: list[Packet] = []
        self.pings = 0
        self._ids = 0
        self._answers_pings = answers_pings
        self._ws = websocket.create_connection(
            url.rstrip("/").replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket",
            timeout=_patience_s,
            sockopt=options,
            skip_utf8_validation=True,  # in Python, byte by byte
            http_no_proxy=["*"],
        )
        try:
            opened = str(self._ws.recv())
            assert opened.startswith("0{"), f"no Engine.IO handshake but {opened[:200]!r}"
            self.handshake: Json = json.loads(opened[1:])
            self.send_text("40" + json.dumps({"token": token} if auth is None else auth))
            self.ready = self._read_ready()
        except BaseException:
            self.cut()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.cut()

    def _read_ready(self) -> Json:
        name, data = self.read_until("ready", "refused", "bye")
        if name == "refused":
            raise RefusedError(data)
        assert name == "ready", f"a {name} instead of ready: {data}"
        body: Json = data
        return body

    def send_text(self, text: str) -> None:
        """Send one Engine.IO packet as it is."""
        self._ws.send(text)

    def send(self, name: str, argument: Any) -> int:
        """Send a packet that asks for an ack, and wait for nothing; give the ack's id."""
        self._ids += 1
        self.send_text(f"42{self._ids}{json.dumps([name, argument])}")
        return self._ids

    def read(self) -> Packet:
        """Read one packet, answering pings on the way.

        Raises: ConnectionError when the connection is over; TimeoutError after the deadline.
        """
        end = deadline()
        while time.monotonic() < end:
            packet = self._take(self._receive())
            if packet is not None:
                return packet
        raise TimeoutError(f"only pings came; the last packets: {self.packets[-5:]}")

    def _take(self, text: str) -> Packet | None:
        if text == "2":
            self.pings += 1
            if self._answers_pings:
                self.send_text("3")
            return None
        packet = _parse(text)
        self.packets.append(packet)
        return packet

    def _receive(self) -> str:
        try:
            text = self._ws.recv()
        except websocket.WebSocketTimeoutException:
            raise TimeoutError(f"nothing came; the last packets: {self.packets[-5:]}") from None
        except (websocket.WebSocketException, OSError) as error:
            raise ConnectionError(str(error)) from error
        if not text:
            raise ConnectionError("the server closed the connection")
        return str(text)

    def read_while(self, goes_on: Callable[[Packet], bool]) -> Packet:
        """Read packets up to the first for which `goes_on` is false, and give that one."""
        end = deadline()
        while True:
            packet = self.read()
            if not goes_on(packet):
                return packet
            assert time.monotonic() < end, f"waited in vain; last: {self.packets[-5:]}"

    def read_until(self, *names: str) -> Packet:
        """Read packets up to the first of one of these names, and give that one."""
        return self.read_while(lambda packet: packet[0] not in names)

    def call(self, name: str, argument: Any) -> Json:
        """Send a packet and read up to its ack; give the ack."""
        return self.read_ack(self.send(name, argument))

    def read_ack(self, ack_id: int) -> Json:
        """Read up to an ack, and give it."""
        found = self.read_while(lambda packet: packet[0] != "ack" or packet[1][0] != ack_id)
        ack: Json = found[1][1]
        return ack

    def ok(self, name: str, argument: Any) -> Json:
        """Send a packet whose ack has to be `ok: true`."""
        ack = self.call(name, argument)
        assert ack["ok"] is True, f"{name} was refused: {ack}"
        return ack

    def refusal(self, name: str, argument: Any) -> Json:
        """Send a packet whose ack has to be `ok: false`, and give its error."""
        ack = self.call(name, argument)
        assert ack["ok"] is False, f"{name} was accepted: {str(ack)[:500]}"
        error: Json = ack["error"]
        return error

    def read_to_the_end(self) -> None:
        """Read until the connection is over."""
        with contextlib.suppress(ConnectionError):
            while True:
                self.read()
        self.cut()

    def read_pings(self, count: int) -> None:
        """Read nothing but pings, and answer so many."""
        while self.pings < count:
            self._take(self._receive())

    def named(self, name: str) -> list[Any]:
        """Give the data of every packet of that name that was read."""
        return [data for packet, data in self.packets if packet == name]

    def cut(self) -> None:
        """Cut the connection, without a goodbye."""
        self._ws.shutdown()


def _parse(text: str) -> Packet:
    if text.startswith("42"):
        name, data = json.loads(text[2:])
        return name, data
    if text.startswith("43"):
        start = text.index("[")
        return "ack", (int(text[2:start]), json.loads(text[start:])[0])
    if text.startswith("44"):
        return "refused", json.loads(text[2:])
    if text.startswith(("41", "1")):
        return ("disconnect" if text.startswith("41") else "close"), text
    return "other", text
