"""A connection that outlives what the HTTP server does with it: taken away, or answered for long.

With `green.py` and the other `green_*.py` the only file that names eventlet.
"""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import eventlet.hubs
import eventlet.patcher

from realtime.green import mark_handled


def take_socket(environ: dict[str, Any]) -> socket.socket:
    """Take the connection of a request away from the server, which answers nothing then."""
    # A graceful stop of the server does not wait for it: its request never ends.
    environ["eventlet.set_idle"]()
    green: Any = environ["eventlet.input"].get_socket()
    under = green.fd
    family, kind, protocol = under.family, under.type, under.proto
    taken: socket.socket = eventlet.patcher.original("socket").socket(
        family, kind, protocol, fileno=under.detach()
    )
    mark_handled()
    return taken


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
