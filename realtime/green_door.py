"""The door: where connections are accepted, and which of them are let in right away.

With `green.py`, `green_server.py` and `green_line.py` the only file that names eventlet.
"""

import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import eventlet
import eventlet.event
import eventlet.green.select
import eventlet.greenio
import eventlet.hubs
import eventlet.patcher
import structlog

_log = structlog.get_logger(__name__)

# So many may wait to be accepted.
_BACKLOG = 4096
# So long a connection may wait for the process that it fell to, before another takes it.
_PATIENCE_S = 0.05
# So long one that says nothing is not accepted.
_DEFER_S = 1
_LONG_S = 86_400
# Between two looks whether there is room again.
_FULL_S = 0.05
_MOST_PEEKED = 4096
# Instead of a connection: it is somebody else's by now.
_WELCOMED = object()
# So many are welcomed before others have a turn.
_FAIR_SHARE = 64
# Failures to accept that are over soon, and no reason to end.
_PASSING = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.EPROTO,
    errno.EPERM,
}


def listen(host: str, port: int) -> "Listener":
    """Bind a port; 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening: socket.socket = eventlet.listen((host, port), family=family, backlog=_BACKLOG)
    return Listener(listening.detach())


class Guests(Protocol):
    """Connections that left the server with their handshake, and how more of them do."""

    def __len__(self) -> int:
        """Count them."""

    def greet(self, head: bytes) -> bytes | None:
        """Judge the head of a request; give the answer, if it may leave right away."""

    def welcome(self, sock: socket.socket, greeting: bytes) -> None:
        """Take a connection whose request was read, and answer it."""


class Listener:
    """A listening socket that outlives a failure to accept, given by its descriptor.

    Connections that wait at `others`, the sockets of sibling processes, are taken too once they
    have waited for a while: their process is stuck, or has ended. `is_shared` says that somebody
    else holds `own` open too, and will serve those who wait there.
    """

    def __init__(self, own: int, others: Sequence[int] = (), *, is_shared: bool = False) -> None:
        self._is_shared = is_shared
        self._own = _adopt(own)
        self._others = [_adopt(other) for other in others]
        self._left: deque[Any] = deque()
        # Accepted before they said anything; they may have by the time that others are.
        self._silent: list[Any] = []
        self._waiter: Any = None
        self._over = eventlet.event.Event()
        self.is_closed = False
        self.requests = 0  # that are being answered
        self._guests: Guests | None = None
        self._has_room: Callable[[], bool] = lambda: True
        self.address, self.family = self._own.getsockname(), self._own.family

    def getsockname(self) -> Any:
        """Give the address; also after it was closed."""
        return self.address

    def stop_accepting(self) -> None:
        """Refuse new connections from now on; who has spoken already is let in."""
        if self.is_closed:
            return
        self.is_closed = True
        # A sole owner that closed would reset them.
        while not self._is_shared and (found := self._take(self._own)):
            self._left.append(found)
        self._look_again()
        if self._waiter is not None:
            # It must leave the loop's list before the number is free for another file.
            eventlet.kill(self._waiter, _ClosedError)
        for listening in (self._own, *self._others):
            listening.close()

    close = stop_accepting  # for the WSGI server, at its end

    def welcome(self, guests: Guests, has_room: Callable[[], bool]) -> None:
        """Say who takes connections that are no more than a handshake, and for how many is room."""
        self._guests, self._has_room = guests, has_room

    def accept(self) -> Any:
        """Accept a connection; wait where there are no descriptors left, or the client left."""
        welcomed = 0
        while True:
            if self._left:
                return self._left.popleft()
            if self.is_closed:
                # To end here would end the server, and with it those who still say goodbye.
                eventlet.sleep(_LONG_S)
            if not self._has_room():
                eventlet.sleep(_FULL_S)
                continue
            is_turn = len(self._silent) < _FAIR_SHARE
            found = (is_turn and self._take(self._own)) or self._listen_again() or self._wait()
            if found is _WELCOMED:
                welcomed += 1
                if welcomed % _FAIR_SHARE == 0:
                    eventlet.sleep(0)
            elif found:
                return found

    def _take(self, listening: Any) -> Any:
        try:
            client, address = listening.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            _log.warning("accept failed", reason=errno.errorcode[error.errno])
            if not self.is_closed:
                eventlet.sleep(0.2)
            return None
        eventlet.hubs.notify_opened(client.fileno())
        is_guest = self._is_guest(client)
        if is_guest is None:
            self._silent.append((client, address))
        return self._found(client, address) if is_guest is False else _WELCOMED

    def _found(self, client: socket.socket, address: Any) -> Any:
        return eventlet.greenio.GreenSocket(client), address

    def _listen_again(self) -> Any:
        if not self._silent:
            return None
        eventlet.sleep(0)
        self._look_again()
        return _WELCOMED

    def _look_again(self) -> None:
        silent, self._silent = self._silent, []
        self._left.extend(self._found(*one) for one in silent if not self._is_guest(one[0]))

    def _is_guest(self, client: socket.socket) -> bool | None:
        """Let a guest in; None: it has said nothing yet."""
        # A handshake that is here already needs no greenlet. Whatever is late, in parts or in any
        # way unusual goes the usual way.
        if self._guests is None or self.is_closed:
            return False
        try:
            head = client.recv(_MOST_PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            greeting = self._guests.greet(head)
            if greeting is None:
                return False
            client.recv(len(head))
            self._guests.welcome(client, greeting)
        except BlockingIOError:
            return None
        except OSError:
            client.close()  # it has gone already
        except Exception:  # noqa: BLE001 - whatever a stranger sent: the door stays open
            _log.exception("handshake failed")
            client.close()
        return True

    def _wait(self) -> Any:
        self._waiter = eventlet.getcurrent()
        try:
            ready = _select([self._own, *self._others])
            if self._own in ready or _select([self._own], _PATIENCE_S):
                return None
        except _ClosedError:
            return None
        finally:
            self._waiter = None
        return next(filter(None, map(self._take, self._others)), None)

    def end(self) -> None:
        """Make `serve` return, though there may be connections."""
        if not self._over.ready():
            self._over.send()

    def wait_for_end(self) -> None:
        """Wait until somebody calls `end`."""
        self._over.wait()


class _ClosedError(Exception):
    """Whoever waits at the door: it was closed."""


def _adopt(descriptor: int) -> Any:
    listening = eventlet.patcher.original("socket").socket(fileno=descriptor)
    listening.setblocking(False)
    # Accepted sockets inherit it. Without it the second write of a response waits for the
    # client's delayed acknowledgement of the first: 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Linux: nobody is accepted before the request is there, or a second has gone by. So it needs
    # no greenlet to be waited for, and most handshakes leave at once, see `Guests`.
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_S)
    return listening


def _select(listening: Sequence[Any], timeout_s: float | None = None) -> Sequence[Any]:
    ready: Sequence[Any] = eventlet.green.select.select(listening, [], [], timeout_s)[0]
    return ready
