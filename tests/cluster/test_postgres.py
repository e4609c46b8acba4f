"""The PostgreSQL of the tests can be ended, killed and started again, and keeps what it has."""

import tempfile
from pathlib import Path

import psycopg
import pytest

from cluster.postgres import Postgres, database_of, find_binaries
from cluster.process import ProcessError
from tests.support import needs


@pytest.fixture
def own_postgres():
    """A PostgreSQL that a test may break; synced to its disk, as it will be killed."""
    needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
    with Postgres() as server:
        yield server


@pytest.fixture
def open_folder():
    """A folder that whoever PostgreSQL runs as can reach: root's tests have one, too."""
    with tempfile.TemporaryDirectory(prefix="fanfare-kept-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def write(server, url):
    with server.connect(database_of(url)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS seen (at_ int)")
        connection.execute("INSERT INTO seen VALUES (1)")


def count(server, url):
    with server.connect(database_of(url)) as connection:
        return connection.execute("SELECT count(*) FROM seen").fetchone()[0]


class TestPostgres:
    @pytest.mark.parametrize("way", ["restart", "kill"])
    def test_it_comes_back_at_the_same_address_with_its_data(self, own_postgres, way):
        url = own_postgres.create_database()
        folder = own_postgres.folder
        write(own_postgres, url)
        with own_postgres.connect() as open_all_the_while:
            if way == "kill":
                own_postgres.kill()
                own_postgres.start()
            else:
                own_postgres.restart()
            with pytest.raises(psycopg.OperationalError):
                open_all_the_while.execute("SELECT 1")

        assert own_postgres.folder == folder
        assert count(own_postgres, url) == 1

    def test_on_a_port_it_wants_its_password(self):
        needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
        with Postgres(fsync=False, tcp=True) as server:
            url = server.create_database().replace("+psycopg", "")
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url, password="a guess")

    def test_a_kept_folder_is_found_again(self, open_folder):
        """Its databases outlive the server that made them."""
        needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
        folder = open_folder / "data of a cluster"
        with Postgres(fsync=False, folder=folder) as server:
            write(server, server.database("fanfare"))
            sockets = server.folder
        assert not sockets.exists()

        with Postgres(fsync=False, folder=folder) as server:
            assert count(server, server.database("fanfare")) == 1

    def test_a_start_that_fails_shows_the_log(self):
        needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
        with pytest.raises(ProcessError, match="shared_buffers"):
            Postgres(settings={"shared_buffers": "none"}).__enter__()
