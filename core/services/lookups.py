"""What a connect or a resume looks up, for many clients by one query: see `batch.py`."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar

from sqlalchemy import Connection

from core.callers import Caller, Claims
from core.pages import Json
from core.services import access
from core.services.accounts import check_expiry, judge
from core.services.batch import Batch
from core.services.rights import Ask, Found, Rights, not_at_all
from core.store import accounts
from core.store.database import Database

_AT_ONCE = 500
# A statement takes so many parameters, on SQLite 32,766; each name stands in it twice.
_MOST_NAMES = 10_000

K = TypeVar("K", bound=Hashable)


class Lookups:
    """Looks up callers, with their profiles, and what they may read.

    `beside` runs a work with its arguments soon, and lets its caller go on.
    """

    def __init__(self, db: Database, beside: Callable[..., object] = not_at_all) -> None:
        self._db = db
        self._sessions = Batch(self._in_parts(accounts.find_live_many))
        self._readable = Batch(self._read_readable, most=_MOST_NAMES, weigh=_count_names)
        self.rights = Rights(self._read_postable, beside=beside)

    def authenticate(self, claims: Claims) -> Caller:
        """Tell who is calling, from a token whose signature was checked.

        Raises:
            TokenExpiredError, TokenRevokedError.
        """
        return judge(claims, self._live(claims))

    def admit(self, claims: Claims) -> tuple[Caller, Json]:
        """Tell who is calling, and give their profile, both as of now.

        Raises:
            TokenExpiredError, TokenRevokedError.
        """
        row = self._live(claims)
        return judge(claims, row), accounts.user_json(row)

    def _live(self, claims: Claims) -> Any:
        check_expiry(claims)
        row = self._sessions.find([claims.session_id]).get(claims.session_id)
        return row if row is not None and row.id == claims.user_id else None

    def readable_streams(self, caller: Caller, asked: Iterable[str]) -> dict[str, str]:
        """Give the full names of those of many streams that the caller may read."""
        wish = (caller, frozenset(asked))
        return self._readable.find([wish])[wish]

    def _read_readable(self, wishes: list[access.Wish]) -> dict[access.Wish, dict[str, str]]:
        found: dict[access.Wish, dict[str, str]] = {}
        for part in _by_names(wishes):
            with self._db.read() as conn:
                found |= access.readable_by_many(conn, part)
        return found

    def _read_postable(self, asks: list[Ask]) -> Found:
        if len(asks) == 1:
            return {asks[0]: access.postable_alone(self._db, *asks[0])}
        with self._db.read() as conn:
            return access.postable_by_many(conn, asks)

    def _in_parts(
        self, look_up: Callable[[Connection, list[K]], dict[K, Any]]
    ) -> Callable[[list[K]], dict[K, Any]]:
        def look(keys: list[K]) -> dict[K, Any]:
            found: dict[K, Any] = {}
            for part in _parts(keys):
                with self._db.read() as conn:
                    found |= look_up(conn, part)
            return found

        return look


def _parts(keys: list[K]) -> Iterator[list[K]]:
    for first in range(0, len(keys), _AT_ONCE):
        yield keys[first : first + _AT_ONCE]


def _count_names(wishes: list[access.Wish]) -> int:
    return sum(len(asked) for _, asked in wishes)


def _by_names(wishes: list[access.Wish]) -> Iterator[list[access.Wish]]:
    part: list[access.Wish] = []
    names = 0
    for wish in wishes:
        names += len(wish[1])
        if part and names > _MOST_NAMES:
            yield part
            part, names = [], len(wish[1])
        part.append(wish)
    yield part
