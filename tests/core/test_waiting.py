"""Waiting for PostgreSQL by a loop: every answer comes, whole, and others run meanwhile."""

import select as system
from collections.abc import Generator, Iterator
from contextlib import closing

import eventlet
import pytest
from psycopg.waiting import Wait
from sqlalchemy import create_engine, func, literal, select, text

from core.errors import UnavailableError
from core.store.database import Database
from core.store.quick import Quick
from realtime import green

BIG = 8_000_000
PID = select(func.pg_backend_pid())


class Waiter:
    """Waits as the system does, and counts how often."""

    def __init__(self) -> None:
        self.waits = 0

    def __call__(self, descriptor: int) -> None:
        self.waits += 1
        assert system.select([descriptor], [], [], 30)[0], "nothing came"


@pytest.fixture
def waiter() -> Waiter:
    return Waiter()


@pytest.fixture
def database(backend: str, database_url: str, waiter: Waiter) -> Iterator[Database]:
    """A database whose every wait is counted."""
    if backend == "sqlite":
        pytest.skip("it has nothing to wait for")
    reads = create_engine(database_url, isolation_level="AUTOCOMMIT")
    with closing(Database(create_engine(database_url), reads=reads, wait_readable=waiter)) as db:
        yield db


class TestWaiting:
    def test_is_done_once_for_an_answer(self, database, waiter):
        one = Quick(select(literal(7).label("a")))
        database.fetch(one, {})
        before = waiter.waits
        found = database.fetch(one, {})

        assert found == [(7,)]
        assert waiter.waits - before == 1

    def test_is_for_all_of_a_long_answer(self, database, waiter):
        with database.read() as conn:
            conn.execute(text("SELECT 1"))
            before = waiter.waits
            found = conn.execute(select(func.repeat("x", BIG))).scalar_one()

        assert found == "x" * BIG
        assert waiter.waits - before > 1

    def test_is_left_to_the_driver_while_there_is_much_to_send(self, database):
        """The server may speak while it is spoken to: both are waited for."""
        with database.read() as conn:
            found = conn.execute(select(func.length(literal("é" * BIG)))).scalar_one()

        assert found == BIG

    def test_is_for_errors_too(self, database):
        with pytest.raises(Exception, match="division by zero"), database.read() as conn:
            conn.execute(text("SELECT 1 / 0"))
        with database.read() as conn:
            assert conn.execute(text("SELECT 2")).scalar_one() == 2

    def test_ends_with_the_connection(self, database):
        with database.read() as conn:
            pid = conn.execute(PID).scalar_one()
        with database.write() as write:
            write.conn.execute(select(func.pg_terminate_backend(pid)))
        with pytest.raises(UnavailableError), database.read() as conn:
            conn.execute(PID)
        with database.read() as conn:
            assert conn.execute(PID).scalar_one() != pid

    def test_gives_what_was_waited_for(self, database):
        """Whether or not there was something to wait for, and for what."""

        def work(*wanted: Wait) -> Generator[Wait, int, int]:
            for one in wanted:  # noqa: UP028 - it would be sent what is for us
                yield one
            return len(wanted)

        with database.read() as conn:
            driver = conn.connection.driver_connection
            found = [driver.wait(work(*wanted)) for wanted in ((), (Wait.W,), (Wait.RW, Wait.W))]

        assert found == [0, 1, 2]

    def test_is_for_transactions(self, database):
        with database.write() as write:
            write.conn.execute(text("CREATE TABLE kept (a int)"))
        with database.snapshot() as conn:
            assert conn.execute(text("SELECT count(*) FROM kept")).scalar_one() == 0


class TestTheLoop:
    def test_lets_others_run(self, backend, database_url):
        """Who asks for little is answered while somebody waits for long."""
        if backend == "sqlite":
            pytest.skip("it has nothing to wait for")
        done: list[str] = []
        engine = create_engine(database_url)
        with closing(Database(engine, wait_readable=green.wait_readable)) as db:

            def ask(name: str, seconds: float) -> None:
                with db.read() as conn:
                    conn.execute(select(func.pg_sleep(seconds)))
                done.append(name)

            # Both are there: this process is not patched, and may not wait for a lock of the pool.
            with db.read(), db.read():
                pass
            both = [eventlet.spawn(ask, "long", 2), eventlet.spawn(ask, "short", 0)]
            for one in both:
                one.wait()

        assert done == ["short", "long"]
