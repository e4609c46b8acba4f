"""What was measured, as figures with their ranges; nothing here knows how.

A run in which anything was lost, doubled, out of order or refused is counted as incomplete, and
has no part in a median. Ratios are taken round by round, of runs that followed one another.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.figures import Target

Json = dict[str, Any]
Value = Callable[[Json], float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One subject in one case, over all rounds."""

    subject: str
    case: str
    values: list[float]
    incomplete: int = 0

    @property
    def median(self) -> float | None:
        """The figure, unless no run was complete."""
        return statistics.median(self.values) if self.values else None


@dataclass(frozen=True, slots=True)
class Chart:
    """Figures that are shown together. The first subjects are ours."""

    key: str
    title: str
    unit: str
    figures: list[Figure]
    more_is_better: bool = True

    @property
    def subjects(self) -> list[str]:
        """Who is in it, in order."""
        return list(dict.fromkeys(figure.subject for figure in self.figures))

    @property
    def cases(self) -> list[str]:
        """The cases, in order."""
        return list(dict.fromkeys(figure.case for figure in self.figures))

    def find(self, subject: str, case: str) -> Figure | None:
        """Return a subject's figure in a case."""
        fits = (f for f in self.figures if (f.subject, f.case) == (subject, case))
        return next(fits, None)


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached, and what was. Without a value it was not measured here."""

    what: str
    unit: str
    values: list[float]
    bound: float
    at_least: bool
    incomplete: int = 0

    @property
    def median(self) -> float | None:
        """The value that is judged."""
        return statistics.median(self.values) if self.values else None

    @property
    def target(self) -> Target:
        """What the median is held to."""
        return Target(self.bound, self.at_least)

    @property
    def is_met(self) -> bool | None:
        """Whether it is reached; an incomplete run spoils it. None where nobody knows."""
        if self.incomplete:
            return False
        if self.median is None:
            return None
        return self.target.is_met(self.median)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that one measure gave."""

    name: str
    charts: list[Chart]
    goals: list[Goal]
    missing: dict[str, str] = field(default_factory=dict)  # subject: why it was left out
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """Give it for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Json) -> "Outcome":
        """Read it from a file."""
        charts = [
            Chart(**{**chart, "figures": [Figure(**figure) for figure in chart["figures"]]})
            for chart in body["charts"]
        ]
        goals = [Goal(**goal) for goal in body["goals"]]
        return cls(body["name"], charts, goals, body["missing"], body["notes"])


class Runs:
    """Every run, by subject and case, in the order of the rounds."""

    def __init__(self) -> None:
        self._runs: defaultdict[tuple[str, str], list[Json]] = defaultdict(list)

    def add(self, subject: str, case: str, run: Json) -> None:
        """Remember a run."""
        self._runs[subject, case].append(run)

    @property
    def subjects(self) -> list[str]:
        """Who was run."""
        return list(dict.fromkeys(subject for subject, _ in self._runs))

    def figure(self, subject: str, case: str, value: Value) -> Figure:
        """Sum up a subject's runs in a case."""
        runs = self._runs[subject, case]
        good = [value(run) for run in runs if run["complete"]]
        return Figure(subject, case, good, len(runs) - len(good))

    def figures(self, value: Value, cases: Sequence[str]) -> list[Figure]:
        """Sum up all subjects in these cases."""
        return [
            self.figure(subject, case, value)
            for subject in self.subjects
            for case in cases
            if self._runs.get((subject, case))
        ]

    def goal(
        self, what: str, value: Value, at: tuple[str, str], *, bound: float, unit: str
    ) -> Goal:
        """Judge a subject in a case: at least `bound`, or at most -`bound` where it is negative."""
        figure = self.figure(*at, value)
        return Goal(what, unit, figure.values, abs(bound), bound > 0, figure.incomplete)

    def ratio(
        self,
        what: str,
        value: Value,
        of: tuple[str, str],
        to: tuple[str, str],
        *,
        bound: float,
    ) -> Goal:
        """Judge a subject by another, or by itself in another case, round by round.

        The `bound` is that of `goal`.
        """
        pairs = list(zip(self._runs.get(of, []), self._runs.get(to, []), strict=False))
        good = [(a, b) for a, b in pairs if a["complete"] and b["complete"]]
        values = [value(a) / value(b) for a, b in good if value(b)]
        return Goal(what, "×", values, abs(bound), bound > 0, len(pairs) - len(good))
