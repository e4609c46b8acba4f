"""Transactions: the only way to the database, on SQLite and PostgreSQL alike.

`write()` commits, and only then announces the events that were appended in it: no service can
emit what is not committed, nor forget to emit what is. `write_together()` shares one with others.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.errors import FanfareError, UnavailableError
from core.events import Control, Event
from core.metrics import DB_STATEMENTS, ROUNDS
from core.store.quick import Form, Quick
from core.store.rounds import Rounds

# How long a writer waits for SQLite's lock.
_MOST_WAIT_S = 5.0
# What is written in one transaction, by the sizes that its writers tell.
MOST_TOGETHER = 512 * 1024
# Each takes a connection while it waits.
_SIDE_LANES = 4


@dataclass(slots=True)
class Write:
    """A write transaction under way, and what is to be announced once it is committed."""

    conn: Connection
    events: list[Event] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)


Announce = Callable[[list[Event], list[Control]], None]
Work = Callable[[Write, list[Any]], None]


@dataclass(slots=True)
class _Job:
    """What one writer wants written together with others' of the same work and lane."""

    work: Work
    alone: Work
    lane: str
    items: Sequence[Any]
    failed: list[tuple[Any, Exception]] = field(default_factory=list)

    @property
    def kind(self) -> Hashable:
        return self.work, self.lane


