"""A notification with a key and a word to collapse by was answered 409 when it was sent again.

The first call made one and the retry found it unread and updated it, or the other way round; what
was compared held the type of the event, so the same call looked like another.
"""

import pytest

from core.callers import Caller
from core.ids import new_id
from core.services import accounts, notifications


@pytest.fixture
def ada(own_database):
    with own_database.write() as write:
        return accounts.add_user(write, username="ada", password_hash="none")


@pytest.fixture
def notify(own_database, ada):
    admin = Caller(ada, "ada", new_id(), True, 2**53)

    def send(key: str) -> dict:
        draft = notifications.NotificationDraft(
            kind="invoice", title="Due", body=None, data=None, collapse="c", key=key
        )
        (made,) = notifications.create(
            own_database, admin, draft, user_ids=[ada], usernames=[], max_bytes=65_536
        )
        return made

    return send


@pytest.fixture
def read_all(own_database, ada):
    caller = Caller(ada, "ada", new_id(), False, 2**53)
    return lambda: notifications.mark_all_read(own_database, caller, None)


class TestRetry:
    def test_it_may_find_the_one_that_it_made(self, notify):
        assert notify("k1") == notify("k1")

    def test_it_may_find_that_one_read(self, notify, read_all):
        first = notify("k1")
        read_all()

        assert notify("k1") == first

    def test_it_may_have_updated_one_that_is_read_by_now(self, notify, read_all):
        notify("k1")
        updated = notify("k2")
        read_all()

        assert notify("k2") == updated
