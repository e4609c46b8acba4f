"""What an attacker would send: bytes on a TCP connection, and Engine.IO packets as they are."""

import contextlib
import json
import re
import socket
from pathlib import Path
from typing import Any

import requests
import websocket

from tests.support.server import Server
from tests.support.wait import wait_until

DEADLINE_S = 30.0
STATUS = re.compile(rb"HTTP/1\.1 (\d+) ")


def dial(server: Server) -> socket.socket:
    """Open a TCP connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            received += part
    return received


def ask(server: Server, request: bytes) -> bytes:
    """Send bytes, and read all that is answered until the server closes."""
    with dial(server) as connection:
        connection.sendall(request)
        return read_all(connection)


def statuses(answer: bytes) -> list[int]:
    """Give the status of each response in some bytes."""
    return [int(status) for status in STATUS.findall(answer)]


def metric(server: Server, name: str) -> float:
    """Read a gauge or a counter."""
    text = call(server, "GET", "/metrics").text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def wait_until_nobody_is_connected(server: Server) -> None:
    """Wait for less than it takes to miss a ping."""
    wait_until(
        lambda: metric(server, "fanfare_connections") == 0,
        deadline_s=15,
        every_s=0.1,
        what="the end of every connection",
    )


def descriptors(server: Server) -> int:
    """Count the open files of a server."""
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def call(server: Server, method: str, path: str, **more: Any) -> requests.Response:
    """Call any path, on a connection that ends with it."""
    headers = {"Connection": "close", **more.pop("headers", {})}
    with requests.Session() as session:
        session.trust_env = False
        url = server.url + path
        return session.request(method, url, headers=headers, timeout=DEADLINE_S, **more)


class Polling:
    """An Engine.IO session that polls."""

    def __init__(self, server: Server, token: str | None = None) -> None:
        self.server = server
        opened = self._call("GET", "")
        self.sid = str(json.loads(opened.text[1:])["sid"])
        if token is not None:
            assert self.post("40" + json.dumps({"token": token})).status_code == 200
            self.read_until('["ready"')

    def __enter__(self) -> "Polling":
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError):
            self.post("1")

    @property
    def path(self) -> str:
        """Where its packets go."""
        return f"/socket.io/?EIO=4&transport=polling&sid={self.sid}"

    def post(self, packets: str) -> requests.Response:
        """Send packets."""
        return self._call("POST", f"&sid={self.sid}", data=packets.encode())

    def post_later(self, packets: str) -> socket.socket:
        """Send packets, and don't wait for the answer."""
        connection = dial(self.server)
        head = f"POST {self.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(packets)}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n{packets}".encode())
        return connection

    def poll(self) -> requests.Response:
        """Wait for packets."""
        return self._call("GET", f"&sid={self.sid}")

    def read_until(self, wanted: str) -> list[str]:
        """Poll until a packet holds these words; give all packets up to there, answering pings."""
        packets: list[str] = []
        while not any(wanted in packet for packet in packets):
            answer = self.poll()
            assert answer.status_code == 200, answer.text
            packets += answer.text.split("\x1e")
            if "2" in packets:
                self.post("3")
                packets.remove("2")
        return packets

    def _call(self, method: str, query: str, **more: Any) -> requests.Response:
        return call(self.server, method, f"/socket.io/?EIO=4&transport=polling{query}", **more)


def open_websocket(server: Server, sid: str = "") -> websocket.WebSocket:
    """Open a WebSocket: a session of its own, or the upgrade of one that polls."""
    query = f"&sid={sid}" if sid else ""
    url = f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket{query}"
    opened = websocket.create_connection(
        url, timeout=DEADLINE_S, skip_utf8_validation=True, http_no_proxy=["*"]
    )
    if not sid:
        assert str(opened.recv()).startswith("0{")
    return opened


def read_to_the_end(opened: websocket.WebSocket) -> list[str]:
    """Read until the server closes; give every packet."""
    packets = []
    with contextlib.suppress(websocket.WebSocketConnectionClosedException, ConnectionError):
        while packet := opened.recv():
            packets.append(str(packet))
    return packets
