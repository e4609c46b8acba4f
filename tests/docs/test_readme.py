"""README.md's tour works: its commands and programs run against a real server, as they are."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks, read, section
from tests.support import needs
from tests.support.client import SocketClient, registered
from tests.support.server import Server
from tests.support.wait import wait_until

PAGE = "README.md"
ADDRESS = "http://127.0.0.1:5000"


def block(language: str, holding: str = "") -> Block:
    """Return the one block in a language that holds a text."""
    (found,) = [b for b in blocks(PAGE) if b.language == language and holding in b.text]
    return found


def lobby(server: Server) -> str:
    """Make the tour's user and channel; return the token."""
    ada = registered(server.url)
    made = ada.post("/channels", {"name": "Lobby", "slug": "lobby", "kind": "public"})
    assert made.status_code == 201, made.text
    assert ada.post("/channels/lobby/messages", {"body": "Before"}).status_code == 201
    return str(ada.access_token)


@contextmanager
def running(command: list[str], folder: Path, **env: str) -> Iterator[Path]:
    """Run a program of the page; give the file that its output goes to."""
    out = folder / "out.txt"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with out.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**kept, **env}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield out
    finally:
        process.kill()
        process.wait()


def shows(out: Path, text: str) -> bool:
    return text in out.read_text()


class TestCurl:
    def run(self, server: Server, *parts: str) -> str:
        """Run parts of the tour in one shell; return what the last one shows."""
        if shutil.which("curl") is None:
            needs.miss("no curl on PATH (Debian: apt-get install curl)")
        tour = "\necho; echo ----\n".join(parts).replace(ADDRESS, server.url)
        script = "set -eu\ncurl() { command curl --fail-with-body --noproxy '*' \"$@\"; echo; }\n"
        done = subprocess.run(
            ["bash", "-c", script + tour], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.rpartition("\n----\n")[2]

    def test_the_tour_ends_with_the_whole_log(self, server):
        """Each command succeeds, the retry is a replay, and the last one shows what was done."""
        shown = self.run(server, block("sh", "auth/register").text)

        assert "idempotent-replay: true" in shown.lower()
        log = shown.strip().splitlines()[-1]
        assert re.findall(r'"type":"([^"]+)"', log) == [
            "channel.created",
            "member.joined",
            "message.created",
            "order.paid",
        ]

    def test_it_follows_by_long_poll_and_by_server_sent_events(self, server):
        """The poll waits for what is published meanwhile; the stream shows each event once."""
        tour = (block("sh", "auth/register").text, block("sh", "events/stream").text)
        shown = self.run(server, *tour)
        # What two of them write at once may share a line.
        answer, _ = json.JSONDecoder().raw_decode(shown[shown.index('{"events":') :])
        streamed = [
            json.loads(data)["offset"]
            for data in re.findall(r"event: event\nid: \S+\ndata: (.+)\n", shown)
        ]

        assert [event["type"] for event in answer["events"]] == ["order.sent"]
        assert "event: ready" in shown
        assert streamed == [*range(streamed[0], 7)]
        assert len(streamed) >= 2


class TestPrograms:
    """Each shows what was there, what it writes itself, and what others write; once."""

    def write_and_restart(self, server: Server, token: str, out: Path, name: str) -> None:
        wait_until(lambda: shows(out, f"Hello from {name}"), deadline_s=30, what=out.read_text())
        assert shows(out, "Before")
        server.restart()
        with SocketClient(server.url, token) as other:
            other.ok("message.create", {"channel": "lobby", "body": "After the restart"})
        wait_until(lambda: shows(out, "After the restart"), deadline_s=30, what="what came after")

    def offsets(self, out: Path) -> list[int]:
        return [
            int(found) for found in re.findall(r"^(\d+) [a-z]+\.", out.read_text(), re.MULTILINE)
        ]

    def test_python(self, server, tmp_path):
        token = lobby(server)
        (tmp_path / "tour.py").write_text(block("python").text)
        command = [sys.executable, "tour.py"]

        with running(command, tmp_path, TOKEN=token, FANFARE_URL=server.url) as out:
            self.write_and_restart(server, token, out, "Python")

        assert self.offsets(out) == list(range(1, len(self.offsets(out)) + 1))

    def test_javascript(self, server, node, tmp_path):
        token = lobby(server)
        (tmp_path / "tour.mjs").write_text(block("js").text)
        (tmp_path / "node_modules").symlink_to(needs.JS / "node_modules")

        with running([node, "tour.mjs"], tmp_path, TOKEN=token, FANFARE_URL=server.url) as out:
            self.write_and_restart(server, token, out, "JavaScript")

        assert self.offsets(out) == list(range(1, len(self.offsets(out)) + 1))


class TestCommands:
    def test_the_commands_of_make_exist(self):
        makefile = read("Makefile")
        told = re.findall(r"\bmake ([a-z]+)\b(?! sure)", block("sh", "make run").text)

        assert told
        assert not [name for name in told if not re.search(rf"^{name}:", makefile, re.MULTILINE)]

    @pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docs/architecture.md"])
    def test_the_commands_of_run_py_exist(self, page):
        """Of all that the pages name."""
        told = set(re.findall(r"(?:python |`)run\.py ([a-z][a-z-]+)", read(page)))
        listed = subprocess.run(
            [sys.executable, "run.py", "--help"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

        assert not [name for name in told if not re.search(rf"^ +{name}\b", listed, re.MULTILINE)]

    def test_the_page_is_short(self):
        assert len(read(PAGE).splitlines()) <= 220

    def test_what_is_not_promised_is_said(self):
        told = section(PAGE, "## What is guaranteed")

        for word in ("presence", "API keys", "devices", "webhooks", "may be dropped"):
            assert word in told
