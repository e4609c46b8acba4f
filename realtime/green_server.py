"""The HTTP server on eventlet: its strictness, its loop.

With `green.py`, `green_door.py` and `green_line.py` the only file that names eventlet.
"""

import contextlib
import resource
from typing import Any

import eventlet
import eventlet.wsgi
import structlog

from realtime.framing import ShortLines, find_fault, refuse_request
from realtime.green import counted
from realtime.green_door import Guests, Listener
from realtime.request_head import Again, is_usual_line, read_head, read_lines
from realtime.websocket import HAS_EARLY

_log = structlog.get_logger(__name__)

# Files that are kept for the database, logs and the like; the others may be sockets.
_SPARE_FILES = 200
_IDLE_S = 30
# So much of a body that nobody wanted is read, to keep the connection for the next request.
_MOST_DISCARDED = 65_536
_JUDGE_UNREAD = "fanfare.judge_unread"


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
        if not is_usual_line(self.raw_requestline):
            return self._parse_unusual([])  # it may be refused before more comes
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
