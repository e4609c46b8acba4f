"""Who is connected to this node by one kind of door, found by name (of its session) and user."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from prometheus_client import Gauge


class Connected(Protocol):
    """Somebody who is connected."""

    @property
    def user_id(self) -> str:
        """Who it is."""


C = TypeVar("C", bound=Connected)


class Connections(Generic[C]):
    """Who is connected here. `gauge` shows how many they are."""

    def __init__(self, gauge: Gauge) -> None:
        self._by_name: dict[str, C] = {}
        # Lists: a user has few, and a set of one takes three times as much.
        self._by_user: dict[str, list[C]] = {}
        self._gauge = gauge

    def add(self, name: str, connection: C) -> None:
        """Remember a connection."""
        self._by_name[name] = connection
        self._by_user.setdefault(connection.user_id, []).append(connection)
        self._gauge.set(len(self._by_name))

    def find(self, name: str) -> C | None:
        """Look a connection up."""
        return self._by_name.get(name)

    def remove(self, name: str) -> C | None:
        """Forget a connection; give it if it was known."""
        connection = self._by_name.pop(name, None)
        if connection is not None:
            of_user = self._by_user[connection.user_id]
            of_user.remove(connection)
            if not of_user:
                del self._by_user[connection.user_id]
            self._gauge.set(len(self._by_name))
        return connection

    def of_user(self, user_id: str) -> list[C]:
        """Give a user's connections, as they are now."""
        return list(self._by_user.get(user_id, ()))

    def latest(self, user_id: str) -> C | None:
        """Give the one of a user's connections that came last."""
        of_user = self._by_user.get(user_id)
        return of_user[-1] if of_user else None

    def count(self, user_id: str) -> int:
        """Count a user's connections."""
        return len(self._by_user.get(user_id, ()))

    def __len__(self) -> int:
        """Count all of them."""
        return len(self._by_name)

    def __iter__(self) -> Iterator[C]:
        """Walk over all of them, as they are now."""
        return iter(list(self._by_name.values()))
