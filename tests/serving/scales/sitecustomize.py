"""Python loads it by its name, in a server that has this folder on its path: scales at a signal.

The first signal begins to count what is allocated; each one after writes down how many bytes of
that are held. So it is known to the byte, and does not depend on what the system makes of it.
"""

import gc
import os
import signal
import tracemalloc
from pathlib import Path

SIGNAL = signal.SIGRTMIN + 6


def weigh(*_signal: object) -> None:
    """Write down what is held."""
    gc.collect()
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    path = Path(os.environ["SCALES"])
    path.with_suffix(".new").write_text(str(tracemalloc.get_traced_memory()[0]))
    path.with_suffix(".new").rename(path)


if "SCALES" in os.environ:
    signal.signal(SIGNAL, weigh)
