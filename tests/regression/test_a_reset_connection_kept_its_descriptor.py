"""The descriptor of a connection that its client reset stayed open until the garbage collector ran.

What was left to write failed, and so the file for reading was never closed: it held the socket.
"""

import io

from realtime.green_server import _Protocol


class Broken(io.BytesIO):
    """What is written to somebody who has gone."""

    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    def close(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


class FakeConnection:
    """A socket that was reset."""

    def shutdown(self, _how: int) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    def close(self) -> None:
        """There is nobody to tell."""


class TestFinish:
    def test_both_files_are_let_go(self):
        protocol = _Protocol.__new__(_Protocol)
        protocol.rfile, protocol.wfile = io.BytesIO(), Broken()
        protocol.connection = FakeConnection()
        protocol.finish()

        assert protocol.rfile.closed
