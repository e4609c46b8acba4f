"""One's own profile, other people, and what administrators do to them."""

import pytest

from tests.api.people import NOBODYS_ID, done, faults, goodbye, make_channel, post, problem, walk
from tests.support.client import RestClient, registered, unique


@pytest.fixture(scope="session")
def crowd(shared_server):
    """Five people whose names begin alike, in the order of their registration."""
    prefix = unique("crowd")
    names = [f"{prefix}-{letter}" for letter in "dbeac"]
    return prefix, [registered(shared_server.url, name).user for name in names]


class TestMe:
    def test_it_can_be_changed(self, newcomer):
        changed = done(newcomer.patch("/me", {"display_name": "Ada, Countess"}))

        assert changed["display_name"] == "Ada, Countess"
        assert changed == done(newcomer.get("/me"))
        assert changed["username"] == newcomer.user["username"]

    @pytest.mark.parametrize("name", ["username", "is_admin", "disabled", "id", "password"])
    def test_nothing_else_of_it_can(self, newcomer, name):
        """Above all nobody makes an administrator of themselves."""
        response = newcomer.patch("/me", {"display_name": "Mallory", name: True})

        assert faults(response) == {name}
        assert done(newcomer.get("/me")) == newcomer.user

    def test_other_people_see_the_change(self, newcomer, ada):
        newcomer.patch("/me", {"display_name": "Somebody new"})

        assert done(ada.get(f"/users/{newcomer.id}"))["display_name"] == "Somebody new"


class TestFinding:
    def test_by_id(self, ada, ben):
        assert done(ada.get(f"/users/{ben.id}")) == ben.user

    @pytest.mark.parametrize("user", [NOBODYS_ID, "nonsense", "%00", "%FF", "x" * 300])
    def test_what_is_nobody_is_not_found(self, ada, user):
        problem(ada.get(f"/users/{user}"), 404, "not_found")

    def test_by_the_beginning_of_the_name(self, ada, crowd):
        prefix, people = crowd
        found = walk(ada, "/users", q=prefix)

        assert found == sorted(people, key=lambda user: user["username"])
        assert walk(ada, "/users", q=f"{prefix}-A") == [people[3]]
        assert walk(ada, "/users", q=prefix[1:]) == []

    @pytest.mark.parametrize("pattern", ["%", "_", "\\", "*"])
    def test_no_sign_of_the_search_is_special(self, ada, pattern):
        assert walk(ada, "/users", q=pattern) == []

    def test_by_ids(self, ada, crowd):
        _, people = crowd
        wanted = [people[0], people[2]]
        ids = ",".join([*(user["id"] for user in wanted), NOBODYS_ID, "nonsense"])

        assert walk(ada, "/users", ids=ids, sort="created_at") == wanted
        assert walk(ada, "/users", ids="") == []

    def test_of_200_ids_and_no_more(self, ada):
        assert walk(ada, "/users", ids=",".join([NOBODYS_ID] * 200)) == []
        assert faults(ada.get("/users", params={"ids": ",".join([NOBODYS_ID] * 201)})) == {"ids"}

    @pytest.mark.parametrize(
        ("sort", "order"),
        [
            ("username", "abcde"),
            ("-username", "edcba"),
            ("created_at", "dbeac"),
            ("-created_at", "caebd"),
        ],
    )
    @pytest.mark.parametrize("limit", [2, 5])
    def test_in_order_and_in_pages(self, ada, crowd, sort, order, limit):
        """The last page says so, also where it is full."""
        prefix, _ = crowd
        found = walk(ada, "/users", q=prefix, sort=sort, limit=limit)

        assert "".join(user["username"][-1] for user in found) == order

    def test_who_comes_between_two_pages_breaks_nothing(self, ada, shared_server):
        prefix = unique("pages")
        for letter in "bd":
            registered(shared_server.url, f"{prefix}-{letter}")
        query = {"q": prefix, "limit": 1}
        first = done(ada.get("/users", params=query))
        for letter in "ac":
            registered(shared_server.url, f"{prefix}-{letter}")
        rest = []
        while query.get("cursor") != first["next_cursor"] and first["next_cursor"]:
            query["cursor"] = first["next_cursor"]
            first = done(ada.get("/users", params=query))
            rest += [user["username"][-1] for user in first["items"]]

        assert rest == ["c", "d"]


