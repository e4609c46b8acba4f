"""Queries that the driver is sent by itself: the same rows, the same errors, no connection lost."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Integer, String, bindparam, create_engine, event, func, literal, select

from core.errors import UnavailableError
from core.services import channels as services
from core.services.channels import ChannelDraft
from core.store import channels, heads
from core.store.database import Database
from core.store.quick import Quick
from tests.core.conftest import Core

QUICK = {
    f"{module.__name__} {name}": found
    for module in (channels, heads)
    for name, found in vars(module).items()
    if isinstance(found, Quick)
}
ONE = Quick(
    select(literal("é%:x").label("text"), bindparam("number", type_=Integer).label("number"))
)


@pytest.fixture
def pooled(database_url: str) -> Iterator[Database]:
    """A database as a server has it, with few connections for reading."""
    reads = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 1}
    if database_url.startswith("postgres"):
        engine = create_engine(database_url, isolation_level="AUTOCOMMIT", **reads)
        with closing(Database(create_engine(database_url), reads=engine)) as db:
            yield db
    else:
        with closing(Database(create_engine(database_url, **reads))) as db:
            yield db


class TestRows:
    @pytest.mark.parametrize("name", QUICK)
    def test_are_those_that_sqlalchemy_gives(self, core: Core, name: str) -> None:
        """By the same names, in the same types; each query that the program has."""
        ada, draft = core.person("ada"), ChannelDraft("é", "public", slug="a-slug")
        channel = services.create(core.db, ada, draft).channel
        quick = QUICK[name]
        bound = {"ref": channel["id" if "ID" in name else "slug"], "caller": ada.user_id}
        with core.db.read() as conn:
            usual = conn.execute(quick.query, bound).all()
        found = core.db.fetch(quick, bound)

        assert len(found) == 1
        assert [row._asdict() for row in found] == [row._asdict() for row in usual]

    def test_take_any_text(self, pooled: Database) -> None:
        """A percent sign is the drivers' own."""
        assert pooled.fetch(ONE, {"number": 7}) == [("é%:x", 7)]

    def test_of_nothing_are_none(self, pooled: Database) -> None:
        nothing = Quick(select(bindparam("a", type_=String).label("a")).where(literal(1) == 2))

        assert pooled.fetch(nothing, {"a": "x"}) == []

    def test_are_counted(self, pooled: Database) -> None:
        def sent() -> float:
            return REGISTRY.get_sample_value("fanfare_db_statements_total") or 0.0

        before = sent()
        pooled.fetch(ONE, {"number": 7})

        assert sent() - before == 1


class TestConnections:
    def test_come_back(self, pooled: Database) -> None:
        """More calls than there are connections."""
        found = [pooled.fetch(ONE, {"number": number})[0].number for number in range(10)]

        assert found == list(range(10))

    def test_are_given_up_where_somebody_is_killed_waiting(self, pooled: Database) -> None:
        """The answer that was waited for would be the next one's."""

        def end(*_told: object) -> None:
            raise KeyboardInterrupt

        old = self._line(pooled)
        event.listen(pooled._single, "before_cursor_execute", end)
        with pytest.raises(KeyboardInterrupt):
            pooled.fetch(ONE, {"number": 1})
        event.remove(pooled._single, "before_cursor_execute", end)

        assert self._line(pooled) is not old
        assert [pooled.fetch(ONE, {"number": n})[0].number for n in range(5)] == list(range(5))

    def _line(self, db: Database) -> object:
        with closing(db._single.pool.connect()) as conn:
            return conn.dbapi_connection

    def test_that_the_database_ended_are_made_anew(self, pooled: Database) -> None:
        """One call may hear of it, as by the usual way; the next one is answered."""
        if pooled.is_sqlite:
            pytest.skip("its connections are files")
        pid = Quick(select(func.pg_backend_pid().label("pid")))
        old = self._pids(pooled)
        with pooled.write() as write:
            for number in old:
                write.conn.execute(select(func.pg_terminate_backend(number)))
        heard = 0
        for _ in range(2):
            try:
                assert pooled.fetch(pid, {})[0].pid not in old
            except UnavailableError:
                heard += 1

        assert heard <= 1
        assert pooled.fetch(pid, {})[0].pid not in old

    def _pids(self, db: Database) -> set[int]:
        with ExitStack() as stack:
            conns = [stack.enter_context(closing(db._single.pool.connect())) for _ in range(2)]
            return {conn.dbapi_connection.info.backend_pid for conn in conns}  # type: ignore[union-attr]


class TestErrors:
    def test_a_database_that_is_away_is_unavailable(self, backend: str) -> None:
        url = "sqlite:////nowhere/at/all.db"
        if backend == "postgres":
            url = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
        with closing(Database(create_engine(url))) as db, pytest.raises(UnavailableError):
            db.fetch(ONE, {"number": 1})

    def test_that_all_are_busy_is_told(self, pooled: Database) -> None:
        held = [pooled._single.pool.connect() for _ in range(2)]
        with pytest.raises(UnavailableError, match="busy"):
            pooled.fetch(ONE, {"number": 1})
        for conn in held:
            conn.close()

        assert pooled.fetch(ONE, {"number": 1})
