"""One run: start the load, look at the server in equal steps, and judge what was seen."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.soak.judge import Sample, Verdict, judge
from tests.soak.load import Load
from tests.soak.watch import Watch
from tests.support.server import Server

# Of the duration: until caches, tails and pools hold what they will hold.
WARM_UP = 0.3
LOOKS = 120
ROWS = 24
_HEAD = f"{'seconds':>8} {'MiB':>8} {'files':>6} {'greenlets':>10} {'sessions':>9}  done so far"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    verdicts: list[Verdict]
    failures: list[str]
    counts: dict[str, int]

    @property
    def is_good(self) -> bool:
        """Tell whether everything stayed flat, and nobody was failed."""
        return not self.failures and all(verdict.is_flat for verdict in self.verdicts)


def soak(server: Server, duration_s: float, seed: int, say: Say) -> Outcome:
    """Put a server under load for so long, printing a table on the way."""
    load = Load(server, seed)
    watch = Watch(server)
    say(_HEAD)
    with load.running():
        _look_on(watch, load, duration_s, say)
    verdicts = judge(watch.samples, WARM_UP * duration_s)
    for line in (*map(str, verdicts), *(f"FAILED {failure}" for failure in load.failures)):
        say(line)
    return Outcome(verdicts, load.failures, dict(load.counts))


def _look_on(watch: Watch, load: Load, duration_s: float, say: Say) -> None:
    pause, began_s = threading.Event(), time.monotonic()
    for number in range(LOOKS):
        due_s = began_s + (number + 1) * duration_s / LOOKS
        pause.wait(max(0.0, due_s - time.monotonic()))
        sample = watch.look()
        if number % (LOOKS // ROWS) == 0:
            say(_row(sample, load))
        if load.failures:
            return


def _row(sample: Sample, load: Load) -> str:
    done = ", ".join(f"{number} {name}" for name, number in sorted(load.counts.items()))
    return (
        f"{sample.at_s:8.1f} {sample.memory_mib:8.1f} {sample.files:6.0f} "
        f"{sample.greenlets:10.0f} {sample.sessions:9.0f}  {done}"
    )
