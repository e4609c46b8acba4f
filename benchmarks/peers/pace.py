"""How long, how often and with how many the peers are measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """One session's measure of everything. Each round has every subject once."""

    rounds: int
    seconds: float
    warmup_s: float
    latency_s: float
    stalled_s: float  # long enough for the buffers of a stalled watcher to fill
    watchers: int
    crowd: int  # watchers of few events
    idle: int
    connects: int
    storm: int
    settle_s: float
    deep: int  # messages of the channel whose pages are read at both its ends

    @classmethod
    def full(cls) -> "Pace":
        """For figures that are to be shown."""
        return cls(
            rounds=5,
            seconds=3,
            warmup_s=1,
            latency_s=6,
            stalled_s=8,
            watchers=1_000,
            crowd=5_000,
            idle=15_000,
            connects=2_000,
            storm=5_000,
            settle_s=2,
            deep=1_000_000,
        )

    @classmethod
    def quick(cls) -> "Pace":
        """For a look."""
        return cls(
            rounds=1,
            seconds=1,
            warmup_s=0.5,
            latency_s=2,
            stalled_s=4,
            watchers=300,
            crowd=1_000,
            idle=1_000,
            connects=300,
            storm=500,
            settle_s=0.5,
            deep=20_000,
        )
