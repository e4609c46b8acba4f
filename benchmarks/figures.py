"""What a measurement gives: rows for the table, and what they have to reach."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long, how often and with how many each thing is measured."""

    seconds: float
    latency_seconds: float
    rest_seconds: float
    repeats: int
    starts: int
    warmup_s: float
    present: int  # connections of people who are present
    storm: int  # clients of the node that dies
    waiting: int  # polls that wait, and streams: so many of each
    quiet_seconds: float  # in which they are told nothing: whole beats of the streams

    @classmethod
    def full(cls) -> "Effort":
        """For figures that are to be shown."""
        return cls(
            seconds=5,
            latency_seconds=15,
            rest_seconds=25,
            repeats=3,
            starts=7,
            warmup_s=1,
            present=5_000,
            storm=3_000,
            waiting=2_000,
            quiet_seconds=30,
        )

    @classmethod
    def quick(cls) -> "Effort":
        """For a look."""
        return cls(
            seconds=1.5,
            latency_seconds=3,
            rest_seconds=10,
            repeats=1,
            starts=2,
            warmup_s=0.5,
            present=500,
            storm=300,
            waiting=200,
            quiet_seconds=15,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure has to reach: at least or at most."""

    bound: float
    at_least: bool

    def is_met(self, value: float) -> bool:
        """Judge a figure."""
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def sign(self) -> str:
        """What stands before the bound."""
        return "≥" if self.at_least else "≤"

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:,.4g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, measured several times."""

    name: str
    unit: str
    values: list[float]
    target: Target | None = None
    note: str = ""
    runs: list[Json] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The figure that is judged."""
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        return None if self.target is None else self.target.is_met(self.median)


# Takes the bench and the effort.
Measure = Callable[[Any, Effort], Iterator[Row]]


def repeat(effort: Effort, run: Callable[[], Json]) -> list[Json]:
    """Do the same several times."""
    return [run() for _ in range(effort.repeats)]


def rate(name: str, runs: list[Json], target: Target | None) -> Row:
    """Give how much was done a second, and who used how much of a core for it."""
    return Row(name, "/s", [run["per_s"] for run in runs], target, shares(runs), runs)


def shares(runs: list[Json]) -> str:
    """Say who used how much of a core."""
    used: dict[str, float] = {}
    for who in runs[0]["cpu_s"]:
        used[who] = statistics.median(run["cpu_s"][who] / run["seconds"] for run in runs)
    note = ", ".join(f"{who} {share:.0%}" for who, share in used.items())
    foreign = statistics.median(run["foreign_s"] / run["seconds"] for run in runs)
    return note + (f", others {foreign:.0%}" if foreign >= 0.05 else "")


def per_cpu(name: str, runs: list[Json]) -> Row:
    """Give how much was done for each CPU second of the server."""
    return Row(name, "/s", [count_per_cpu(run) for run in runs])


def count_per_cpu(run: Json) -> float:
    """Give what a CPU second of the server bought in one run; the database's is not in it."""
    return float(run["count"] / run["cpu_s"]["server"])
