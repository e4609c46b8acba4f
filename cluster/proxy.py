"""A TCP proxy that breaks connections on purpose: cut, refused, or late.

It stands between a node and its Redis or PostgreSQL, so that one node can lose what the others
still have.
"""

import socket
import struct
import threading
import time
from typing import Self

from cluster.ports import LOOPBACK, free_port

_CHUNK = 65_536
_LOOK_EVERY_S = 0.1
# Closing with this sends RST: the other side gets an error, not an end.
_NO_LINGER = struct.pack("ii", 1, 0)


class Proxy:
    """Passes what comes to its port on to `target`, until it is told not to.

    It starts at once, and keeps its port whatever happens.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.port = free_port()
        self.delay_s = 0.0  # how late each piece is passed on, either way
        self.accepted = 0
        self.passes = threading.Event()
        self.passes.set()
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()
        self._is_listening = False
        self._acceptor: threading.Thread | None = None
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open through it."""
        with self._lock:
            return len(self._open)

    def cut(self) -> None:
        """Pass nothing on, as with the cable pulled: what is open stays open, and hears nothing.

        New connections are taken, and hear nothing either.
        """
        self.passes.clear()

    def refuse(self) -> None:
        """Break every connection, and refuse new ones."""
        self._is_listening = False
        if self._acceptor is not None:
            self._acceptor.join()
            self._acceptor = None
        self.reset()

    def reset(self) -> None:
        """Break every connection; new ones are taken."""
        with self._lock:
            connections = list(self._open)
        for one in connections:
            one.reset()

    def heal(self) -> None:
        """Pass everything on again; what was held since a cut comes first, and late."""
        self.delay_s = 0.0
        self.passes.set()
        if self._acceptor is None:
            self._listen()

    def close(self) -> None:
        """End it, and every connection through it."""
        self.refuse()

    def _listen(self) -> None:
        listener = socket.create_server((LOOPBACK, self.port), backlog=512)
        listener.settimeout(_LOOK_EVERY_S)
        self._is_listening = True
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        self._acceptor.start()

    def _accept(self, listener: socket.socket) -> None:
        # A listener that another thread closes would still take one: so it looks up, and closes.
        with listener:
            while self._is_listening:
                try:
                    client, _address = listener.accept()
                except TimeoutError:
                    continue
                self.accepted += 1
                connection = _Connection(self, client)
                with self._lock:
                    self._open.add(connection)
                connection.start()

    def forget(self, connection: "_Connection") -> None:
        """Take note that a connection has ended."""
        with self._lock:
            self._open.discard(connection)


class _Connection:
    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._is_broken = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def reset(self) -> None:
        self._is_broken = True
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._client, self._call() as server:
                for one in (self._client, server):
                    one.settimeout(_LOOK_EVERY_S)
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=self._pump, args=(server, self._client), daemon=True)
                back.start()
                self._pump(self._client, server)
                back.join()
                if self._is_broken:
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                    self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        except OSError:
            pass  # nobody answers at the target: the client's connection is closed, which says so
        finally:
            self._proxy.forget(self)

    def _call(self) -> socket.socket:
        self._wait_for_passage()
        return socket.create_connection(self._proxy.target, timeout=10)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := self._receive(source):
                if self._proxy.delay_s:
                    time.sleep(self._proxy.delay_s)
                self._wait_for_passage()
                self._send(sink, piece)
            self._wait_for_passage()
            if not self._is_broken:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._is_broken = True  # one side broke it, so it is broken for the other as well

    def _receive(self, source: socket.socket) -> bytes:
        while not self._is_broken:
            try:
                return source.recv(_CHUNK)
            except TimeoutError:
                continue
        return b""

    def _send(self, sink: socket.socket, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest and not self._is_broken:
            try:
                rest = rest[sink.send(rest) :]
            except TimeoutError:
                continue

    def _wait_for_passage(self) -> None:
        while not self._is_broken and not self._proxy.passes.wait(_LOOK_EVERY_S):
            pass
