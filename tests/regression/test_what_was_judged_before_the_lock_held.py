"""Rights and versions were judged before the row was locked, and acted upon after it (PostgreSQL).

Who waited in line behind their own removal still posted; a login with the old password that
overlapped its change kept its session; two changes with one `If-Match` both passed. All of them
are judged under the lock now.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.client import PASSWORD, RestClient, registered

LOCK_STREAM = "SELECT 1 FROM streams WHERE name = %s FOR UPDATE"
LOCK_USER = "SELECT 1 FROM users WHERE id = %s FOR UPDATE"
Start = Callable[..., Future]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(client.post, path, body)` calls beside the test."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


@pytest.fixture
def register(stall) -> Iterator[Callable[[], RestClient]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(registered(stall.server.url))


@pytest.fixture
def in_line(stall, start) -> Iterator[Callable[..., Future]]:
    """`in_line(client.post, …)` calls, and comes back when the call waits behind those before."""
    waiting = 0

    def join(*call) -> Future:
        nonlocal waiting
        waiting += 1
        future = start(*call)
        stall.wait_for_waiting(waiting)
        return future

    yield join
    # A failed test too must let its calls come back.
    stall.release()


class TestPostInLine:
    def test_behind_ones_own_removal_it_is_refused(self, stall, register, in_line):
        ada, bob = register(), register()
        members = {"name": "x", "kind": "private", "members": [bob.id]}
        channel = ada.post("/channels", members).json()["id"]
        stall.lock(LOCK_STREAM, f"channel:{channel}")
        removal = in_line(ada.delete, f"/channels/{channel}/members/{bob.id}")
        post = in_line(bob.post, f"/channels/{channel}/messages", {"body": "too late"})
        stall.release()

        assert removal.result().status_code == 204
        assert post.result().status_code in (403, 404)
        events = ada.get(f"/channels/{channel}/events").json()["items"]
        assert events[-1]["type"] == "member.left"

    def test_behind_the_end_of_its_channel_it_is_refused(self, stall, register, in_line):
        ada, bob = register(), register()
        members = {"name": "x", "kind": "public", "members": [bob.id]}
        channel = ada.post("/channels", members).json()["id"]
        stall.lock(LOCK_STREAM, f"channel:{channel}")
        end = in_line(ada.delete, f"/channels/{channel}")
        draft = {"type": "order.paid", "data": 1}
        event = in_line(bob.post, f"/channels/{channel}/events", draft)
        stall.release()

        assert end.result().status_code == 204
        assert event.result().status_code == 404


class TestLoginInLine:
    def test_its_session_ends_with_a_change_of_the_password(self, stall, register, in_line):
        """The login waits to write its session; the change comes while it waits."""
        ada = register()
        thief = RestClient(stall.server.url)
        stall.lock("LOCK TABLE sessions IN EXCLUSIVE MODE")
        login = in_line(thief.login, ada.user["username"])
        change = {"current_password": PASSWORD, "new_password": "a different horse"}
        changed = in_line(ada.put, "/me/password", change)
        stall.release()

        assert changed.result().status_code == 204
        assert login.result().status_code in (200, 401)
        assert thief.get("/me").status_code == 401
        thief.close()

    def test_it_is_refused_where_the_password_was_changed_before_it(self, stall, register, in_line):
        """The password was right when it was checked, and is not any more at the lock."""
        ada = register()
        thief = RestClient(stall.server.url)
        stall.lock(LOCK_USER, ada.id)
        login = in_line(thief.login, ada.user["username"])
        stall.lock("UPDATE users SET password_hash = 'x' WHERE id = %s", ada.id)
        stall.session.commit()

        assert login.result().status_code == 401
        thief.close()


class TestChangesInLine:
    def test_of_two_with_one_if_match_one_passes(self, stall, register, in_line):
        ada = register()
        again = RestClient(stall.server.url, token=ada.access_token)
        header = {"If-Match": ada.get("/me").headers["ETag"]}
        stall.lock(LOCK_USER, ada.id)
        calls = [
            in_line(lambda: ada.patch("/me", {"display_name": "One"}, headers=header)),
            in_line(lambda: again.patch("/me", {"display_name": "Two"}, headers=header)),
        ]
        stall.release()

        assert [call.result().status_code for call in calls] == [200, 412]
        again.close()

    def test_of_two_with_the_old_password_one_passes(self, stall, register, in_line):
        """The owner's change is not overwritten by whoever knew the old password as well."""
        ada = register()
        again = RestClient(stall.server.url, token=ada.access_token)
        stall.lock(LOCK_USER, ada.id)
        calls = [
            in_line(
                client.put,
                "/me/password",
                {
                    "current_password": PASSWORD,
                    "new_password": f"a different horse {client is ada}",
                },
            )
            for client in (ada, again)
        ]
        stall.release()

        assert [call.result().status_code for call in calls] == [204, 403]
        again.close()
