"""docs/clients.md: its commands run, and its lists are those of the code."""

import shutil
import subprocess

import pytest

from tests.conformance.conftest import OPTIONS
from tests.docs.pages import blocks, codes, read, rows, section
from tests.faulty.faults import FAULTS
from tests.support import needs
from tests.support.client import registered

PAGE = "docs/clients.md"
# The stream goes on for ever: it is cut after a while.
SCRIPT = """set -eu
curl() { command curl --fail-with-body --noproxy '*' --max-time 4 "$@" || [ $? = 28 ]; echo; }
"""


class TestCurl:
    def test_a_shell_follows_and_publishes(self, server, tmp_path):
        """What was published is told by the poll and by the stream."""
        if shutil.which("curl") is None:
            needs.miss("no curl on PATH (Debian: apt-get install curl)")
        ada = registered(server.url)
        made = ada.post("/channels", {"name": "Lobby", "slug": "lobby", "kind": "public"})
        assert made.status_code == 201, made.text
        (tour,) = [block for block in blocks(PAGE) if block.about == "curl"]

        done = subprocess.run(
            ["bash", "-c", SCRIPT + tour.text],
            cwd=tmp_path,
            env={"URL": server.url, "TOKEN": str(ada.access_token), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count('"type":"message.created"') == 2
        assert "event: ready" in done.stdout


class TestLists:
    def test_the_faults_are_those_that_are_planted(self):
        told = {codes(name)[0]: says for name, says in rows(read(PAGE), "fault")}

        assert told == {name: fault.says for name, fault in FAULTS.items() if name != "none"}

    def test_the_options_are_those_of_the_suite(self):
        told = [codes(cells[0])[0].split()[0] for cells in rows(read(PAGE), "option")]

        assert told == [*OPTIONS, "-k"]

    @pytest.mark.parametrize("language", ["swift", "kotlin", "dart"])
    def test_what_is_not_run_is_said_to_be_so(self, language):
        assert [block for block in blocks(PAGE) if block.language == language]
        assert "**They are not run by our tests**" in section(PAGE, "## Swift, Kotlin, Dart")
