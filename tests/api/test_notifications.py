"""Notifications: made by administrators, kept in an inbox, told on the user's own stream."""

import pytest

from tests.api.people import (
    NOBODYS_ID,
    TIME,
    UUID7,
    done,
    faults,
    own_events,
    own_top,
    position,
    problem,
    walk,
)
from tests.support.client import registered, unique


def notify(admin, *people, **more):
    body = {"user_ids": [person.id for person in people], "kind": "invoice", "title": "Ready"}
    return admin.post("/notifications", {**body, **more})


def notified(admin, person, **more):
    return done(notify(admin, person, **more), 202)["notifications"][0]


class TestMaking:
    def test_it_is_for_administrators(self, ada, ben):
        problem(notify(ada, ben), 403, "forbidden")
        problem(notify(ada, ada), 403, "forbidden")

        assert walk(ben, "/notifications") == []

    def test_it_lands_in_the_inbox_and_on_the_stream(self, newcomer, admin, shared_server):
        sent = {"body": "See there", "data": {"invoice": 7}}
        made = notified(admin, newcomer, **sent)
        (event,) = own_events(newcomer, shared_server)

        assert UUID7.fullmatch(made["id"])
        assert {name: made[name] for name in sent} == sent
        assert (made["kind"], made["title"]) == ("invoice", "Ready")
        assert (made["user_id"], made["read"], made["collapse"]) == (newcomer.id, False, None)
        assert TIME.fullmatch(made["created_at"])
        assert (event["type"], event["data"]) == ("notification.created", made)
        assert made["version"] == event["offset"]
        assert walk(newcomer, "/notifications") == [made]
        assert done(newcomer.get(f"/notifications/{made['id']}")) == made
        assert done(newcomer.get("/notifications/unread")) == {"count": 1}

    def test_people_by_id_and_name_each_once(self, newcomer, admin, shared_server):
        other = registered(shared_server.url)
        body = {
            "user_ids": [newcomer.id, newcomer.id],
            "users": [other.user["username"], newcomer.user["username"].upper()],
            "kind": "invoice",
            "title": "Ready",
        }
        made = done(admin.post("/notifications", body), 202)["notifications"]

        assert {notification["user_id"] for notification in made} == {newcomer.id, other.id}
        assert len(walk(newcomer, "/notifications")) == len(walk(other, "/notifications")) == 1

    def test_somebody_who_does_not_exist_spoils_it(self, newcomer, admin):
        by_id = notify(admin, newcomer, user_ids=[newcomer.id, NOBODYS_ID])
        by_name = notify(admin, newcomer, users=[unique("nobody")])

        assert faults(by_id) == {"user_ids"}
        assert faults(by_name) == {"users"}
        assert walk(newcomer, "/notifications") == []

    def test_it_is_for_somebody(self, admin):
        assert faults(notify(admin)) == {"user_ids"}

    def test_of_the_right_form(self, newcomer, admin):
        wrong = {"kind": "Not a kind", "title": "", "body": "x" * 4001, "key": "", "collapse": ""}

        assert faults(notify(admin, newcomer, **wrong)) == wrong.keys()
        assert walk(newcomer, "/notifications") == []


class TestKeys:
    def test_a_retry_notifies_nobody_twice(self, newcomer, admin, shared_server):
        key = unique("key")
        first = notified(admin, newcomer, key=key)
        again = notified(admin, newcomer, key=key)

        assert again == first
        assert walk(newcomer, "/notifications") == [first]
        assert len(own_events(newcomer, shared_server)) == 1

    def test_a_retry_for_more_people_reaches_the_rest(self, newcomer, admin, shared_server):
        """As one that broke off half way would: who has it keeps it, who hasn't gets it."""
        other, key = registered(shared_server.url), unique("key")
        first = notified(admin, newcomer, key=key)
        both = done(notify(admin, newcomer, other, key=key), 202)["notifications"]

        assert first in both
        assert len(both) == 2
        assert len(walk(newcomer, "/notifications")) == len(walk(other, "/notifications")) == 1

    def test_for_something_else_it_is_a_conflict(self, newcomer, admin):
        key = unique("key")
        notified(admin, newcomer, key=key)
        problem(notify(admin, newcomer, key=key, title="Other"), 409, "conflict")

        assert len(walk(newcomer, "/notifications")) == 1


class TestCollapse:
    def test_an_unread_one_is_replaced(self, newcomer, admin, shared_server):
        first = notified(admin, newcomer, collapse="inbox", title="1 new")
        second = notified(admin, newcomer, collapse="inbox", title="2 new")

        assert second["id"] == first["id"]
        assert (second["title"], second["created_at"]) == ("2 new", first["created_at"])
        assert walk(newcomer, "/notifications") == [second]
        assert [event["type"] for event in own_events(newcomer, shared_server)] == [
            "notification.created",
            "notification.updated",
        ]

    def test_one_that_was_read_stays(self, newcomer, admin):
        first = notified(admin, newcomer, collapse="inbox")
        done(newcomer.patch(f"/notifications/{first['id']}", {"read": True}))
        second = notified(admin, newcomer, collapse="inbox")

        assert second["id"] != first["id"]
        assert len(walk(newcomer, "/notifications")) == 2

    def test_one_made_unread_again_stands_beside_the_new_one(self, newcomer, admin):
        """There is at most one unread for each name, so the old one loses it."""
        first = notified(admin, newcomer, collapse="inbox")
        done(newcomer.patch(f"/notifications/{first['id']}", {"read": True}))
        second = notified(admin, newcomer, collapse="inbox")
        back = done(newcomer.patch(f"/notifications/{first['id']}", {"read": False}))
        third = notified(admin, newcomer, collapse="inbox")

        assert (back["read"], back["collapse"]) == (False, None)
        assert third["id"] == second["id"]
        assert done(newcomer.get("/notifications/unread"))["count"] == 2

    def test_other_names_and_other_people_are_let_be(self, newcomer, admin, shared_server):
        other = registered(shared_server.url)
        for person, word in ((newcomer, "a"), (newcomer, "b"), (other, "a"), (newcomer, None)):
            notified(admin, person, collapse=word)

        assert len(walk(newcomer, "/notifications")) == 3
        assert len(walk(other, "/notifications")) == 1


