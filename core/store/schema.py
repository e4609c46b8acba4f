"""Whether the database has the tables that this version wants."""

from alembic.migration import MigrationContext

from core.store.database import Database

# The newest migration; a test holds it against the folder.
HEAD = "0001"


def schema_is_current(db: Database) -> bool:
    """Tell whether every migration has run.

    Raises:
        UnavailableError: the database does not answer.
    """
    with db.read() as conn:
        return MigrationContext.configure(conn).get_current_revision() == HEAD
