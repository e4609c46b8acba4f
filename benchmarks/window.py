"""The part of a load that counts, and what was used in it."""

import os
import time
from typing import Any

from benchmarks.machine import Meter
from benchmarks.wire import WireError

Json = dict[str, Any]
_PATIENCE_S = 30.0  # for what was under way at the end


class Window:
    """The part of a run that counts: `seconds` long, after a warm-up."""

    def __init__(self, task: Json) -> None:
        self._pids = {**task["pids"], "generator": os.getpid()}
        self._begin = time.perf_counter() + task["warmup_s"]
        self.end = self._begin + task["seconds"]
        self._meter: Meter | None = None
        self._result: Json = {}
        self._steps = 0
        self.latencies: list[float] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing counts any more."""
        return bool(self._result)

    def tick(self) -> None:
        """Read the meters when it is time to."""
        now = time.perf_counter()
        if self._meter is None and now >= self._begin:
            self._meter = Meter(self._pids)
        elif self._meter is not None and now >= self.end and not self._result:
            used = self._meter.read()
            self._result = {
                "seconds": used.wall_s,
                "cpu_s": used.cpu_s,
                "foreign_s": used.foreign_s,
            }
        if now > self.end + _PATIENCE_S:
            raise WireError("what was under way at the end did not come")

    @property
    def _is_open(self) -> bool:
        return self._meter is not None and not self._result

    def count(self, latency_s: float) -> None:
        """Count something that has just come to its end, if the window is open."""
        if self._is_open:
            self.latencies.append(latency_s)

    def count_step(self) -> None:
        """Count a cause of what is counted, if the window is open."""
        self._steps += self._is_open

    def result(self, **more: object) -> Json:
        """Sum up a window that is over."""
        return {
            **self._result,
            "count": len(self.latencies),
            "steps": self._steps,
            "per_s": len(self.latencies) / self._result["seconds"],
            "p50_ms": percentile(self.latencies, 0.50) * 1000,
            "p99_ms": percentile(self.latencies, 0.99) * 1000,
            "max_ms": max(self.latencies, default=0.0) * 1000,
            **more,
        }


def percentile(values: list[float], share: float) -> float:
    """Give the value that `share` of all values don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
