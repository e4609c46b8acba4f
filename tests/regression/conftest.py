"""One server on each database for what leaves a server as it was; a fresh one for the rest."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

import app
import config
from cluster.postgres import Postgres, database_of
from core.store.database import Database
from core.store.models import metadata
from tests.conftest import copy_sqlite, sqlite_url
from tests.support.server import Server
from tests.support.wait import wait_until


@dataclass
class Stall:
    """A server on PostgreSQL, and a session of our own that makes it wait for locks."""

    server: Server
    session: psycopg.Connection[Any]
    onlooker: psycopg.Connection[Any]

    def lock(self, statement: str, *values: object) -> None:
        """Take a lock, held until `release`."""
        self.session.execute(statement.encode(), values)

    def release(self) -> None:
        """Let everybody go on."""
        self.session.rollback()

    def waiting(self) -> int:
        """Count the server's sessions that wait for a lock."""
        row = self.onlooker.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
        return int(row[0]) if row else 0

    def wait_for_waiting(self, number: int) -> None:
        """Wait until so many of the server's sessions wait for a lock."""
        wait_until(
            lambda: self.waiting() == number, deadline_s=30, what=f"{number} that wait for a lock"
        )


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated SQLite database to copy."""
    folder = tmp_path_factory.mktemp("regression-migrated")
    url = sqlite_url(folder / "fanfare.db")
    Server(url, instance=folder).migrate()
    return url


@pytest.fixture(scope="session")
def sturdy(migrated_sqlite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite that every test leaves without a connection."""
    folder = tmp_path_factory.mktemp("regression")
    with Server(copy_sqlite(migrated_sqlite, folder), instance=folder, migrate=False) as running:
        yield running


@pytest.fixture
def start_own(migrated_sqlite: str, tmp_path: Path) -> Iterator[Any]:
    """`start_own(COMPARE_INTERVAL_S=60)` starts a server on a copy of the SQLite database."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Server:
            url = copy_sqlite(migrated_sqlite, tmp_path)
            server = Server(url, instance=tmp_path, migrate=False, **settings)
            return stack.enter_context(server)

        yield start


@pytest.fixture(scope="session")
def stalled_server(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    """A server on PostgreSQL that waits but a second for a stranger's token."""
    url = postgres.create_database()
    folder = tmp_path_factory.mktemp("regression-postgres")
    with Server(url, instance=folder, AUTH_TIMEOUT_S=1) as running:
        yield running, database_of(url)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stall(postgres: Postgres, stalled_server: tuple[Server, str]) -> Iterator[Stall]:
    """The server on PostgreSQL, and the means to make it wait."""
    server, name = stalled_server
    with postgres.connect(name) as session, postgres.connect(name) as onlooker:
        session.rollback()
        session.autocommit = False
        yield Stall(server, session, onlooker)
        session.rollback()


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[Database]:
    """A database for what is better asked of the services than of a server."""
    environment = {
        "ENVIRONMENT": "testing",
        "INSTANCE_PATH": str(tmp_path),
        "SQLITE_SYNCHRONOUS": "OFF",
    }
    made = app.create_core(config.load(environment, dotenv=None))
    metadata.create_all(made.db.engine)
    yield made.db
    made.db.close()
