"""A Socket.IO client of a few lines: it reads only when told to, and sends without waiting.

The stock client reads by itself, as fast as it can. Here a test says when a packet is read, so
it can stop reading, send a hundred packets in one go, or die between any two of them.
"""

import json
import socket
from collections.abc import Callable
from typing import Any, Self

import websocket

PATH = "/socket.io/?EIO=4&transport=websocket"
Packet = tuple[str, Any]


class RawSocket:
    """One connection. `packets` is all that was read: `(name, data)` or `("ack", (id, body))`."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        receive_buffer: int | None = None,
        deadline_s: float = 30.0,
    ) -> None:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        if receive_buffer is not None:
            options.append((socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer))
        self.packets: list[Packet] = []
        self._ids = 0
        self._ws = websocket.create_connection(
            url.replace("http", "ws", 1) + PATH,
            timeout=deadline_s,
            sockopt=options,
            skip_utf8_validation=True,  # in Python, byte by byte
            http_no_proxy=["*"],
        )
        try:
            assert str(self._ws.recv()).startswith("0{")
            self.send_text("40" + json.dumps({"token": token}))
            self.ready = self._read_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _read_ready(self) -> Any:
        name, data = self.read_until(lambda packet: packet[0] in ("ready", "refused"))
        if name == "refused":
            raise ConnectionRefusedError(data)
        return data

    def send_text(self, text: str) -> None:
        """Send one Engine.IO packet as it is."""
        self._ws.send(text)

    def send(self, name: str, argument: Any) -> int:
        """Send an event that asks for an ack; give the ack's id. Waits for nothing."""
        self._ids += 1
        self.send_text(f"42{self._ids}{json.dumps([name, argument])}")
        return self._ids

    def read(self) -> Packet:
        """Read one packet, answering pings on the way.

        Raises: ConnectionError when the connection is over; TimeoutError after the deadline.
        """
        while True:
            text = self._receive()
            if text == "2":
                self.send_text("3")
                continue
            packet = parse(text)
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

    def read_until(self, wanted: Callable[[Packet], bool]) -> Packet:
        """Read packets up to the first that is wanted, and give that one."""
        while True:
            packet = self.read()
            if wanted(packet):
                return packet

    def read_ack(self, ack_id: int) -> Any:
        """Read packets up to an ack, and give its body."""
        return self.read_until(lambda packet: packet[0] == "ack" and packet[1][0] == ack_id)[1][1]

    def call(self, name: str, argument: Any) -> Any:
        """Send an event and read up to its ack; give the ack's body."""
        return self.read_ack(self.send(name, argument))

    def ok(self, name: str, argument: Any) -> Any:
        """Send an event whose ack has to be `ok: true`."""
        ack = self.call(name, argument)
        assert ack["ok"] is True, f"{name} was refused: {ack}"
        return ack

    def read_to_the_end(self) -> None:
        """Read until the connection is over."""
        try:
            while True:
                self.read()
        except ConnectionError:
            pass

    def named(self, name: str) -> list[Any]:
        """Give the data of every packet of that name that was read."""
        return [data for packet, data in self.packets if packet == name]

    def close(self) -> None:
        """Cut the connection, without a goodbye."""
        self._ws.shutdown()


def parse(text: str) -> Packet:
    """Give the name and data of an Engine.IO packet, or of the Socket.IO packet in it."""
    if text.startswith("42"):
        name, data = json.loads(text[2:])
        return name, data
    if text.startswith("43"):
        start = text.index("[")
        return "ack", (int(text[2:start]), json.loads(text[start:])[0])
    if text.startswith(("41", "1", "44")):
        return {"41": "disconnect", "44": "refused"}.get(text[:2], "close"), text
    return "other", text
