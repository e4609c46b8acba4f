"""Migrations make what the models say, on both databases, and can be gone back on."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask_migrate import Migrate, downgrade, upgrade
from sqlalchemy import inspect, text

import app
import config
from core.store.models import db, metadata
from core.store.schema import HEAD, schema_is_current
from tests.support.tree import ROOT


@pytest.fixture
def fanfare(empty_database_url, tmp_path):
    """The core on a database without a table."""
    environment = {
        "ENVIRONMENT": "testing",
        "INSTANCE_PATH": str(tmp_path / "instance"),
        "DATABASE_URL": empty_database_url,
    }
    made = app.create_core(config.load(environment, dotenv=None))
    Migrate(made.flask, db, directory=str(ROOT / "migrations"))
    yield made
    made.db.close()


def tables(fanfare) -> set[str]:
    return set(inspect(fanfare.db.engine).get_table_names()) - {"alembic_version"}


class TestMigrations:
    def test_up_and_down_and_up_again(self, fanfare):
        """A fresh database is what the models say; none is left behind on the way back."""
        with fanfare.flask.app_context():
            assert not schema_is_current(fanfare.db)
            upgrade()
            with fanfare.db.read() as conn:
                differences = compare_metadata(
                    MigrationContext.configure(conn, opts={"compare_type": True}), metadata
                )
            assert differences == []
            assert schema_is_current(fanfare.db)
            assert tables(fanfare) == set(metadata.tables)
            downgrade(revision="base")
            assert tables(fanfare) == set()
            assert not schema_is_current(fanfare.db)
            upgrade()
            assert schema_is_current(fanfare.db)

    def test_again_is_nothing(self, fanfare):
        with fanfare.flask.app_context():
            upgrade()
            upgrade()

        assert schema_is_current(fanfare.db)

    def test_the_code_wants_the_newest(self):
        """There is one head, and the server knows it without reading the folder."""
        script = ScriptDirectory(str(ROOT / "migrations"))

        assert script.get_heads() == [HEAD]

    def test_every_index_and_key_has_a_name(self):
        """A later migration can only drop what it can name."""
        nameless = [
            (table.name, str(thing))
            for table in metadata.sorted_tables
            for thing in [*table.indexes, *table.constraints]
            if getattr(thing, "name", None) is None and type(thing).__name__ != "CheckConstraint"
        ]

        assert nameless == []


class TestRollingDeployments:
    def test_tables_of_a_newer_version_are_current(self, fanfare):
        """Old nodes stay ready after the new version's migration ran."""
        with fanfare.flask.app_context():
            upgrade()
        with fanfare.db.write() as write:
            write.conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))

        assert schema_is_current(fanfare.db)

    def test_tables_of_an_older_version_are_not(self, fanfare):
        with fanfare.flask.app_context():
            upgrade(revision="0001")

        assert not schema_is_current(fanfare.db)
