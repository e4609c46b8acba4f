"""run.py as a person at a terminal has it: commands that end, and a `tail` that goes on."""

import subprocess
import sys
import threading
from contextlib import contextmanager

from tests.support.client import unique
from tests.support.server import ROOT
from tests.support.wait import wait_until


def run(server, *words, stdin="", deadline_s=60, **settings):
    """Run a command on a server's settings, with something to read."""
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *words],
        env={**server.environment(), **settings},
        cwd=server.instance,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
    )


def refused(done):
    """Hold a command that failed to its manners; return what it said."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def said(done):
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()


def make_channel(person):
    made = person.post("/channels", {"name": "Lobby", "kind": "public", "slug": unique("lobby")})
    assert made.status_code == 201, made.text
    return {**made.json(), "stream": f"channel:{made.json()['id']}"}


@contextmanager
def started(server, *words, **settings):
    """Start a command and let it run."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *words],
        env={**server.environment(), **settings},
        cwd=server.instance,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Tail:
    """A running `run.py tail`, and the lines that it has shown."""

    def __init__(self, process):
        self.process = process
        self.lines: list[str] = []
        self.notes: list[str] = []
        for stream, lines in ((process.stdout, self.lines), (process.stderr, self.notes)):
            threading.Thread(target=self._read, args=(stream, lines), daemon=True).start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def wait_for(self, count):
        wait_until(lambda: len(self.lines) >= count, deadline_s=60, what=f"{count} lines")
        return self.lines
