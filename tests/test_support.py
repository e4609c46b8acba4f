"""The ground that the other tests stand on does what it says, with nothing of Fanfare running."""

import signal
import subprocess

import pytest

from cluster import postgres
from tests.support import needs
from tests.support.client import SocketClient
from tests.support.server import ROOT, Server, ServerFailedError
from tests.support.wait import wait_until

STAND_IN = """
import os, signal, socket, sys

if sys.argv[1] == "migrate":
    sys.exit(os.environ.get("MIGRATE_FAILS"))
if "BREAKS" in os.environ:
    sys.exit("the port is taken by a bear")
if "DEAF" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print(f"Fanfare 0.0.0 is ready at http://127.0.0.1:{server.getsockname()[1]}", flush=True)
signal.pause()
"""


@pytest.fixture
def stand_in(tmp_path):
    """Start servers that are nothing but a port and a ready line."""
    (tmp_path / "run.py").write_text(STAND_IN)
    started: list[Server] = []

    def make(**settings) -> Server:
        instance = tmp_path / f"instance-{len(started)}"
        started.append(Server(root=tmp_path, instance=instance, **settings))
        return started[-1]

    yield make
    for server in started:
        server.close()


class TestNeeds:
    def test_what_is_there_is_returned(self):
        assert needs.require("/usr/bin/true", "a program") == "/usr/bin/true"

    def test_a_test_without_its_need_is_skipped_with_the_reason(self, monkeypatch):
        monkeypatch.delenv(needs.REQUIRE_ALL, raising=False)

        with pytest.raises(pytest.skip.Exception, match="no Node"):
            needs.require(None, "no Node.js")

    def test_where_all_is_required_the_skip_is_a_failure(self, monkeypatch):
        monkeypatch.setenv(needs.REQUIRE_ALL, "1")

        with pytest.raises(pytest.fail.Exception, match="no Node"):
            needs.require(None, "no Node.js")


class TestPostgres:
    def test_the_one_of_the_wheel_serves_where_none_is_installed(self, monkeypatch):
        """Whatever this machine has on PATH, a machine without it has the same tests."""
        monkeypatch.delenv("FANFARE_POSTGRES_BIN", raising=False)
        wheel = [path for path in postgres.find_all() if "pgserver" in str(path)]

        with postgres.Postgres(binaries=wheel[0]) as server:
            url = server.create_database()
            with server.connect(postgres.database_of(url)) as connection:
                connection.execute("CREATE TABLE seen (offset_ int)")
            copy = server.create_database(template=url)
            server.drop_database(url)
            with server.connect(postgres.database_of(copy)) as connection:
                found = connection.execute("SELECT count(*) FROM seen").fetchone()
            folder = server.folder

        assert found == (0,)
        assert not folder.exists()


class TestServer:
    def test_it_comes_back_on_the_same_port(self, stand_in):
        server = stand_in()
        server.start()
        url, pid = server.url, server.pid

        server.restart()
        assert (server.url, server.is_running()) == (url, True)
        assert server.pid != pid
        server.kill()
        server.start()
        assert server.url == url

    def test_a_failed_start_shows_the_log(self, stand_in):
        with pytest.raises(ServerFailedError, match="taken by a bear"):
            stand_in(BREAKS=1).start()

    def test_a_failed_migration_shows_what_it_said(self, stand_in):
        with pytest.raises(ServerFailedError, match="no such table"):
            stand_in(MIGRATE_FAILS="no such table").start()

    def test_one_that_will_not_end_is_made_to(self, stand_in):
        server = stand_in(DEAF=1)
        server.start()

        assert server.stop(deadline_s=0.2) == -signal.SIGKILL

    def test_nothing_of_the_shell_reaches_it(self, stand_in, monkeypatch):
        """A developer's own DATABASE_URL must never be written to by a test."""
        monkeypatch.setenv("DATABASE_URL", "postgresql://precious")
        monkeypatch.setenv("SECRET_KEY", "precious")

        assert "precious" not in str(stand_in().environment())


class TestSocketClient:
    def test_packets_are_kept_in_the_order_of_their_arrival(self):
        """The stock client would give each packet a thread of its own."""
        client = SocketClient("http://127.0.0.1:1")
        engine = client._io.eio
        handle = engine.handlers["message"]
        for number in range(300):
            engine.start_background_task(handle, f'2["event",{{"offset":{number}}}]')
        client.wait_for(lambda it: len(it.events) == 300, what="the packets")
        client.close()

        assert [event["offset"] for event in client.events] == list(range(300))


class TestWaiting:
    def test_it_returns_what_it_waited_for(self):
        answers = iter([None, 0, "here"])

        assert wait_until(lambda: next(answers)) == "here"

    def test_it_gives_up_by_name(self):
        with pytest.raises(AssertionError, match="in vain for rain"):
            wait_until(lambda: False, deadline_s=0.02, what="rain")


class TestMakefile:
    def test_help_lists_every_command(self):
        command = ["make", "-C", str(ROOT), "help"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout

        names = {line.split()[1] for line in said.splitlines()}
        assert {"run", "test", "check", "bench", "lock", "format", "clean"} <= names
