"""How the C library keeps memory that Python gave back."""

import ctypes

import structlog

_log = structlog.get_logger(__name__)

_M_MMAP_THRESHOLD = -3
_BIG = 1 << 20


def give_big_blocks_back() -> None:
    """Return blocks of a MiB and more to the system as soon as they are free.

    Without this each thread that ever hashed a password keeps its 19 MiB for good. Where the C
    library is not glibc there is nothing to set.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _BIG)
    except (OSError, AttributeError):
        _log.info("no mallopt here")
