"""Charts as SVG: bars for the medians, whiskers for the ranges, readable on light and dark."""

import math
from collections.abc import Iterator
from xml.sax.saxutils import escape

from benchmarks.peers.results import Chart, Figure

WIDTH = 780
LEFT, RIGHT, TOP, BOTTOM = 230, 96, 58, 52
BAR, GAP = 15, 14
_SHADES = (1.0, 0.66, 0.38)  # of the cases, from the first to the last
_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.small { font-size: 11px; fill: #57606a; }
.ours { fill: #0969da; } .other { fill: #8c959f; }
.grid { stroke: #d0d7de; } .range { stroke: #1f2328; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; }
  .ours { fill: #4493f8; } .other { fill: #767e88; }
  .grid { stroke: #3d444d; } .range { stroke: #e6edf3; }
}
</style>"""


def draw(chart: Chart, *, ours: str) -> str:
    """Draw a chart; subjects whose name begins with `ours` stand out."""
    group = BAR * len(chart.cases) + GAP
    height = TOP + group * len(chart.subjects) + BOTTOM
    top = max((max(figure.values) for figure in chart.figures if figure.values), default=1.0)
    ticks = list(axis(top))
    scale = (WIDTH - LEFT - RIGHT) / ticks[-1]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f' width="{WIDTH}" height="{height}" aria-label="{_quoted(chart.title)}">',
        _STYLE,
        _text(8, 22, chart.title, "title"),
        *_legend(chart),
        *_axis(chart, ticks, scale, height),
    ]
    for number, subject in enumerate(chart.subjects):
        at = TOP + number * group
        parts.append(_text(LEFT - 10, at + group / 2 - GAP / 2 + 4, subject, anchor="end"))
        kind = "ours" if subject.startswith(ours) else "other"
        for place, case in enumerate(chart.cases):
            figure = chart.find(subject, case)
            if figure is not None:
                parts += _bar(figure, at + place * BAR, scale, kind, _SHADES[place % 3])
    return "\n".join([*parts, "</svg>", ""])


def axis(top: float) -> Iterator[float]:
    """Yield round values from 0 to the first one that `top` does not pass."""
    rough = (top or 1.0) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    for number in range(math.ceil((top or 1.0) / step - 1e-9) + 1):
        yield number * step


def number(value: float) -> str:
    """Write a figure as a person would."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _bar(figure: Figure, y: float, scale: float, kind: str, shade: float) -> Iterator[str]:
    middle = y + (BAR - 3) / 2
    if figure.median is None:
        yield _text(LEFT + 4, middle + 4, "no run was complete", "small")
        return
    width = max(0.0, figure.median) * scale
    yield (
        f'<rect class="{kind}" x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{BAR - 3}"'
        f' fill-opacity="{shade}"/>'
    )
    low, high = (LEFT + max(0.0, end) * scale for end in (min(figure.values), max(figure.values)))
    yield (
        f'<path class="range" fill="none" d="M{low:.1f} {middle - 3:.1f}v6m0 -3H{high:.1f}'
        f'm0 -3v6"/>'
    )
    mark = f" ({figure.incomplete} incomplete)" if figure.incomplete else ""
    end = max(LEFT + width, high) + 5
    yield _text(end, middle + 4, number(figure.median) + mark, "small")


def _axis(chart: Chart, ticks: list[float], scale: float, height: int) -> Iterator[str]:
    bottom = height - BOTTOM
    for value in ticks:
        x = LEFT + value * scale
        yield f'<path class="grid" d="M{x:.1f} {TOP - 6}V{bottom}"/>'
        yield _text(x, bottom + 16, number(value), "small", anchor="middle")
    better = "more is better" if chart.more_is_better else "less is better"
    middle = LEFT + ticks[-1] * scale / 2
    yield _text(middle, bottom + 36, f"{chart.unit} · {better}", "small", anchor="middle")


def _legend(chart: Chart) -> Iterator[str]:
    if len(chart.cases) < 2:
        return
    x = float(LEFT)
    for place, case in enumerate(chart.cases):
        shade = _SHADES[place % 3]
        yield (
            f'<rect class="ours" x="{x:.0f}" y="33" width="11" height="11" fill-opacity="{shade}"/>'
        )
        yield _text(x + 16, 43, case, "small")
        x += 34 + 6.6 * len(case)


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _quoted(text: str) -> str:
    return escape(text, {'"': "&quot;"})
