"""The table for a person, and the JSON for a program."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import Row

RESULTS = Path(__file__).parent / "results"
Json = dict[str, Any]


def print_head(title: str) -> None:
    """Begin the table of one database."""
    print(f"\n{title}\n")
    print(f"  {'':46} {'median':>9} {'range':>17}  {'target':>9}")


def print_row(row: Row) -> None:
    """Add a line to the table."""
    spread = f"{_number(min(row.values))}–{_number(max(row.values))}" if row.values[1:] else ""
    target = "" if row.target is None else str(row.target)
    judged = {None: "", True: "met", False: "MISSED"}[row.is_met]
    print(
        f"  {row.name:46} {_number(row.median):>9} {spread:>17}  "
        f"{target:>9} {judged:7}{row.unit:4} {row.note}".rstrip(),
        flush=True,
    )


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def summary(rows: list[Row]) -> str:
    """Say which targets are met."""
    judged = [row for row in rows if row.target is not None]
    if not judged:
        return "None of these figures has a target."
    missed = [row.name for row in judged if not row.is_met]
    if not missed:
        return f"All {len(judged)} targets are met."
    return f"{len(missed)} of {len(judged)} targets are missed: {'; '.join(missed)}."


def write(about: Json, rows: dict[str, list[Row]]) -> Path:
    """Write everything that was measured; give the file."""
    now = datetime.now(UTC)
    body = {
        "at": now.isoformat(timespec="seconds"),
        **about,
        "databases": {name: [_row(row) for row in found] for name, found in rows.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%dT%H%M%SZ}.json"
    path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    return path


def _row(row: Row) -> Json:
    target = row.target and {"bound": row.target.bound, "at_least": row.target.at_least}
    return {
        "name": row.name.strip(),
        "unit": row.unit,
        "median": row.median,
        "values": row.values,
        "target": target,
        "met": row.is_met,
        "runs": row.runs,
    }
