"""Writing the same bytes to many sockets: in Python, or by a helper in C where one was built.

The two are twins, held to one contract by tests/contract/test_writers.py.
"""

import ctypes
from array import array
from collections.abc import Callable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from realtime import native

_log = structlog.get_logger(__name__)

Send = Callable[[bytes], int]
# Of what is told of a socket: it failed. Else how many bytes it took.
FAILED = -1
Whose = TypeVar("Whose")


class Writer(Protocol):
    """Writes without waiting. Nothing else runs meanwhile."""

    def handle(self, send: Send) -> Any:
        """Give what stands for a socket, by its `send`, for as long as it is open."""

    def in_order(self, handles: Mapping[Whose, Any]) -> dict[Whose, Any]:
        """Give the same in the order in which the sockets were opened, roughly."""

    def write(self, handles: Mapping[Whose, Any], data: bytes) -> list[tuple[Whose, int]]:
        """Write to all; give those that did not take all of it, and how much they took."""


class PlainWriter:
    """The one that is always there."""

    def handle(self, send: Send) -> Any:
        """Give the socket's `send` itself."""
        return send

    def in_order(self, handles: Mapping[Whose, Any]) -> dict[Whose, Any]:
        """Give the same in the order of their descriptors."""
        return dict(sorted(handles.items(), key=lambda item: item[1].__self__.fileno()))

    def write(self, handles: Mapping[Whose, Any], data: bytes) -> list[tuple[Whose, int]]:
        """Write to all; give those that did not take all of it, and how much they took."""
        late: list[tuple[Whose, int]] = []
        size, rest = len(data), iter(handles.items())
        # Around the loop, not in it: a `try` for each would cost more than the call.
        while True:
            try:
                for whose, send in rest:
                    sent = send(data)
                    if sent != size:
                        late.append((whose, sent))
                return late
            except BlockingIOError:
                late.append((whose, 0))
            except OSError:
                late.append((whose, FAILED))


class NativeWriter:
    """The helper in C: one call of the interpreter for all."""

    def __init__(self, library: Path) -> None:
        function = ctypes.CDLL(str(library)).fanfare_write_to_all
        function.restype = ctypes.c_int
        pointer = ctypes.c_void_p
        function.argtypes = (pointer, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, pointer)
        self._write_to_all = function

    def handle(self, send: Send) -> Any:
        """Give the socket's descriptor. Once it is closed, another socket may have the same."""
        return send.__self__.fileno()  # type: ignore[attr-defined]

    def in_order(self, handles: Mapping[Whose, Any]) -> dict[Whose, Any]:
        """Give the same in the order of their descriptors."""
        return dict(sorted(handles.items(), key=itemgetter(1)))

    def write(self, handles: Mapping[Whose, Any], data: bytes) -> list[tuple[Whose, int]]:
        """Write to all; give those that did not take all of it, and how much they took."""
        descriptors = array("i", handles.values())
        sent = array("q", bytes(8 * len(descriptors)))
        size = len(data)
        late = self._write_to_all(
            descriptors.buffer_info()[0], len(descriptors), data, size, sent.buffer_info()[0]
        )
        if not late:
            return []
        return [(whose, took) for whose, took in zip(handles, sent, strict=True) if took != size]


def choose(*, native_wanted: bool) -> Writer:
    """Give the helper in C, if it is wanted and was built; else the plain one."""
    writer = _load() if native_wanted else None
    _log.info("fan-out", native=writer is not None)
    return writer or PlainWriter()


def _load() -> NativeWriter | None:
    try:
        return NativeWriter(native.library()) if native.is_built() else None
    except (OSError, AttributeError) as error:
        # Of another C library, say. It must be needed nowhere.
        _log.warning("the helper in C was not loaded", reason=str(error))
        return None
