"""Whether what was measured over a run is flat: pure, so that the rule itself can be tested.

After the warm-up, the median of the last quarter may not lie above the first one's by more than
noise. Medians, because single samples catch a burst, a page of the log or the collector at work;
quarters, because a leak goes on: it shows three quarters of all that it took since the warm-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

# A part of what was there, and at least so much: what caches and the allocator move by themselves.
# A run of some seconds ends before the caches are full.
SHORT_S, SHORT_MIB = 120.0, 16.0
ALLOWED: dict[str, tuple[float, float]] = {
    "memory_mib": (0.04, 6.0),
    "files": (0.05, 20.0),
    "greenlets": (0.05, 20.0),
    "sessions": (0.05, 20.0),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process held at a moment."""

    at_s: float
    memory_mib: float
    files: float
    greenlets: float
    sessions: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one quantity went: the medians of its first and last quarter, and what is allowed."""

    name: str
    first: float
    last: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        """Tell whether it grew by no more than noise."""
        return self.last - self.first <= self.allowed

    def __str__(self) -> str:
        word = "flat" if self.is_flat else "GROWS"
        grown = self.last - self.first
        return (
            f"{word:<6} {self.name:<11} first quarter {self.first:8.1f}, last {self.last:8.1f}: "
            f"{grown:+.1f}, allowed +{self.allowed:.1f}"
        )


def judge(samples: Sequence[Sample], warm_up_s: float) -> list[Verdict]:
    """Judge each quantity by what was sampled after the warm-up.

    Raises:
        ValueError: there are too few samples to tell.
    """
    settled = [sample for sample in samples if sample.at_s >= warm_up_s]
    quarter = len(settled) // 4
    if quarter < 3:
        raise ValueError(f"{len(settled)} samples after the warm-up are too few")
    return [_judge(name, settled[:quarter], settled[-quarter:]) for name in ALLOWED]


def _judge(name: str, first: Sequence[Sample], last: Sequence[Sample]) -> Verdict:
    before, after = (median(getattr(one, name) for one in part) for part in (first, last))
    share, least = ALLOWED[name]
    if name == "memory_mib" and last[-1].at_s < SHORT_S:
        least = SHORT_MIB
    return Verdict(name, before, after, max(share * before, least))
