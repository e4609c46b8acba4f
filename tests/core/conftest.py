"""A core without a server, on a fresh database of each kind."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import create_engine

from core.callers import Caller
from core.passwords import Passwords
from core.services import accounts
from core.store.database import Database
from core.times import now_ms


@dataclass(frozen=True)
class Core:
    """A database, and people in it who need no password."""

    db: Database

    def person(self, name: str, *, is_admin: bool = False) -> Caller:
        """Make a user; give the caller that a token of theirs would make."""
        with self.db.write() as write:
            user_id = accounts.add_user(
                write, username=name, password_hash="none", is_admin=is_admin
            )
        return Caller(user_id, name, "no session", is_admin, now_ms() + 60_000)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A fresh database with the newest schema."""
    engine = create_engine(database_url, hide_parameters=True)
    yield Database(engine, sqlite_synchronous="OFF")
    engine.dispose()


@pytest.fixture
def core(db: Database) -> Core:
    """The core on that database."""
    return Core(db)


@pytest.fixture(scope="session")
def passwords() -> Passwords:
    """What hashes passwords, here and at once."""
    return Passwords()
