"""`python -m cluster`, as a person starts and ends it: it serves, tells, and leaves nothing."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest

from cluster.nodes import ROOT
from cluster.ports import free_port
from cluster.postgres import find_binaries
from tests.support import needs
from tests.support.client import RestClient, registered
from tests.support.wait import wait_until

DEADLINE_S = 120
STARTED = "Ctrl-C stops all of it."


class Running:
    """`python -m cluster` in the foreground of nobody, with all its folders in one of its own."""

    def __init__(self, folder, *settings, **environment):
        self.folder = folder
        self.port = environment.get("PORT") or free_port()
        given = {"TMPDIR": folder, "PORT": self.port, "PYTHONUNBUFFERED": "1", **environment}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cluster", *settings],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **{name: str(value) for name, value in given.items()}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, words):
        def has_said():
            assert self.process.poll() is None or words in self.said, self.said
            return words in self.said

        wait_until(has_said, deadline_s=DEADLINE_S, what=words)
        return self

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code

    def processes(self):
        """Whatever lives in its folder: each part has a folder there for its own."""
        return [one for one in psutil.process_iter(["cwd"]) if self._is_ours(one.info["cwd"])]

    def pid_of(self, name):
        found = re.search(rf"^  {name} .* process (\d+)", self.said, re.MULTILINE)
        assert found, self.said
        return int(found[1])

    def _is_ours(self, cwd):
        return cwd is not None and Path(cwd).is_relative_to(self.folder)

    def _read(self):
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.said += line


@pytest.fixture
def start_cluster():
    """Start clusters; what is left of them is ended, by its ids, and fails the test."""
    needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
    needs.require_redis()
    needs.require_nginx()
    started = []
    # Not pytest's folder, which root alone can enter: PostgreSQL and nginx don't run as root.
    with tempfile.TemporaryDirectory(prefix="fanfare-all-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)

        def start(*settings, **environment):
            if "CLUSTER_DIR" in environment:
                environment["CLUSTER_DIR"] = folder / environment["CLUSTER_DIR"]
            started.append(Running(folder, *settings, **environment))
            return started[-1]

        yield start
        left = [one for running in started for one in running.processes()]
        for running in started:
            if running.process.poll() is None:
                running.end()
        for one in left:
            one.kill()
    assert not left


def wait_until_all_is_gone(running):
    wait_until(lambda: not running.processes(), deadline_s=DEADLINE_S, what="every process to end")


class TestMakeCluster:
    def test_it_serves_and_ctrl_c_takes_all_of_it_down(self, start_cluster):
        """A user made through nginx is known at every node."""
        running = start_cluster("MAX_SUBSCRIPTIONS=77").wait_for(STARTED)
        names = {one.name() for one in running.processes()}
        nodes = re.findall(r"^  n\d +(http://\S+)", running.said, re.MULTILINE)
        with registered(f"http://127.0.0.1:{running.port}") as ada:
            for url in nodes:
                with RestClient(url, token=ada.access_token) as known:
                    assert known.get("/me").json()["id"] == ada.id
        code = running.end()

        assert code == 0, running.said
        assert len(nodes) == 3
        assert {"nginx", "postgres", "redis-server"} <= names
        assert not running.processes()
        assert not list(running.folder.iterdir())

    def test_a_part_that_dies_is_told_and_the_rest_goes_on(self, start_cluster):
        running = start_cluster().wait_for(STARTED)
        os.kill(running.pid_of("n2"), signal.SIGKILL)
        running.wait_for("n2 has ended")
        with registered(f"http://127.0.0.1:{running.port}") as ada:
            answers = [ada.get("/me").status_code for _ in range(9)]

        assert answers == [200] * 9
        assert running.end(signal.SIGTERM) == 0
        assert not running.processes()

    def test_killed_itself_it_leaves_nothing(self, start_cluster):
        """As by the kernel, for want of memory: nobody is left to take the parts down."""
        running = start_cluster().wait_for(STARTED)
        assert len(running.processes()) >= 6
        running.end(signal.SIGKILL)

        wait_until_all_is_gone(running)

    @pytest.mark.parametrize("moment", ["Starting", "before the nodes"])
    def test_ctrl_c_while_it_starts_leaves_nothing(self, start_cluster, moment):
        running = start_cluster()
        running.wait_for("Starting")
        if moment == "before the nodes":
            wait_until(running.processes, deadline_s=DEADLINE_S, what="the first part")
        running.end()

        assert "nothing is left running" in running.said
        assert not running.processes()
        assert not list(running.folder.iterdir())


class TestFailures:
    def check(self, running, words):
        code = running.wait()

        assert code == 1
        assert words in running.said
        assert running.said.endswith("Nothing is left running.\n")
        assert not running.processes()
        assert not list(running.folder.iterdir())

    def test_a_setting_at_fault_is_told(self, start_cluster):
        self.check(start_cluster("LOG_LEVEL=loud"), "LOG_LEVEL: is 'loud'")

    def test_a_redis_that_does_not_start_is_told(self, start_cluster):
        """PostgreSQL runs by then."""
        self.check(start_cluster(FANFARE_REDIS_BIN="/bin/false"), "Redis did not start")

    def test_a_taken_port_is_told(self, start_cluster):
        """Everything but nginx runs by then."""
        with socket.create_server(("127.0.0.1", free_port())) as taken:
            running = start_cluster(PORT=taken.getsockname()[1])
            self.check(running, "Address already in use")


class TestKeptData:
    def test_they_are_there_at_the_next_start(self, start_cluster):
        """And tokens hold, as the secret is kept with them."""
        kept = {"CLUSTER_DIR": "kept", "NODES": 1}
        running = start_cluster(**kept).wait_for(STARTED)
        with registered(f"http://127.0.0.1:{running.port}") as ada:
            running.end()
            again = start_cluster(**kept, PORT=running.port).wait_for(STARTED)
            known = ada.get("/me")
            again.end()

        assert known.json()["id"] == ada.id
        assert not again.processes()
