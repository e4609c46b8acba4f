"""A look at someone's access undid the fresh token that they sent meanwhile.

It looked the old session up, waited for the database, and put the old one back: the end of the
new session then did not end this connection.
"""

from types import SimpleNamespace
from typing import Any

from core.callers import Caller
from core.errors import UnavailableError
from realtime.access_ends import AccessEnds

OLD = Caller("u1", "ada", "old session", False, 2**53)
NEW = Caller("u1", "ada", "new session", False, 2**53)


class FakeCallers:
    """While it looks somebody up, something else happens."""

    def __init__(self, meanwhile) -> None:
        self.meanwhile = meanwhile

    def authenticate(self, claims, _look_up):
        self.meanwhile()
        return Caller(claims.user_id, "ada", claims.session_id, True, 2**53)


class FakeLookups:
    """The database does not answer: enough is known by then."""

    authenticate = None

    def readable_streams(self, caller, asked):
        raise UnavailableError("It does not answer.")


def check(connection, meanwhile) -> None:
    door: Any = None  # nothing is asked of it
    callers: Any = FakeCallers(meanwhile)
    lookups: Any = FakeLookups()
    AccessEnds(door, callers, lookups).look_again(connection, set())


class TestCheckAccess:
    def test_a_fresh_token_that_came_meanwhile_stays(self):
        connection = SimpleNamespace(caller=OLD, say_goodbye=lambda *_: None)
        check(connection, lambda: setattr(connection, "caller", NEW))

        assert connection.caller is NEW

    def test_else_what_was_found_is_taken_over(self):
        """Such as the rights of an administrator."""
        connection = SimpleNamespace(caller=OLD, say_goodbye=lambda *_: None)
        check(connection, lambda: None)

        assert connection.caller.is_admin
