"""The conformance suite fails against a server that breaks a promise, and names the promise."""

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cluster.nodes import ROOT, Node
from tests.faulty.faults import FAULTS

# No fault has a hand in these.
SPARED = ("TestForm", "TestCreation", "TestLists", "TestConditions", "TestHandshakes")
# What never comes is not waited for longer, in seconds.
PATIENCE = "4"


class Faulty(Node):
    """The real server with a fault in it."""

    def __init__(self, fault: str, folder: Path) -> None:
        settings = {"ENVIRONMENT": "testing", "PORT": 0, "RATE_LIMITS": "off", "LOG_LEVEL": "info"}
        super().__init__(settings, folder=folder, name=fault)
        self._fault = fault

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(ROOT)}

    def _serve_command(self) -> list[str]:
        return [sys.executable, "-m", "tests.faulty.server", self._fault, "serve"]


def run_suite(url: str, wanted: str, folder: Path) -> dict[str, bool]:
    """Run those tests of the suite against an address; tell of each whether it passed."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "tests/conformance", "--base", url]
    command += ["--patience", PATIENCE, "-q", "-k", wanted, f"--junitxml={report}"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {
        f"{case.get('classname')}.{case.get('name')}": not case.findall("failure")
        and not case.findall("error")
        for case in ET.parse(report).iter("testcase")
    }


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """A folder with a migrated database, to copy from: copying is faster than migrating again."""
    folder = tmp_path_factory.mktemp("migrated")
    Faulty("none", folder).migrate()
    return folder


@pytest.fixture
def start(tmp_path, migrated):
    nodes = []

    def start_with(fault):
        folder = shutil.copytree(migrated, tmp_path / "node")
        nodes.append(Faulty(fault, folder))
        nodes[-1].start()
        return nodes[-1].url

    yield start_with
    for node in nodes:
        node.stop()


def expression(name):
    """Write a test's name as pytest's -k takes it: `test_a[sse]` is `(test_a and sse)`."""
    return f"({name.removesuffix(']').replace('[', ' and ')})"


def named(results, name):
    """Give the results of a test: of all its parameters, or of those with the one in brackets."""
    plain, _, wanted = name.removesuffix("]").partition("[")
    found = {}
    for case, passed in results.items():
        test, _, given = case.split(".")[-1].removesuffix("]").partition("[")
        if test == plain and (not wanted or wanted in given.split("-")):
            found[case] = passed
    return found


class TestFaults:
    @pytest.mark.parametrize("fault", [name for name in FAULTS if name != "none"])
    def test_the_right_test_fails(self, start, tmp_path, fault):
        """All that have to see it fail; what has nothing to do with it passes."""
        caught_by = FAULTS[fault].caught_by
        wanted = map(expression, caught_by)
        results = run_suite(start(fault), " or ".join([*wanted, *SPARED]), tmp_path)

        for name in caught_by:
            found = named(results, name)
            assert found, f"the suite has no {name}"
            assert not any(found.values()), f"{FAULTS[fault].says}, and {found}"
        spared = [case for case in results if any(f".{one}." in case for one in SPARED)]
        assert spared
        assert [case for case in spared if not results[case]] == []

    def test_without_a_fault_the_same_tests_pass(self, start, tmp_path):
        """Else they would fail for the way in which the server is started."""
        wanted = {expression(name) for fault in FAULTS.values() for name in fault.caught_by}
        results = run_suite(start("none"), " or ".join(sorted(wanted)), tmp_path)

        assert len(results) >= len(wanted)
        assert [case for case, passed in results.items() if not passed] == []
