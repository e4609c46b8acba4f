"""Thousands of lean clients in one process, none of which waits for another: epoll, no blocking.

A guest connects, is greeted, sends its one packet, and then watches. Its events have to come with
offsets that follow one another; a connection that the server ends is an error, unless it is due.
"""

import secrets
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import orjson

from benchmarks.wire import Address, WireError, after_upgrade, framed, split, upgrade

Json = dict[str, Any]
_READ_BYTES = 65_536
_MASK = secrets.token_bytes(4)
_PATIENCE_S = 60.0  # while nothing comes of it
_PONG = framed(b"3", _MASK)


class Client:
    """One connection of a crowd. Who makes it says `hello`, and takes what comes."""

    def __init__(self) -> None:
        self.address: Address = ("", 0)
        self.socket: socket.socket  # from its first dialling on
        self.is_live = False

    def dial(self, address: Address) -> None:
        """Begin to connect, perhaps anew."""
        self.address, self.is_live = address, False
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.socket.connect_ex(address)

    def on_connected(self) -> None:
        """Speak first."""
        if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise WireError(f"a connection failed: error {error}")
        self.socket.sendall(self.hello())

    def on_readable(self) -> bool:
        """Read once; tell whether the connection still stands."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except ConnectionResetError:
            return False
        self.receive(data)
        return bool(data)

    def hello(self) -> bytes:
        """Give the first bytes to send."""
        raise NotImplementedError

    def receive(self, data: bytes) -> None:
        """Take what came; `is_live` once it was let in."""
        raise NotImplementedError


class Guest(Client):
    """One client of the socket; `packet` is what it sends once it is greeted."""

    def __init__(self, token: str, packet: bytes) -> None:
        super().__init__()
        self.token = token
        self.packet = packet
        self.ready: Json = {}
        self.live_at = 0.0
        # The stream that it watches, and where it stands there.
        self.stream, self.epoch, self.at = "", "", 0
        self.marked = 0
        self._buffer = b""
        self._is_upgraded = False

    def hello(self) -> bytes:
        """Ask for a WebSocket."""
        self._buffer, self._is_upgraded = b"", False
        return upgrade(self.address)

    def receive(self, data: bytes) -> None:
        """Take the messages that are whole."""
        self._buffer += data
        if not self._is_upgraded:
            if b"\r\n\r\n" not in self._buffer:
                return
            self._buffer, self._is_upgraded = after_upgrade(self._buffer), True
        texts, self._buffer = split(self._buffer)
        for text in texts:
            self.take(text)

    def take(self, text: bytes) -> None:
        """Act on one message of the server."""
        if text == b"2":
            self.socket.sendall(_PONG)
        elif text.startswith(b'42["event",'):
            self._take_event(orjson.loads(text[2:])[1])
        elif text.startswith(b"0{"):
            self._send(b"40" + orjson.dumps({"token": self.token}))
        elif text.startswith(b'42["ready",'):
            self.ready = orjson.loads(text[2:])[1]
            self._send(self.packet)
        elif text.startswith(b"43"):
            self._take_ack(orjson.loads(text[text.index(b"[") :])[0])
        elif text.startswith((b'42["bye"', b"44")):
            raise WireError(f"the server ended a connection: {text[:200]!r}")

    def _take_ack(self, body: Json) -> None:
        for ack in [body, *body.get("streams", {}).values()]:
            if not ack["ok"] or ack.get("reset") or ack.get("more"):
                raise WireError(f"a client was not let in at once: {ack}")
            if ack.get("stream", "").startswith("channel:"):
                self._take_stream(ack)
        self.is_live, self.live_at = True, time.perf_counter()

    def _take_stream(self, ack: Json) -> None:
        top = ack["position"]["offset"]
        if not self.stream:
            self.stream, self.epoch, self.at = ack["stream"], ack["position"]["epoch"], top
        for event in ack["events"]:
            self._take_event(event)
        if self.at != top:
            raise WireError(f"a client that stands at {self.at} was told that it is at {top}")

    def positions(self) -> Json:
        """Give where it stands, in its stream and in its own, and remember it."""
        self.marked = self.at
        own = self.ready["user"]["id"]
        at = {"offset": self.at, "epoch": self.epoch}
        return {self.stream: at, f"user:{own}": self.ready["position"]}

    def has_seen(self, events: int) -> bool:
        """Whether so many events came since then, or since this was last true."""
        if self.at > self.marked + events:
            raise WireError(f"{self.at - self.marked} events came in place of {events}")
        return self.at == self.marked + events

    def _take_event(self, event: Json) -> None:
        if event["stream"] == self.stream:
            if event["offset"] != self.at + 1:
                raise WireError(f"a client that stood at {self.at} was given {event['offset']}")
            self.at += 1

    def _send(self, text: bytes) -> None:
        self.socket.sendall(framed(text, _MASK))


C = TypeVar("C", bound=Client)


class Swarm(Generic[C]):
    """Many clients, looked after by one loop."""

    def __init__(self, guests: Sequence[C]) -> None:
        self.guests = guests
        self.ended: list[C] = []
        self._live = 0
        self._by_fd: dict[int, C] = {}
        self._connecting: set[int] = set()
        self._epoll = select.epoll()

    def dial(
        self, addresses: Sequence[Address], *, at_once: int, who: Sequence[C] | None = None
    ) -> None:
        """Connect all, in turn to each of the addresses, and wait until all are live.

        `at_once`: so many are under way at a time. `who`: these alone.
        """
        guests = self.guests if who is None else who
        waiting = list(reversed(guests))
        dialled = before = self._live = 0
        until = time.perf_counter() + _PATIENCE_S
        while self._live < len(guests):
            while waiting and dialled - self._live < at_once:
                self._dial(waiting.pop(), addresses[dialled % len(addresses)])
                dialled += 1
            self.turn(0.05)
            if self._live > before:
                before, until = self._live, time.perf_counter() + _PATIENCE_S
            if self.ended or time.perf_counter() > until:
                ended = len(self.ended)
                raise WireError(f"{self._live} of {len(guests)} came in; {ended} were ended")

    def _dial(self, guest: C, address: Address) -> None:
        guest.dial(address)
        fd = guest.socket.fileno()
        self._by_fd[fd] = guest
        self._connecting.add(fd)
        self._epoll.register(fd, select.EPOLLOUT)

    def turn(self, wait_s: float) -> None:
        """Handle what has come, or comes within that time."""
        for fd, _ in self._epoll.poll(wait_s):
            guest = self._by_fd[fd]
            if fd in self._connecting:
                self._connecting.discard(fd)
                guest.on_connected()
                self._epoll.modify(fd, select.EPOLLIN)
            else:
                self._read(guest)

    def _read(self, guest: C) -> None:
        was_live = guest.is_live
        stands = guest.on_readable()
        self._live += guest.is_live and not was_live
        if not stands:
            self.hang_up(guest)
            self.ended.append(guest)

    def hang_up(self, guest: C) -> None:
        """Leave without a goodbye."""
        fd = guest.socket.fileno()
        self._epoll.unregister(fd)
        del self._by_fd[fd]
        guest.socket.close()

    def wait(self, until: Callable[[], bool], what: str) -> None:
        """Handle what comes until something holds."""
        end = time.perf_counter() + _PATIENCE_S
        while not until():
            self.turn(0.05)
            if time.perf_counter() > end:
                raise WireError(f"waited {_PATIENCE_S:.0f} s in vain for {what}")

    def rest(self, seconds: float) -> None:
        """Handle what comes for so long; nobody may be sent away."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.turn(left)
        if self.ended:
            raise WireError(f"{len(self.ended)} connections were ended while they did nothing")
