"""The measures on several nodes run, with as few and as short as can be; no figure is judged."""

import math
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks import machine, profile
from benchmarks.__main__ import ON_SEVERAL
from benchmarks.figures import Effort
from benchmarks.stage import Bench
from cluster.postgres import find_binaries
from tests.support import needs

EFFORT = Effort(
    seconds=0.5,
    latency_seconds=0.5,
    rest_seconds=0.5,
    repeats=1,
    starts=1,
    warmup_s=0.2,
    present=20,
    storm=30,
    waiting=20,
    quiet_seconds=0.5,
)
FIGURES = {"rest": 3, "hints": 7, "remote": 5, "scale": 10, "presence": 3, "storm": 4}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """What makes nodes on a PostgreSQL of its own."""
    needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel (make setup installs it)")
    needs.require_redis()
    with ExitStack() as stack:
        yield Bench("postgres", machine.cores(), stack)


class TestMeasuresOnSeveralNodes:
    @pytest.mark.parametrize("name", ON_SEVERAL)
    def test_each_gives_its_figures(self, bench: Bench, name: str) -> None:
        """The load was complete and in order, or there would be an error."""
        rows = list(ON_SEVERAL[name](bench, EFFORT))

        assert len(rows) == FIGURES[name]
        assert all(math.isfinite(value) for row in rows for value in row.values)

    def test_a_profile_is_shown(self, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        """The surviving node's time in a storm is sampled, and named by our functions."""
        profile.show(bench, EFFORT, {"storm"})

        said = capsys.readouterr().out
        assert "half of 30 resuming" in said
        assert "realtime/green.py" in said
