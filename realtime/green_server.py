"""The HTTP server on eventlet: its door, its strictness, its loop.

With `green.py` the only file that names eventlet.
"""

import contextlib
import errno
import resource
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

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

_log = structlog.get_logger(__name__)

# Files that are kept for the database, logs and the like; the others may be sockets.
_SPARE_FILES = 200
_BACKLOG = 4096
# So long a connection may wait for the process that it fell to, before another takes it.
_PATIENCE_S = 0.05
_IDLE_S = 30
_LONG_S = 86_400
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
        self._waiter: Any = None
        self._over = eventlet.event.Event()
        self.is_closed = False
        self.requests = 0  # that are being answered
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
        if self._waiter is not None:
            # It must leave the loop's list before the number is free for another file.
            eventlet.kill(self._waiter, _ClosedError)
        for listening in (self._own, *self._others):
            listening.close()

    close = stop_accepting  # for the WSGI server, at its end

    def accept(self) -> Any:
        """Accept a connection; wait where there are no descriptors left, or the client left."""
        while True:
            if self._left:
                return self._left.popleft()
            if self.is_closed:
                # To end here would end the server, and with it those who still say goodbye.
                eventlet.sleep(_LONG_S)
            found = self._take(self._own) or self._wait()
            if found:
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
        return eventlet.greenio.GreenSocket(client), address

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
    return listening


def _select(listening: Sequence[Any], timeout_s: float | None = None) -> Sequence[Any]:
    ready: Sequence[Any] = eventlet.green.select.select(listening, [], [], timeout_s)[0]
    return ready


class _Protocol(eventlet.wsgi.HttpProtocol):  # type: ignore[misc]
    """Strict about where a request ends, and not made to read what was refused."""

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
        if not super().parse_request():
            return False
        fault = find_fault(self.headers)
        if fault is not None:
            self.send_error(400, fault)
        return fault is None

    def send_error(self, code: int, message: str | None = None, *_explained: str) -> None:
        """Refuse what is no request, in the form of every other error."""
        self.close_connection = 1
        refusal = refuse_request(code, message or "This is no HTTP request.")
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


class Line:
    """The connection of a request whose answer takes long: notices that its client has gone."""

    def __init__(self, environ: dict[str, Any]) -> None:
        source = environ.get("eventlet.input")
        self._sock: Any = source.get_socket() if source else None
        self._listener: Any = None
        self._on_end: Callable[[], object] = bool

    def watch(self, on_end: Callable[[], object]) -> None:
        """Call `on_end`, once, when the client has gone. It must not wait for anything."""
        if self._sock is not None:
            self._on_end = on_end
            hub = eventlet.hubs.get_hub()
            self._listener = hub.add(hub.READ, self._sock.fileno(), self._look, bool, bool)

    def leave(self) -> None:
        """Watch no more. Before the answer is complete: the next request is read then."""
        if self._listener is not None:
            eventlet.hubs.get_hub().remove(self._listener)
            self._listener = None

    def _look(self, _descriptor: int) -> None:
        if self._listener is None:
            return  # Who writes to it was woken in the same round, and has let go of it.
        try:
            # `fd`: what lies under the green socket, and never waits.
            is_over = not self._sock.fd.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            is_over = True
        # Else it sends its next request already: no end will be seen behind that.
        self.leave()
        if is_over:
            self._on_end()

    def close(self) -> None:
        """Have nothing more to do with it: it may carry the next request by now."""
        self.leave()
        self._sock = None

    def cut(self) -> None:
        """End it now: whoever writes to it fails."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.fd.shutdown(socket.SHUT_RDWR)


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


def serve(listener: Listener, app: Any, most_connections: int) -> None:
    """Serve a WSGI application until the listener's `end`."""
    server = eventlet.spawn(
        eventlet.wsgi.server,
        listener,
        _tell_end_early(app),
        protocol=_Protocol,
        # It would stop at 1,024.
        max_size=max(64, min(most_connections, _raise_limit_of_files() - _SPARE_FILES)),
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
