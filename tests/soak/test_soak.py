"""`make soak` works, for a few seconds of the same code; and it sees a server that leaks."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.soak.judge import Sample, judge
from tests.soak.load import SETTINGS
from tests.soak.soak import soak
from tests.support.server import ROOT, Server

SECONDS = 15.0


def samples(memory: Any, *, number: int = 100, step_s: float = 6) -> list[Sample]:
    return [Sample(at * step_s, memory(at), 50, 40, 30) for at in range(number)]


class TestTheRule:
    @pytest.mark.parametrize(
        "memory",
        [
            lambda _at: 100.0,
            lambda at: 100.0 + at % 7,  # noise
            lambda at: 100.0 if at % 10 else 400.0,  # bursts
            lambda at: min(100.0 + at * 5, 200.0),  # caches that fill, and are full
            lambda at: 200.0 - at,  # it gives back
        ],
    )
    def test_what_is_flat_passes(self, memory):
        assert all(verdict.is_flat for verdict in judge(samples(memory), 180))

    @pytest.mark.parametrize(
        "memory",
        [
            lambda at: 100.0 + at * 0.2,
            lambda at: 100.0 + at * 0.2 + at % 9,  # in noise
            lambda at: 100.0 + 20 * (at // 45),  # by a step
        ],
    )
    def test_what_grows_fails(self, memory):
        (grown,) = [verdict for verdict in judge(samples(memory), 180) if not verdict.is_flat]

        assert grown.name == "memory_mib"
        assert "GROWS" in str(grown)

    def test_a_short_run_may_fill_its_caches(self):
        quick = samples(lambda at: 100.0 + at * 0.15, step_s=0.1)
        (slow,) = [v for v in judge(samples(lambda at: 100.0 + at * 0.15), 180) if not v.is_flat]

        assert all(verdict.is_flat for verdict in judge(quick, 3))
        assert slow.name == "memory_mib"

    def test_too_few_samples_are_no_verdict(self):
        with pytest.raises(ValueError, match="too few"):
            judge(samples(lambda _at: 1.0, number=40), 180)


class Leaky(Server):
    """The server with a leak."""

    def _serve_command(self) -> list[str]:
        return [sys.executable, "-m", "tests.soak.leaky", "serve"]


class TestTheRun:
    def test_a_sound_server_serves_everybody_and_stays_flat(self, tmp_path: Path, seed, tell):
        lines: list[str] = []
        with Server(None, instance=tmp_path, **SETTINGS) as server:
            outcome = soak(server, SECONDS, seed, lines.append)
            log = server.log
        tell(lines[-1])

        assert outcome.is_good, "\n".join(lines)
        assert "Traceback" not in log
        for part in ("publishes", "signals", "resumes", "stalls", "polls", "streams", "reads"):
            assert outcome.counts.get(part, 0) > 0, part
        assert outcome.counts["ugly ends"] >= 300

    def test_a_server_that_leaks_is_seen(self, tmp_path: Path, seed):
        """By each of the three, and by name."""
        lines: list[str] = []
        with Leaky(None, instance=tmp_path, PYTHONPATH=ROOT, **SETTINGS) as server:
            outcome = soak(server, SECONDS, seed, lines.append)

        grown = {verdict.name for verdict in outcome.verdicts if not verdict.is_flat}
        assert {"memory_mib", "files", "greenlets"} <= grown, "\n".join(lines)
        assert outcome.failures == []
