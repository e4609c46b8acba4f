"""The peers start, are loaded as Fanfare is, and are gone afterwards.

Their packages are installed for this only where nothing may be skipped, or where they were before.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import psutil
import pytest

from benchmarks import machine
from benchmarks.machine import Cores
from benchmarks.peers import install, ours, rounds, session, subjects
from benchmarks.peers.build import BuildError, built
from benchmarks.peers.loads import LoadFailedError, Served, run
from benchmarks.peers.pace import Pace
from benchmarks.peers.subjects import FASTAPI, FLASK, NCHAN, NODE, NODE_PAIR, SEND_LOOP, Subject
from benchmarks.stage import Bench
from tests.support import needs

PACE = Pace(
    rounds=1,
    seconds=0.2,
    warmup_s=0.1,
    latency_s=0.2,
    stalled_s=0.2,
    watchers=10,
    crowd=10,
    idle=20,
    connects=10,
    storm=10,
    settle_s=0.1,
    deep=100,
)
CORES = machine.cores()
SHORT = ["-n", "10", "--pad", "90", "--in-flight", "4", "--warmup", "0.1"]


@pytest.fixture(autouse=True)
def generator() -> None:
    """Nothing is loaded without it."""
    needs.require_compiler()


def require(subject: Subject) -> None:
    reason = subject.obstacle()
    if reason is not None:
        needs.miss(reason)
    installs = {NODE.key: "node", NODE_PAIR.key: "node", FASTAPI.key: "python", FLASK.key: "python"}
    kind = installs.get(subject.key)
    if kind and not needs.is_all_required() and not install.is_there(kind):
        pytest.skip(f"the peers of {kind} are not installed (make bench does it)")


class TestAPeer:
    @pytest.mark.parametrize(
        "subject", [FLASK, NODE, NODE_PAIR, FASTAPI, NCHAN, SEND_LOOP], ids=lambda one: one.key
    )
    def test_it_delivers_and_is_gone(self, subject: Subject) -> None:
        """All events, in order; and no process of it is left."""
        require(subject)
        with subject.started(CORES) as served:
            started = [psutil.Process(pid) for pid in served.pids]
            children = [child for one in started for child in one.children(recursive=True)]
            result = run(served, CORES, [*served.publish, *SHORT], seconds=0.2)

        assert result["complete"], rounds.why(result)
        assert result["deliveries"] > 0
        assert result["cpu_s"][0] > 0
        assert not [process for process in [*started, *children] if process.is_running()]

    @pytest.mark.parametrize("subject", [FLASK, NODE, FASTAPI], ids=lambda one: one.key)
    def test_it_acks(self, subject: Subject) -> None:
        """Each call is answered with its own number."""
        require(subject)
        with subject.started(CORES) as served:
            words = ["--test", "calls", *served.call, "-n", "3", "--warmup", "0.1"]
            result = run(served, CORES, words, seconds=0.2)

        assert result["complete"], rounds.why(result)
        assert result["answers"] > 0

    def test_one_that_does_not_start_says_why(self) -> None:
        """With its own words, and leaves nothing behind."""
        command = ["/bin/sh", "-c", "echo no such luck >&2; exit 3"]
        started = subjects.program("a peer", CORES, lambda _port, _folder: command)

        with pytest.raises(Exception, match="no such luck"), started:
            pass


@pytest.fixture(scope="module")
def fanfare() -> Iterator[Served]:
    """Fanfare, started once for all who load it."""
    needs.require_compiler()
    with ExitStack() as stack:
        bench = Bench("sqlite", CORES, stack)
        shape = ours.Shape(people=5)
        yield stack.enter_context(ours.subject(bench, shape).started(CORES))


class TestFanfareBeside:
    @pytest.mark.parametrize("durable", [False, True])
    def test_it_is_loaded_like_a_peer(self, fanfare: Served, durable: bool) -> None:
        """With tokens of its users, who are let in as always."""
        ours_too = [word.replace(',"ephemeral":true', "") for word in fanfare.publish]
        publish = ours_too if durable else fanfare.publish
        result = run(fanfare, CORES, [*publish, *SHORT], seconds=0.2)

        assert result["complete"], rounds.why(result)
        assert result["deliveries"] > 0

    def test_it_acks(self, fanfare: Served) -> None:
        """Each publish, with its own number, and only where it took place."""
        words = ["--test", "calls", *fanfare.call, "-n", "3", "--warmup", "0.1"]
        result = run(fanfare, CORES, words, seconds=0.2)

        assert result["complete"], rounds.why(result)
        assert result["answers"] > 0

    def test_who_is_not_let_in_makes_no_figure(self, fanfare: Served) -> None:
        """A server that refuses everybody would be fast."""
        forged = [*fanfare.publish, *SHORT, "--auth", '{"token":"forged"}']
        result = run(fanfare, CORES, forged, seconds=0.1)

        assert not result["complete"]
        assert result["failed"] == 10

    def test_a_measure_gives_its_outcome(self) -> None:
        """Every subject has every round, and what is asked is judged."""
        for subject in (NODE, FASTAPI, FLASK):
            require(subject)
        with ExitStack() as stack:
            outcome = session.MEASURES["acks"](Bench("sqlite", CORES, stack), PACE)

        assert [len(figure.values) for figure in outcome.charts[0].figures] == [PACE.rounds] * 4
        assert all(goal.median for goal in outcome.goals)


class TestRounds:
    def test_the_order_turns_and_all_have_each_round(self) -> None:
        """Whoever comes first in one round comes last in the next."""
        names = ["a", "b", "c"]
        order: list[str] = []
        twice = replace(PACE, rounds=2)

        def drive(subject: Subject, _served: Served) -> Iterator[tuple[str, dict[str, bool]]]:
            order.append(subject.key)
            yield "case", {"complete": True}

        found = rounds.interleave([made_up(name) for name in names], CORES, twice, drive)

        assert order == ["a", "b", "c", "b", "c", "a"]
        assert found.missing == {}

    def test_who_cannot_be_run_is_named(self) -> None:
        """And the others are run."""

        def drive(_subject: Subject, _served: Served) -> Iterator[tuple[str, dict[str, bool]]]:
            yield "case", {"complete": True}

        both = [made_up("a"), made_up("b", "it is not here")]
        found = rounds.interleave(both, CORES, PACE, drive)

        assert found.runs.subjects == ["a"]
        assert found.missing == {"b": "it is not here"}
        with pytest.raises(LoadFailedError, match="nobody"):
            rounds.interleave(both[1:], CORES, PACE, drive)

    def test_one_that_fails_is_named_and_the_others_go_on(self) -> None:
        """A peer that cannot be installed or started spoils nobody's figures."""

        def drive(subject: Subject, _served: Served) -> Iterator[tuple[str, dict[str, bool]]]:
            if subject.key == "b":
                raise LoadFailedError("it hung")
            yield "case", {"complete": True}

        both = [made_up("a"), made_up("b")]
        found = rounds.interleave(both, CORES, replace(PACE, rounds=3), drive)

        assert len(found.runs.figure("a", "case", lambda _run: 1.0).values) == 3
        assert found.missing == {"b": "it failed (it hung)"}


def made_up(name: str, obstacle: str | None = None) -> Subject:
    def started(_cores: Cores) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(ExitStack())
        return stack

    return Subject(name, name, lambda: obstacle, started)  # type: ignore[arg-type]


class TestBuilding:
    def test_what_does_not_compile_says_where(self, tmp_path) -> None:
        source = tmp_path / "broken.c"
        source.write_text("int main(void) { return nothing; }\n")

        with pytest.raises(BuildError, match=r"broken\.c"):
            built("broken", [source])