class Database:
    """Hands out transactions.

    Raises, from every transaction: UnavailableError where the database does not answer.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        reads: Engine | None = None,
        sqlite_synchronous: str = "FULL",
        wait_readable: Callable[[int], object] | None = None,
    ) -> None:
        """`reads` are connections of PostgreSQL that stay in autocommit.

        `wait_readable` lets others run until a descriptor can be read; None: nobody else would.
        """
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        # Nobody where no node runs: watchers elsewhere find the events when they compare tops.
        self._listeners: list[Announce] = []
        self._frozen = self._writing = engine
        self._single = engine if reads is None else reads
        for each in {engine, self._single}:
            event.listen(each, "before_cursor_execute", _count)
            if wait_readable is not None and not self.is_sqlite:
                # Where there is no PostgreSQL its driver is not needed.
                from core.store.waiting import wait_by  # noqa: PLC0415

                wait_by(each, wait_readable)
        # One writer at a time is SQLite's own rule. Waiting here lets other greenlets run;
        # waiting in SQLite would stop them, the lock's holder among them.
        self._turn: AbstractContextManager[Any] = nullcontext()
        if self.is_sqlite:
            self._turn = _Turn()
            _prepare_sqlite(engine, sqlite_synchronous)
            self._writing = engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        else:
            if reads is None:
                # The same, at the cost of switching a connection over and back each time.
                self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
            self._frozen = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        self._rounds = self._make_rounds()
        self._side_lanes = [self._make_rounds() for _ in range(_SIDE_LANES)]

    def _make_rounds(self) -> Rounds[_Job]:
        # SQLite lets nobody else run while it works: who is ready comes in before.
        gather = partial(time.sleep, 0) if self.is_sqlite else None
        return Rounds(
            self._write_round, most=MOST_TOGETHER, kind=lambda job: job.kind, gather=gather
        )

    def close(self) -> None:
        """Close every connection. The last one of SQLite moves its log of changes into the file."""
        for engine in {self.engine, self._single}:
            engine.dispose()

    def announce_to(self, announce: Announce) -> None:
        """Say who hears of committed events, in the committing thread, right after the commit.

        Who was named first hears first.
        """
        self._listeners.append(announce)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read; each statement sees what is committed when it runs."""
        with _translated(), self._single.connect() as conn:
            yield conn

    def fetch(self, quick: Quick, parameters: Mapping[str, Any]) -> list[Any]:
        """Read the rows of one query, of one moment: the way for what is asked all the time."""
        form = quick.form(self._single.dialect)
        driver = self._single.dialect.loaded_dbapi
        with _translated():
            try:
                found = self._fetch(form, form.bind(parameters))
            except (driver.OperationalError, driver.InterfaceError) as error:
                raise UnavailableError("The database does not answer. Try again.") from error
            if found is None:
                # The usual way: it knows what to do with the others of a pool that broke.
                with self._single.connect() as conn:
                    found = list(conn.execute(quick.query, dict(parameters)))
        return found

    def _fetch(self, form: Form, bound: Any) -> list[Any] | None:
        """Give the rows; None: the connection was broken."""
        conn = self._single.pool.connect()
        try:
            cursor = conn.cursor()
            for tell in self._single.dispatch.before_cursor_execute:
                tell(None, cursor, form.text, bound, None, False)
            cursor.execute(form.text, bound)
            rows = cursor.fetchall()
        except BaseException as error:
            is_broken = self._is_broken(error, conn.dbapi_connection)
            # Who is killed while waiting leaves an answer on the line, which is nobody else's.
            conn.invalidate(error)
            if is_broken:
                return None
            raise
        conn.close()
        return [form.make_row(row) for row in rows]

    def _is_broken(self, error: BaseException, connection: Any) -> bool:
        dialect = self._single.dialect
        if not isinstance(error, dialect.loaded_dbapi.Error):
            return False
        return bool(dialect.is_disconnect(error, connection, None))

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Read; every statement sees the same moment."""
        with _translated(), self._frozen.connect() as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Write]:
        """Change, commit, announce; or raise, and nothing has happened.

        One exception: a connection that breaks during the commit leaves it open what happened.
        """
        with _translated(), self._turn, self._writing.connect() as conn, conn.begin():
            write = Write(conn)
            yield write
        if write.events or write.controls:
            for announce in self._listeners:
                announce(write.events, write.controls)

    def write_together(
        self, work: Work, items: Sequence[Any], *, alone: Work, size: int, lane: str = ""
    ) -> list[tuple[Any, Exception]]:
        """Have items written in one transaction with what others want written by then.

        `work(write, items)` writes down in each item what becomes of it; that is true once this
        returns. It raises what no item is known to be the cause of: then each is tried by itself
        and in order, with `alone`, and what failed is given, with why. In a `lane` only those of
        the same lane go together, beside all others.

        Raises: what failed for all of them.
        """
        job = _Job(work, alone, lane, items)
        rounds = self._rounds
        if lane:
            rounds = self._side_lanes[hash(lane) % _SIDE_LANES]
        rounds.do(job, size)
        return job.failed

    def _write_round(self, jobs: list[_Job]) -> None:
        ROUNDS.inc()
        items = [item for job in jobs for item in job.items]
        is_worked = False
        try:
            with self.write() as write:
                jobs[0].work(write, items)
                is_worked = True
        except FanfareError:
            # The database is away, for all of them.
            raise
        except Exception:
            # A commit that failed may have happened; before it nothing has.
            if is_worked or len(items) == 1:
                raise
            self._write_one_by_one(jobs)

    def _write_one_by_one(self, jobs: list[_Job]) -> None:
        away: Exception | None = None
        for job, item in [(one, item) for one in jobs for item in one.items]:
            # Nobody waits once more for a database that is away.
            error = away or self._write_alone(job, item)
            if error is not None:
                job.failed.append((item, error))
            if isinstance(error, UnavailableError):
                away = error

    def _write_alone(self, job: _Job, item: Any) -> Exception | None:
        try:
            with self.write() as write:
                job.alone(write, [item])
        except Exception as error:  # noqa: BLE001 - given to whoever wanted it
            return error
        return None


def _count(_conn: Connection, _cursor: object, statement: str, *_more: object) -> None:
    # PostgreSQL's driver begins transactions by itself, SQLite's are begun below.
    if not statement.startswith("BEGIN"):
        DB_STATEMENTS.inc()


class _Turn:
    """A lock that is not waited for longer than anything else here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=_MOST_WAIT_S):
            raise UnavailableError("The database is locked by somebody else. Try again.")

    def __exit__(self, *_error: object) -> None:
        self._lock.release()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("Every database connection is busy. Try again.") from error
    except (OperationalError, InterfaceError) as error:
        raise UnavailableError("The database does not answer. Try again.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise UnavailableError("The database connection broke. Try again.") from error
        raise


def _prepare_sqlite(engine: Engine, synchronous: str) -> None:
    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # Transactions are begun below, by our own word: the driver would begin them too late,
        # after the first read, and a writer would then fail instead of waiting.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute("PRAGMA foreign_keys=ON")
        # Not waited for in SQLite, where nothing else runs meanwhile, but in `_begin`.
        cursor.execute("PRAGMA busy_timeout=0")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        _retry_while_locked(conn, conn.get_execution_options().get("sqlite_begin", "BEGIN"))


def _retry_while_locked(conn: Connection, statement: str) -> None:
    # Another process may write to the same file: the command line, or a backup.
    until = time.monotonic() + _MOST_WAIT_S
    while True:
        try:
            conn.exec_driver_sql(statement)
            return
        except OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > until:
                raise
        time.sleep(0.01)
