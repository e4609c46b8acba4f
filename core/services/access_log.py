"""What a node needs of the ends of access: those since it last looked."""

from core.events import Control
from core.store import access_changes
from core.store.database import Database

_PAGE = 1000


class AccessLog:
    """Reads the ends of access."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def newest(self) -> int:
        """Give the newest id.

        Raises:
            UnavailableError.
        """
        with self._db.read() as conn:
            return access_changes.newest(conn)

    def read_after(self, after: int) -> list[Control]:
        """Read all with an id above `after`, by id.

        Raises:
            UnavailableError.
        """
        found: list[Control] = []
        with self._db.read() as conn:
            while True:
                page = access_changes.read_after(conn, found[-1].id if found else after, _PAGE)
                found += page
                if len(page) < _PAGE:
                    return found
