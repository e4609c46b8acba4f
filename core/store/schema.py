"""Whether the database has the tables that this version wants."""

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from core.errors import UnavailableError
from core.store.database import Database

# The newest migration; a test holds it against the folder.
HEAD = "0002"


def schema_is_current(db: Database) -> bool:
    """Tell whether every migration has run; False, too, where the database does not answer.

    Tables of a newer version are fine: while a deployment rolls, old nodes serve on them.
    """
    # Alembic would tell as well, for 12 MB of a server's memory.
    try:
        with db.read() as conn:
            version = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return str(version or "") >= HEAD
    except (UnavailableError, DatabaseError):
        return False
