"""The HTTP server on eventlet: its door, its strictness, its loop.

With `green.py` and `green_line.py` the only file that names eventlet.
"""

import contextlib
import errno
import resource
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
import eventlet.wsgi
import structlog

from realtime.framing import ShortLines, find_fault, refuse_request
from realtime.green import counted
from realtime.request_head import Again, read_head, read_lines
from realtime.websocket import HAS_EARLY

_log = structlog.get_logger(__name__)

# Files that are kept for the database, logs and the like; the others may be sockets.
_SPARE_FILES = 200
_BACKLOG = 4096
# So long a connection may wait for the process that it fell to, before another takes it.
_PATIENCE_S = 0.05
_DEFER_S = 1
_IDLE_S = 30
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
# So much of a body that nobody wanted is read, to keep the connection for the next request.
_MOST_DISCARDED = 65_536
_JUDGE_UNREAD = "fanfare.judge_unread"


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
        """Refuse new connections from now on; who waited already is let in."""
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


class _Protocol(eventlet.wsgi.HttpProtocol):  # type: ignore[misc]
    """Strict about where a request ends, and not made to read what was refused."""

    # The standard library's, which has no types here.
    rfile: Any
    headers: Any
    close_connection: Any
    is_counted = False
    # Held by every connection, also by those that wait for hours: a head fits, and what is
    # longer passes them by.
    rbufsize = wbufsize = 4096

    def handle(self) -> None:
        """Answer the requests of one connection."""
        counted(super().handle)

    def handle_one_request(self) -> None:
        """Answer one request."""
        try:
            super().handle_one_request()
        finally:
            self._discount()

    def _discount(self) -> None:
        if self.is_counted:
            self.is_counted = False
            self.server.socket.requests -= 1

    def parse_request(self) -> bool:
        """Read the head of a request; False: it was refused."""
        lines = read_lines(self.rfile.readline)
        usual = read_head(self.raw_requestline, lines)
        if usual is not None:
            self.command, self.path, self.headers = usual
            self.requestline = self.raw_requestline.decode().rstrip()
            self.request_version = self.protocol_version
            wish = self.headers.get("connection") or ""
            self.close_connection = wish.lower() == "close"
            return True
        return self._parse_unusual(lines)

    def _parse_unusual(self, lines: list[bytes]) -> bool:
        file = self.rfile
        self.rfile = Again(lines, file)
        try:
            if not super().parse_request():
                return False
        finally:
            self.rfile = file
        fault = find_fault(self.headers)
        if fault is not None:
            self.send_error(400, fault)
        return fault is None

    def send_error(self, code: int, message: str | None = None, *_explained: str) -> None:
        """Refuse what is no request, in the form of every other error."""
        self.close_connection = 1
        refusal = refuse_request(code, message or "This is no HTTP request.")
        # Who sent half a head may be gone by now, which is no failure of ours.
        with contextlib.suppress(OSError):
            self.wfile.write(refusal)
            self.wfile.flush()

    def finish(self) -> None:
        """Let go of the connection, also where its client takes nothing more."""
        try:
            super().finish()
        finally:
            # Else the descriptor stays open until the garbage collector comes round.
            self.rfile.close()

    def get_environ(self) -> dict[str, Any]:
        """Make the WSGI environment of a request."""
        environ: dict[str, Any] = super().get_environ()
        environ["SERVER_PROTOCOL"] = self.request_version  # the library says 1.0, whatever came
        environ[HAS_EARLY] = self._has_early
        self._count(environ)
        source = environ["eventlet.input"]
        source.rfile = ShortLines(source.rfile)
        # It ends where the chunks end; Flask would take it for empty.
        environ["wsgi.input_terminated"] = source.chunked_input
        read_to_end = source.discard

        def discard() -> None:
            left = (source.content_length or 0) - source.position
            if source.chunked_input or left > _MOST_DISCARDED:
                self.close_connection = 1
            else:
                read_to_end()

        source.discard = discard
        environ[_JUDGE_UNREAD] = lambda: self._judge_unread(source)
        return environ

    def _has_early(self) -> bool:
        # What came behind the head lies in the file, and would be lost with it.
        sock = self.connection
        timeout = sock.gettimeout()
        sock.setblocking(False)
        try:
            has_early = bool(self.rfile.peek(1))
        finally:
            sock.settimeout(timeout)
        if has_early:
            self.close_connection = 1
        return has_early

    def _judge_unread(self, source: Any) -> None:
        # Said in the answer's head, or the client would send its next request into the end.
        if (source.content_length or 0) - source.position > _MOST_DISCARDED:
            self.close_connection = 1

    def _count(self, environ: dict[str, Any]) -> None:
        listener: Listener = self.server.socket
        listener.requests += 1
        self.is_counted = True
        if listener.is_closed:
            # The next request of this client finds another node.
            self.close_connection = 1
        set_idle = environ["eventlet.set_idle"]

        def hand_over() -> None:
            self._discount()
            set_idle()

        # Called where a request becomes a WebSocket, which never ends by itself.
        environ["eventlet.set_idle"] = hand_over


def _raise_limit_of_files() -> int:
    """Take as many file descriptors as the system gives; tell how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 30


def _tell_end_early(app: Any) -> Any:
    def told(environ: dict[str, Any], start_response: Any) -> Any:
        def start(*head: Any) -> Any:
            environ[_JUDGE_UNREAD]()
            return start_response(*head)

        return app(environ, start)

    return told


def serve(listener: Listener, app: Any, most_connections: int, guests: Guests) -> None:
    """Serve a WSGI application until the listener's `end`, beside guests who have left it."""
    most = max(64, min(most_connections, _raise_limit_of_files() - _SPARE_FILES))
    # Its own would stop at 1,024.
    pool = eventlet.GreenPool(most)
    listener.welcome(guests, lambda: pool.running() + len(guests) < most)
    server = eventlet.spawn(
        eventlet.wsgi.server,
        listener,
        _tell_end_early(app),
        protocol=_Protocol,
        custom_pool=pool,
        # It would keep what is small until there is more: an event would wait for the next ones.
        minimum_chunk_size=1,
        log_output=False,
        debug=False,
        socket_timeout=_IDLE_S,
        capitalize_response_headers=False,
    )
    server.link(lambda _server: listener.end())
    listener.wait_for_end()
    if server.dead:
        server.wait()  # raises what ended it
