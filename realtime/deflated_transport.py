"""A WebSocket on the loop whose client agreed to compression.

A kind of its own, so that others hold and do nothing for it.
"""

import socket

from realtime import frames, green
from realtime.deflate import READ_BYTES, Packing, rest_after
from realtime.transport import Owner, Spare, Transport


class DeflatedTransport(Transport):
    """A transport that reads compressed messages too."""

    __slots__ = ("_is_resting", "_packing", "_taken_bytes")

    _spare = Spare(frames.DeflatedReader)
    _most_read = READ_BYTES

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
        rest_s = rest_after(self._taken_bytes)
        if rest_s and self.is_open:
            self._stop_reading()
            self._is_resting = True
            green.later(rest_s, self._end_rest)

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
