"""The arithmetic of the comparison, its charts and its page; nothing is measured."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import document
from benchmarks.peers.prose import MEASURES as TOLD
from benchmarks.peers.results import Chart, Figure, Goal, Outcome, Runs
from benchmarks.peers.rounds import why
from benchmarks.peers.session import MEASURES
from benchmarks.peers.svg import axis, draw, number

Json = dict[str, Any]
TAKEN = {"at": "now", "commit": "abc", "rounds": 3, "machine": "m", "database": "d"}


def made(value: float, *, complete: bool = True) -> Json:
    return {"value": value, "complete": complete}


def value(run: Json) -> float:
    return float(run["value"])


@pytest.fixture
def runs() -> Runs:
    """Three rounds of two subjects; ours lost something in the second."""
    found = Runs()
    for own, theirs in ((made(10), made(5)), (made(900, complete=False), made(5)),
                        (made(30), made(10))):  # fmt: skip
        found.add("Fanfare", "case", own)
        found.add("peer", "case", theirs)
    return found


class TestFigures:
    def test_an_incomplete_run_has_no_part_in_the_median(self, runs: Runs) -> None:
        """It is counted and told, and its fine value forgotten."""
        figure = runs.figure("Fanfare", "case", value)

        assert (figure.median, figure.values, figure.incomplete) == (20, [10, 30], 1)

    def test_without_a_complete_run_there_is_no_figure(self) -> None:
        found = Runs()
        found.add("Fanfare", "case", made(900, complete=False))

        assert found.figure("Fanfare", "case", value).median is None

    def test_subjects_stay_in_the_order_of_their_first_run(self, runs: Runs) -> None:
        figures = runs.figures(value, ["case", "a case that nobody ran"])

        assert [figure.subject for figure in figures] == ["Fanfare", "peer"]


class TestGoals:
    def test_a_ratio_is_taken_round_by_round(self, runs: Runs) -> None:
        """Of runs that followed one another: not of medians, which may be of different rounds."""
        goal = runs.ratio("to peer", value, ("Fanfare", "case"), ("peer", "case"), bound=1.5)

        assert (goal.values, goal.incomplete) == ([2, 3], 1)

    def test_an_incomplete_run_spoils_a_goal(self, runs: Runs) -> None:
        """Losing things is no way to be fast."""
        goal = runs.ratio("to peer", value, ("Fanfare", "case"), ("peer", "case"), bound=1.5)

        assert goal.is_met is False

    def test_where_the_peer_is_missing_nobody_knows(self, runs: Runs) -> None:
        goal = runs.ratio("to none", value, ("Fanfare", "case"), ("none", "case"), bound=1.5)

        assert goal.is_met is None

    @pytest.mark.parametrize(
        ("bound", "values", "is_met"),
        [(2.0, [2.0], True), (2.0, [1.9], False), (-2.0, [2.0], True), (-2.0, [2.1], False)],
    )
    def test_bounds_are_at_least_or_at_most(
        self, bound: float, values: list[float], is_met: bool
    ) -> None:
        found = Runs()
        for one in values:
            found.add("Fanfare", "case", made(one))

        goal = found.goal("it", value, ("Fanfare", "case"), bound=bound, unit="s")

        assert goal.is_met is is_met

    def test_the_median_is_judged(self) -> None:
        """One bad round of three does not miss it."""
        assert Goal("it", "×", [1.0, 2.5, 2.6], 2.2, at_least=True).is_met


class TestWhatAnIncompleteRunLacked:
    def test_it_is_named(self) -> None:
        run = {"failed": 0, "dropped": 2, "lost": 5, "first_error": "closed by the server"}

        assert why(run) == "2 dropped, 5 lost, closed by the server"


def chart(*figures: Figure, **more: Any) -> Chart:
    return Chart("key", 'A "chart" of <things>', "µs & more", list(figures), **more)


OURS = Figure("Fanfare", "one", [10, 20, 40])
PEER = Figure("peer", "one", [30.0])
NOTHING = Figure("other", "one", [], incomplete=3)


class TestCharts:
    def test_a_chart_is_xml_with_a_bar_for_each_figure(self) -> None:
        """Names may hold anything; bars are as long as their medians say."""
        root = ET.fromstring(draw(chart(OURS, PEER, NOTHING), ours="Fanfare"))
        space = "{http://www.w3.org/2000/svg}"
        bars = [rect for rect in root.iter(f"{space}rect") if rect.get("y") != "33"]
        texts = [text.text for text in root.iter(f"{space}text")]

        widths = [float(bar.get("width", 0)) for bar in bars]
        assert [bar.get("class") for bar in bars] == ["ours", "other"]
        assert widths[1] == pytest.approx(widths[0] * 1.5, abs=0.2)
        assert "no run was complete" in texts
        assert "µs & more · more is better" in texts

    def test_ranges_are_drawn(self) -> None:
        """From the least to the most, not to the median."""
        root = ET.fromstring(draw(chart(OURS), ours="Fanfare"))
        (path,) = [p for p in root.iter() if p.get("class") == "range"]
        (bar,) = [r for r in root.iter() if r.get("class") == "ours"]
        low = float(str(path.get("d")).split()[0][1:])
        start, width = float(str(bar.get("x"))), float(str(bar.get("width")))

        assert low - start == pytest.approx(width / 2, abs=0.2)

    @pytest.mark.parametrize("top", [0.0, 0.004, 0.9, 7, 99, 100, 324_000])
    def test_an_axis_has_few_round_ticks_and_reaches_the_top(self, top: float) -> None:
        ticks = list(axis(top))

        assert ticks[0] == 0
        assert ticks[-1] >= top * (1 - 1e-9)
        assert 2 <= len(ticks) <= 7

    def test_numbers_are_written_as_people_do(self) -> None:
        assert [number(n) for n in (324_123.4, 23.44, 2.345, 0.0123)] == [
            *("324,123", "23.4", "2.35", "0.0123")
        ]


class TestThePage:
    @pytest.fixture
    def outcome(self) -> Outcome:
        goal = Goal("Fanfare to peer", "×", [0.5, 0.6, 0.7], 2.2, at_least=True)
        return Outcome("fanout", [chart(OURS, PEER, NOTHING)], [goal], {"nchan": "no module"})

    def test_it_says_where_fanfare_loses(self, outcome: Outcome, tmp_path: Path) -> None:
        """And by how much; a missed goal is marked."""
        text = document.keep(TAKEN, [outcome], tmp_path).read_text()

        losses = text.partition("## Where Fanfare loses")[2].partition("\n## ")[0]
        assert "Fanfare 20.0 µs & more, against peer 30.0." in losses
        assert "≥ 2.2 × | 0.6 × | 0.5–0.7 | **missed** |" in text

    def test_less_may_be_better(self, tmp_path: Path) -> None:
        """The same figures are no loss then."""
        outcome = Outcome("fanout", [chart(OURS, PEER, more_is_better=False)], [])
        text = document.keep(TAKEN, [outcome], tmp_path).read_text()

        assert "Nowhere among these figures." in text

    def test_it_shows_ranges_commands_and_what_is_missing(
        self, outcome: Outcome, tmp_path: Path
    ) -> None:
        """Nothing of a measure is left unsaid."""
        text = document.keep(TAKEN, [outcome], tmp_path).read_text()

        assert "| Fanfare | 20.0 (10.0–40.0) |" in text
        assert "| other | none (3 incomplete) |" in text
        assert "Left out: nchan, because no module." in text
        assert "Not taken yet: `fanout-redis`, " in text
        assert (
            "`python -m benchmarks --only fanout` · the server of commit abc, now · 3 rounds"
            in text
        )
        assert (tmp_path / "benchmarks" / "key.svg").exists()

    def test_a_measure_takes_the_place_of_an_older_one_alone(
        self, outcome: Outcome, tmp_path: Path
    ) -> None:
        """The others stay, with their own commits."""
        document.keep(TAKEN, [outcome], tmp_path)
        document.keep({**TAKEN, "commit": "def"}, [Outcome("acks", [], [])], tmp_path)
        document.keep({**TAKEN, "commit": "ghi"}, [Outcome("acks", [], [])], tmp_path)
        known = json.loads((tmp_path / "benchmarks" / "figures.json").read_text())

        assert {name: one["commit"] for name, one in known.items()} == {
            "fanout": "abc",
            "acks": "ghi",
        }

    def test_an_outcome_survives_its_file(self, outcome: Outcome) -> None:
        assert Outcome.from_json(json.loads(json.dumps(outcome.as_json()))) == outcome

    def test_the_page_and_its_charts_are_what_the_figures_say(self) -> None:
        """Nobody has edited them: they are made again from the file beside them."""
        folder = document.DOCS / "benchmarks"
        known = json.loads((folder / "figures.json").read_text())
        outcomes = [Outcome.from_json(section["outcome"]) for section in known.values()]
        drawn = {chart.key: draw(chart, ours="Fanfare") for one in outcomes for chart in one.charts}

        assert (document.DOCS / "benchmarks.md").read_text() == document.render(known)
        assert {path.stem: path.read_text() for path in folder.glob("*.svg")} == drawn

    def test_every_measure_is_told_of(self) -> None:
        """In the order that it is measured in."""
        assert list(TOLD) == list(MEASURES)
