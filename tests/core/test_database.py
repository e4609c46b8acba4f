"""Transactions: what is counted of them."""

from collections.abc import Callable
from contextlib import closing

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Connection, create_engine, text

from core.store.database import Database


def _sent() -> float:
    return REGISTRY.get_sample_value("fanfare_db_statements_total") or 0.0


def _write(db: Database, use: Callable[[Connection], None]) -> None:
    with db.write() as write:
        use(write.conn)


def _read(db: Database, use: Callable[[Connection], None]) -> None:
    with db.read() as conn:
        use(conn)


def _snapshot(db: Database, use: Callable[[Connection], None]) -> None:
    with db.snapshot() as conn:
        use(conn)


def _ask_twice(conn: Connection) -> None:
    conn.execute(text("SELECT 1"))
    conn.execute(text("SELECT 2"))


class TestTheCountOfStatements:
    @pytest.mark.parametrize("way", [_write, _read, _snapshot])
    def test_each_counts_once(
        self, db: Database, way: Callable[[Database, Callable[[Connection], None]], None]
    ) -> None:
        """However a statement is sent; beginning and ending a transaction are none."""
        way(db, _ask_twice)  # connects first
        before = _sent()

        way(db, _ask_twice)

        assert _sent() - before == 2

    def test_those_of_connections_for_reading_count(self, database_url: str) -> None:
        """A server reads by connections of their own."""
        pool = create_engine(database_url)
        with closing(Database(create_engine(database_url), reads=pool)) as db:
            _read(db, _ask_twice)
            before = _sent()

            _read(db, _ask_twice)

            assert _sent() - before == 2
