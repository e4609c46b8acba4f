"""A WebSocket on the loop whose client agreed to compression.

A kind of its own, so that others hold and do nothing for it.
"""

import socket

from realtime import frames, green
from realtime.deflate import Packing
from realtime.transport import Owner, Spare, Transport

# Where compression was agreed on, a byte may become a thousand. So little is read at once, and
# whoever makes much of it is read no faster than this: inflating costs us more than it costs them.
_READ_DEFLATED_BYTES = 2_048
_MUCH_INFLATED_BYTES = 65_536
_MOST_INFLATED_PER_S = 8 << 20


class DeflatedTransport(Transport):
    """A transport that reads compressed messages too."""

    __slots__ = ("_is_resting", "_packing", "_taken_bytes")

    _spare = Spare(frames.DeflatedReader)
    _most_read = _READ_DEFLATED_BYTES

    def __init__(
        self, sock: socket.socket, owner: Owner, max_message_bytes: int, packing: Packing
    ) -> None:
        super().__init__(sock, owner, max_message_bytes)
        self._packing = packing
        self._taken_bytes = 0
        self._is_resting = False

    @property
    def packing(self) -> Packing | None:
        """Tell how what is written may be compressed."""
        return self._packing

    def read_on(self) -> None:
        """Read again, after the owner was full; not before much was paid for."""
        if not self._is_resting:
            super().read_on()

    def _take(self, data: bytes) -> None:
        self._taken_bytes = 0
        super()._take(data)
        if self._taken_bytes > _MUCH_INFLATED_BYTES and self.is_open:
            self._stop_reading()
            self._is_resting = True
            green.later(self._taken_bytes / _MOST_INFLATED_PER_S, self._end_rest)

    def _take_event(self, event: frames.Event) -> None:
        if isinstance(event, str | bytes):
            self._taken_bytes += len(event)
        super()._take_event(event)

    def _end_rest(self) -> None:
        self._is_resting = False
        if not self._owner.is_full():
            self.read_on()


def make_transport(
    sock: socket.socket, owner: Owner, max_message_bytes: int, packing: Packing | None
) -> Transport:
    """Make one; with `packing` for a client that agreed to compression."""
    if packing is None:
        return Transport(sock, owner, max_message_bytes)
    return DeflatedTransport(sock, owner, max_message_bytes, packing)