class TestAdministration:
    def test_it_is_for_administrators(self, ada, ben):
        problem(ada.patch(f"/users/{ben.id}", {"display_name": "Ben the fool"}), 403, "forbidden")
        problem(ada.patch(f"/users/{ada.id}", {"is_admin": True}), 403, "forbidden")
        problem(ada.delete(f"/users/{ben.id}"), 403, "forbidden")

        assert done(ada.get(f"/users/{ben.id}")) == ben.user
        assert done(ada.get("/me")) == ada.user

    def test_a_stranger_to_administrators_is_not_found(self, admin):
        problem(admin.patch(f"/users/{NOBODYS_ID}", {"disabled": True}), 404, "not_found")
        problem(admin.delete("/users/nonsense"), 404, "not_found")

    def test_rights_come_and_go_at_once(self, newcomer, admin):
        path = f"/users/{newcomer.id}"
        done(admin.patch(path, {"is_admin": True}))
        as_admin = newcomer.get("/users", params={"q": newcomer.user["username"]})
        renamed = newcomer.patch(path, {"display_name": "Boss"})
        done(admin.patch(path, {"is_admin": False}))

        assert done(as_admin)["items"][0]["is_admin"] is True
        assert done(renamed)["display_name"] == "Boss"
        problem(newcomer.patch(f"/users/{admin.id}", {"display_name": "x"}), 403, "forbidden")

    @pytest.mark.parametrize("change", [{"disabled": True}, {"is_admin": False}])
    def test_administrators_keep_their_own_rights(self, admin, change):
        """Or the last one might lock everybody out."""
        problem(admin.patch(f"/users/{admin.id}", change), 422, "invalid")

        assert done(admin.get("/me")) == admin.user

    def test_nor_do_they_disable_themselves(self, admin):
        problem(admin.delete(f"/users/{admin.id}"), 422, "invalid")

        assert done(admin.get("/me")) == admin.user


class TestDisabling:
    def test_it_ends_all_that_the_user_has_open(self, newcomer, admin, connect):
        socket = connect(newcomer)
        assert admin.delete(f"/users/{newcomer.id}").status_code == 204

        problem(newcomer.get("/me"), 401, "token_revoked")
        assert goodbye(socket)["retry"] == "never"

    def test_what_the_user_wrote_stays(self, newcomer, admin, ada):
        channel = make_channel(ada, members=[newcomer])
        message = post(newcomer, channel, "I was here")
        admin.delete(f"/users/{newcomer.id}")

        assert done(ada.get(f"/channels/{channel['id']}/messages"))["items"] == [message]
        assert done(ada.get(f"/users/{newcomer.id}"))["disabled"] is True

    def test_only_administrators_find_the_disabled(self, newcomer, admin, ada):
        name = newcomer.user["username"]
        admin.delete(f"/users/{newcomer.id}")

        assert walk(ada, "/users", q=name) == []
        assert [user["disabled"] for user in walk(admin, "/users", q=name)] == [True]

    def test_nobody_can_invite_them(self, newcomer, admin, ada):
        admin.delete(f"/users/{newcomer.id}")
        channel = make_channel(ada)

        problem(ada.put(f"/channels/{channel['id']}/members/{newcomer.id}"), 404, "not_found")
        body = {"name": "With a ghost", "kind": "private", "members": [newcomer.id]}
        assert faults(ada.post("/channels", body)) == {"members"}

    def test_it_can_be_taken_back(self, newcomer, admin):
        admin.delete(f"/users/{newcomer.id}")
        done(admin.patch(f"/users/{newcomer.id}", {"disabled": False}))
        client = RestClient(newcomer.url)

        problem(newcomer.get("/me"), 401, "token_revoked")
        assert client.login(newcomer.user["username"]).status_code == 200
