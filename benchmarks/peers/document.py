"""docs/benchmarks.md with its charts, made of the newest figures of each measure.

The figures lie beside it as JSON, so that one measure can be taken again without the others,
and each says when, and on which commit, it was taken.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import ours
from benchmarks.peers.prose import BEGINNING, MEASURES
from benchmarks.peers.results import Chart, Figure, Goal, Outcome
from benchmarks.peers.svg import draw, number

DOCS = Path(__file__).parents[2] / "docs"
Json = dict[str, Any]


def keep(taken: Json, outcomes: list[Outcome], docs: Path = DOCS) -> Path:
    """Put outcomes in the place of older ones, and write the page; give its path.

    `taken` says when, where and how: `at`, `commit`, `rounds`, `machine`, `database`.
    """
    folder = docs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "figures.json"
    known: Json = json.loads(path.read_text()) if path.exists() else {}
    for outcome in outcomes:
        known[outcome.name] = {**taken, "outcome": outcome.as_json()}
        for chart in outcome.charts:
            (folder / f"{chart.key}.svg").write_text(draw(chart, ours=ours.TITLE))
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    page = docs / "benchmarks.md"
    page.write_text(render(known))
    return page


def render(known: Json) -> str:
    """Write the page."""
    sections = [(name, known[name]) for name in MEASURES if name in known]
    outcomes = {name: Outcome.from_json(section["outcome"]) for name, section in sections}
    lines = [BEGINNING.strip(), ""]
    lines += ["## At a glance", "", *_glance(outcomes), ""]
    if left := [f"`{name}`" for name in MEASURES if name not in known]:
        lines += [f"Not taken yet: {', '.join(left)}.", ""]
    lines += ["## Where Fanfare loses", "", *_losses(outcomes), ""]
    for name, section in sections:
        lines += [*_section(name, section, outcomes[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _glance(outcomes: dict[str, Outcome]) -> Iterator[str]:
    yield "| what | asked | measured | range | |"
    yield "|---|---|---|---|---|"
    for name, outcome in outcomes.items():
        title = MEASURES[name].title
        for goal in outcome.goals:
            yield f"| {title}: {goal.what} | {_asked(goal)} | {_measured(goal)} |"


def _asked(goal: Goal) -> str:
    return f"{goal.target.sign} {number(goal.bound)} {goal.unit}"


def _measured(goal: Goal) -> str:
    judged = {None: "not measured here", True: "met", False: "**missed**"}[goal.is_met]
    mark = f", {goal.incomplete} incomplete" if goal.incomplete else ""
    if goal.median is None:
        return f"– | – | {judged}{mark}"
    return f"{number(goal.median)} {goal.unit} | {_range(goal.values)} | {judged}{mark}"


def _range(values: list[float]) -> str:
    return f"{number(min(values))}–{number(max(values))}"


def _losses(outcomes: dict[str, Outcome]) -> Iterator[str]:
    found = [line for one in outcomes.values() for chart in one.charts for line in _worse(chart)]
    yield from found or ["Nowhere among these figures."]


def _worse(chart: Chart) -> Iterator[str]:
    for case in chart.cases:
        own = chart.find(ours.TITLE, case)
        if own is None or own.median is None:
            continue
        better = [
            figure
            for subject in chart.subjects
            if not subject.startswith(ours.TITLE) and (figure := chart.find(subject, case))
            if figure.median is not None and _is_better(chart, figure.median, own.median)
        ]
        if better:
            theirs = "; ".join(f"{f.subject} {number(f.median or 0)}" for f in better)
            yield (
                f"- {chart.title}, {case}: Fanfare {number(own.median)} {chart.unit}, "
                f"against {theirs}."
            )


def _is_better(chart: Chart, theirs: float, own: float) -> bool:
    return theirs > own if chart.more_is_better else theirs < own


def _section(name: str, section: Json, outcome: Outcome) -> Iterator[str]:
    prose = MEASURES[name]
    yield f"## {prose.title}"
    yield ""
    yield prose.text.strip()
    for chart in outcome.charts:
        yield ""
        yield f"![{chart.title}](benchmarks/{chart.key}.svg)"
        yield ""
        yield from _table(chart)
    for subject, reason in outcome.missing.items():
        yield ""
        yield f"Left out: {subject}, because {reason}."
    for note in outcome.notes:
        yield ""
        yield note
    yield ""
    yield (
        f"`python -m benchmarks --only {name}` · the server of commit {section['commit']}, "
        f"{section['at']} · "
        f"{section['rounds']} rounds · {section['database']} · {section['machine']}"
    )


def _table(chart: Chart) -> Iterator[str]:
    yield f"| {chart.unit} | {' | '.join(chart.cases)} |"
    yield "|---|" + "---:|" * len(chart.cases)
    for subject in chart.subjects:
        cells = (_cell(chart.find(subject, case)) for case in chart.cases)
        yield f"| {subject} | {' | '.join(cells)} |"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    mark = f" ({figure.incomplete} incomplete)" if figure.incomplete else ""
    if figure.median is None:
        return f"none{mark}"
    spread = f" ({_range(figure.values)})" if figure.values[1:] else ""
    return f"{number(figure.median)}{spread}{mark}"