class TestReading:
    def test_one(self, newcomer, admin, shared_server):
        made = notified(admin, newcomer)
        response = newcomer.patch(f"/notifications/{made['id']}", {"read": True})
        changed = done(response)
        event = own_events(newcomer, shared_server)[-1]

        assert changed == made | {
            "read": True,
            "version": event["offset"],
            "updated_at": changed["updated_at"],
        }
        assert (event["type"], event["data"]) == ("notification.updated", changed)
        assert position(response)[:2] == (f"user:{newcomer.id}", event["offset"])
        assert done(newcomer.get("/notifications/unread")) == {"count": 0}

    def test_twice_is_once(self, newcomer, admin, shared_server):
        made = notified(admin, newcomer)
        path = f"/notifications/{made['id']}"
        first, again = (newcomer.patch(path, {"read": True}) for _ in range(2))

        assert done(again) == done(first)
        assert "Fanfare-Position" not in again.headers
        assert own_top(newcomer, shared_server) == 2

    def test_read_on_one_device_is_read_on_all(self, newcomer, admin, connect):
        made, socket = notified(admin, newcomer), connect(newcomer)
        changed = done(newcomer.patch(f"/notifications/{made['id']}", {"read": True}))

        assert socket.wait_for_event("notification.updated")["data"] == changed

    @pytest.mark.parametrize("body", [None, {}, {"ids": None}])
    def test_all(self, newcomer, admin, shared_server, body):
        for _ in range(3):
            notified(admin, newcomer)
        answer = done(newcomer.post("/notifications/read", body))

        assert answer == {"updated": 3, "unread": 0}
        assert all(item["read"] for item in walk(newcomer, "/notifications"))
        assert [event["type"] for event in own_events(newcomer, shared_server)][3:] == [
            "notification.updated"
        ] * 3
        assert done(newcomer.post("/notifications/read")) == {"updated": 0, "unread": 0}

    def test_some(self, newcomer, admin, ada):
        made = [notified(admin, newcomer) for _ in range(3)]
        others = notified(admin, ada)
        ids = [made[0]["id"], made[2]["id"], NOBODYS_ID, others["id"]]
        answer = done(newcomer.post("/notifications/read", {"ids": ids}))

        assert answer == {"updated": 2, "unread": 1}
        assert walk(newcomer, "/notifications", unread="true") == [made[1]]
        assert done(ada.get(f"/notifications/{others['id']}"))["read"] is False
        assert done(newcomer.post("/notifications/read", {"ids": []}))["updated"] == 0


class TestListing:
    def test_newest_first_filtered_and_in_pages(self, newcomer, admin):
        made = [notified(admin, newcomer, kind="ab"[i % 2], title=str(i)) for i in range(5)]
        newcomer.patch(f"/notifications/{made[4]['id']}", {"read": True})

        def titles(**query):
            return "".join(item["title"] for item in walk(newcomer, "/notifications", **query))

        assert titles(limit=2) == "43210"
        assert titles(unread="true", limit=2) == "3210"
        assert titles(kind="a", limit=1) == "420"
        assert titles(kind="a", unread="true") == "20"
        assert titles(kind="c") == ""

    def test_everybody_sees_ones_own(self, newcomer, admin, ada):
        made = notified(admin, newcomer)

        assert walk(newcomer, "/notifications") == [made]
        for stranger in (ada, admin):
            path = f"/notifications/{made['id']}"
            problem(stranger.get(path), 404, "not_found")
            problem(stranger.patch(path, {"read": True}), 404, "not_found")
            problem(stranger.delete(path), 404, "not_found")
        assert done(newcomer.get(f"/notifications/{made['id']}")) == made


class TestDeleting:
    def test_it_is_gone_and_told(self, newcomer, admin, shared_server):
        made = notified(admin, newcomer)
        response = newcomer.delete(f"/notifications/{made['id']}")
        event = own_events(newcomer, shared_server)[-1]

        assert response.status_code == 204
        assert (event["type"], event["data"]) == ("notification.deleted", {"id": made["id"]})
        assert position(response)[1] == event["offset"]
        assert walk(newcomer, "/notifications") == []
        assert done(newcomer.get("/notifications/unread")) == {"count": 0}
        problem(newcomer.delete(f"/notifications/{made['id']}"), 404, "not_found")

    def test_its_name_is_free_again(self, newcomer, admin):
        first = notified(admin, newcomer, collapse="inbox")
        newcomer.delete(f"/notifications/{first['id']}")

        assert notified(admin, newcomer, collapse="inbox")["id"] != first["id"]
