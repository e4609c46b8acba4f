"""How memory is given back: by the C library, and by Python's collector of cycles."""

import ctypes
import gc

import structlog

_log = structlog.get_logger(__name__)

_M_MMAP_THRESHOLD = -3
_BIG = 1 << 20
# So many objects that may hang in a circle are made before the collector looks: some MiB.
_YOUNG = 10_000


def give_big_blocks_back() -> None:
    """Return blocks of a MiB and more to the system as soon as they are free.

    Without this each thread that ever hashed a password keeps its 19 MiB for good. Where the C
    library is not glibc there is nothing to set.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _BIG)
    except (OSError, AttributeError):
        _log.info("no mallopt here")


def look_for_cycles_seldom() -> None:
    """Have the collector look seldom, and never again at what was loaded by now. Called once.

    Connections are objects that stay, and make no circles. By Python's own measure the collector
    walks over them again and again while they come: a sixth of all that a storm costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
