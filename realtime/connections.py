"""The open connections of this node, found by Engine.IO session, user and login session."""

from collections.abc import Iterator

from core.metrics import CONNECTIONS
from realtime.transport import Connection


class Connections:
    """Who is connected here."""

    def __init__(self) -> None:
        self._by_sid: dict[str, Connection] = {}
        self._by_user: dict[str, set[Connection]] = {}

    def add(self, sid: str, connection: Connection) -> None:
        """Remember a connection."""
        self._by_sid[sid] = connection
        self._by_user.setdefault(connection.user_id, set()).add(connection)
        CONNECTIONS.set(len(self._by_sid))

    def find(self, sid: str) -> Connection | None:
        """Look a connection up."""
        return self._by_sid.get(sid)

    def remove(self, sid: str) -> Connection | None:
        """Forget a connection; give it if it was known."""
        connection = self._by_sid.pop(sid, None)
        if connection is not None:
            of_user = self._by_user[connection.user_id]
            of_user.discard(connection)
            if not of_user:
                del self._by_user[connection.user_id]
            CONNECTIONS.set(len(self._by_sid))
        return connection

    def of_user(self, user_id: str) -> list[Connection]:
        """Give a user's connections, as they are now."""
        return list(self._by_user.get(user_id, ()))

    def count(self, user_id: str) -> int:
        """Count a user's connections."""
        return len(self._by_user.get(user_id, ()))

    def __len__(self) -> int:
        """Count all of them."""
        return len(self._by_sid)

    def __iter__(self) -> Iterator[Connection]:
        """Walk over all of them, as they are now."""
        return iter(list(self._by_sid.values()))
