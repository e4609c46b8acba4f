"""The only file that names eventlet: greenlets, timers, threads, and the server loop.

Kept small enough to be written again for another loop in a day.
"""

import errno
import os
import resource
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

# It warns of its own retirement at each import; docs/decisions has our answer.
warnings.filterwarnings("ignore", message="\\s*Eventlet is deprecated")

import eventlet
import eventlet.queue
import eventlet.semaphore
import eventlet.tpool
import eventlet.wsgi
import structlog

from realtime.framing import ShortLines, find_fault, refuse_request

_log = structlog.get_logger(__name__)

# How many password hashes are made at once: each takes a thread and 19 MiB.
_THREADS = 2
# eventlet.wsgi stops accepting at 1,024 unless told otherwise; the files of the process
# are the real bound, less those for the database, logs and the like.
_MOST_SOCKETS = 100_000
_SPARE_FILES = 200
_IDLE_S = 30
_LONG_S = 86_400
# What a packet weighs beside its data.
_PACKET_BYTES = 200
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


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Forget the call."""


def patch() -> None:
    """Make blocking calls of the standard library and of psycopg cooperate. Before other imports.

    psycopg reads its variable at its first import; its other ways of waiting stop the loop.
    """
    os.environ.setdefault("PSYCOPG_WAIT_FUNC", "wait_select")
    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
    eventlet.monkey_patch()


def spawn(work: Callable[..., object], *args: object) -> None:
    """Run something soon, beside what runs now."""
    eventlet.spawn_n(work, *args)


def later(seconds: float, work: Callable[..., object], *args: object) -> Timer:
    """Run something after a time, in a greenlet of its own."""
    timer: Timer = eventlet.hubs.get_hub().schedule_call_global(
        seconds, eventlet.spawn_n, work, *args
    )
    return timer


def sleep(seconds: float) -> None:
    """Let others run for a time."""
    eventlet.sleep(seconds)


def make_lock() -> AbstractContextManager[object]:
    """Make a lock that lets others run while somebody waits for it."""
    lock: AbstractContextManager[object] = eventlet.semaphore.Semaphore(1)
    return lock


def in_thread(work: Callable[[], Any]) -> Any:
    """Run something that computes for long on a real thread, and wait for it greenly."""
    eventlet.tpool.set_num_threads(_THREADS)
    return eventlet.tpool.execute(work)


def mark_handled() -> None:
    """Tell the WSGI server that the socket was taken over and needs no response."""
    eventlet.wsgi.WSGI_LOCAL.already_handled = True


class ByteQueue(eventlet.queue.Queue):  # type: ignore[misc]
    """A queue of Engine.IO packets that knows how many bytes wait in it.

    Beyond `max_bytes`, whoever puts them there, packets are dropped and `on_overflow` is called:
    the last bound on what one client can make us hold.
    """

    queued_bytes = 0
    max_bytes = 1 << 24
    on_overflow: Callable[[], object] = staticmethod(lambda: None)

    def _put(self, item: Any) -> None:
        if item is not None and self.queued_bytes > self.max_bytes:
            spawn(self.on_overflow)
            return
        self.queued_bytes += _weight(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.queued_bytes -= _weight(item)
        return item


class BoundedQueue:
    """A queue between greenlets that refuses what would make it weigh too much."""

    def __init__(self, max_weight: int) -> None:
        self._left = max_weight
        self._queue = eventlet.queue.LightQueue()

    def offer(self, item: Any, weight: int) -> bool:
        """Put something at its end; False: there is no room. Does not wait."""
        if weight > self._left:
            return False
        self._left -= weight
        self._queue.put_nowait((item, weight))
        return True

    def take(self, most: int) -> list[Any]:
        """Wait until there is something, and take it, with what came after it."""
        taken = [self._queue.get()]
        while len(taken) < most and not self._queue.empty():
            taken.append(self._queue.get_nowait())
        self._left += sum(weight for _, weight in taken)
        return [item for item, _ in taken]


def _weight(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return _PACKET_BYTES + (len(data) if isinstance(data, str | bytes) else 0)


def listen(host: str, port: int) -> "Listener":
    """Bind a port; 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener: socket.socket = eventlet.listen((host, port), family=family, backlog=4096)
    # Accepted sockets inherit it. Without it the second write of a response waits for the
    # client's delayed acknowledgement of the first: 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Listener(listener)


class Listener:
    """A listening socket that outlives a failure to accept."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._is_closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def stop_accepting(self) -> None:
        """Refuse new connections from now on."""
        self._is_closed = True
        self._listener.close()

    def accept(self) -> Any:
        """Accept a connection; wait where there are no descriptors left, or the client left."""
        while True:
            try:
                return self._listener.accept()
            except OSError as error:
                if self._is_closed:
                    # To end here would end the server, and with it those who still say goodbye.
                    eventlet.sleep(_LONG_S)
                if error.errno not in _PASSING:
                    raise
                _log.warning("accept failed", reason=errno.errorcode[error.errno])
                eventlet.sleep(0.2)


class _Protocol(eventlet.wsgi.HttpProtocol):  # type: ignore[misc]
    """Strict about where a request ends, and not made to read what was refused."""

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
        return environ


def _raise_limit_of_files() -> int:
    """Take as many file descriptors as the system gives; tell how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(hard, _MOST_SOCKETS) if hard != resource.RLIM_INFINITY else _MOST_SOCKETS


def serve(listener: Listener, app: Any) -> None:
    """Serve a WSGI application for ever."""
    eventlet.wsgi.server(
        listener,
        app,
        protocol=_Protocol,
        max_size=max(64, _raise_limit_of_files() - _SPARE_FILES),
        log_output=False,
        debug=False,
        socket_timeout=_IDLE_S,
        capitalize_response_headers=False,
    )


def on_signal(numbers: Iterable[int], work: Callable[[], object]) -> None:
    """Run something, once, when one of these signals comes.

    By way of a pipe: the loop sleeps until something is to be read, and a signal alone does not
    wake it.
    """
    wanted = [int(number) for number in numbers]
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in wanted:
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        heard = b""
        # A byte for every signal that anybody has a handler for; ours is among them or not.
        while not set(heard) & set(wanted):
            eventlet.hubs.trampoline(reader, read=True)
            heard = os.read(reader, 64)
        work()

    spawn(wait)


def end() -> None:
    """End the process with status 0, though the server's loop would go on."""
    eventlet.hubs.get_hub().schedule_call_global(0, sys.exit, 0)
