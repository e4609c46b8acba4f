"""Stands in for the project's run.py where a benchmark wants to know where `serve` spends time.

SIGUSR1 starts sampling, by CPU time; the next one stops it and writes the stacks, folded, to
`profile.folded` in INSTANCE_PATH. Greenlets run in the main thread, so its frames are all.
SIGUSR2 collects garbage, for who measures memory.
"""

import gc
import os
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]
_PERIOD_S = 0.002
_stacks: Counter[tuple[str, ...]] = Counter()
_is_on = False


def _name(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_qualname}@{code.co_filename}"


def _sample(_signal: int, frame: FrameType | None) -> None:
    stack: list[str] = []
    while frame is not None:
        stack.append(_name(frame))
        frame = frame.f_back
    _stacks[tuple(reversed(stack))] += 1


def _switch(_signal: int, _frame: FrameType | None) -> None:
    global _is_on
    _is_on = not _is_on
    signal.setitimer(signal.ITIMER_PROF, _PERIOD_S if _is_on else 0, _PERIOD_S)
    if _is_on:
        _stacks.clear()
    else:
        lines = [f"{';'.join(stack)} {count}\n" for stack, count in _stacks.items()]
        target = Path(os.environ["INSTANCE_PATH"]) / "profile.folded"
        whole = target.with_suffix(".part")
        whole.write_text("".join(lines))
        whole.rename(target)


if __name__ == "__main__":
    signal.signal(signal.SIGPROF, _sample)
    signal.signal(signal.SIGUSR1, _switch)
    signal.signal(signal.SIGUSR2, lambda *_: gc.collect())
    signal.siginterrupt(signal.SIGPROF, False)
    sys.path[0] = str(ROOT)
    sys.argv[0] = str(ROOT / "run.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
