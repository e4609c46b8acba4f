"""REST: creation, lists, conditions, tickets and limits, as the protocol tells of them."""

import re

from tests.conformance.people import Room
from tests.conformance.wire import API, unique

ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


class TestCreation:
    def test_it_is_201_with_a_place_and_a_position(self, ada):
        response = ada.call("POST", "/channels", {"name": "Orders", "kind": "public"})
        place = response.headers["Location"]

        assert response.status_code == 201
        assert place.endswith(f"{API}/channels/{response.json()['id']}")
        assert response.headers["Fanfare-Position"].startswith(f"channel:{response.json()['id']}@")
        assert ada.ok("GET", place[place.index(API) + len(API) :]) == response.json()

    def test_ids_are_ordered_by_time(self, ada):
        ids = [Room(ada).id for _ in range(3)]

        assert all(re.fullmatch(ID, one) for one in ids)
        assert ids == sorted(ids)

    def test_a_slug_stands_for_the_id(self, ada):
        slug = unique("slug")
        made = ada.ok("POST", "/channels", {"name": "Orders", "kind": "public", "slug": slug})
        with ada.socket() as socket:
            ack = socket.ok("subscribe", {"stream": f"channel:{slug}"})

        assert ada.ok("GET", f"/channels/{slug}") == made
        assert ack["stream"] == f"channel:{made['id']}"


class TestLists:
    def test_pages_together_are_the_whole(self, ada, room):
        made = [
            ada.ok("POST", f"{room.path}/messages", {"body": str(number)})["id"]
            for number in range(7)
        ]
        path = f"{room.path}/messages?sort=offset&limit=3"
        pages = [ada.ok("GET", path)]
        while pages[-1]["next_cursor"] is not None:
            pages.append(ada.ok("GET", f"{path}&cursor={pages[-1]['next_cursor']}", node=1))

        assert [len(page["items"]) for page in pages] == [3, 3, 1]
        assert [message["id"] for page in pages for message in page["items"]] == made

    def test_a_limit_beyond_the_most_is_refused(self, ada):
        assert ada.refusal("GET", "/channels?limit=201") == (422, "invalid")
        assert ada.refusal("GET", "/channels?cursor=nonsense") == (422, "invalid")


class TestConditions:
    def test_what_has_not_changed_is_not_sent_again(self, ada, room):
        tag = ada.call("GET", room.path).headers["ETag"]
        same = ada.call("GET", room.path, headers={"If-None-Match": tag}, node=1)
        ada.ok("PATCH", room.path, {"topic": "New"})
        other = ada.call("GET", room.path, headers={"If-None-Match": tag}, node=1)

        assert (same.status_code, other.status_code) == (304, 200)

    def test_a_change_of_what_has_changed_is_refused(self, ada, room):
        tag = ada.call("GET", room.path).headers["ETag"]
        first = ada.call("PATCH", room.path, {"topic": "One"}, headers={"If-Match": tag})
        late = ada.refusal("PATCH", room.path, {"topic": "Two"}, headers={"If-Match": tag})

        assert first.status_code == 200
        assert late == (412, "precondition_failed")
        assert ada.ok("GET", room.path)["topic"] == "One"


class TestTickets:
    def test_a_ticket_is_good_for_one_call(self, target, ada):
        ticket = ada.ok("POST", "/auth/ticket")["ticket"]
        http = target.http(1)
        first, again = (http.call("GET", f"/me?ticket={ticket}") for _ in range(2))

        assert (first.status_code, first.json()["id"]) == (200, ada.id)
        assert (again.status_code, again.json()["code"]) == (401, "unauthorized")


class TestTheLog:
    def test_a_page_is_what_comes_after(self, ada, room):
        room.publish(5)
        top = room.top()
        query = f"?after=3&epoch={top['epoch']}&limit=2"
        page = ada.ok("GET", f"{room.path}/events{query}")

        assert [event["offset"] for event in page["items"]] == [4, 5]
        assert (page["more"], page["reset"]) == (True, None)
        assert page["position"] == {**top, "offset": 5}

    def test_the_read_marker_moves_forward_only(self, ada, bob, private):
        for _ in range(3):
            last = ada.ok("POST", f"{private.path}/messages", {"body": "Hello"})["offset"]
        ahead = bob.ok("PUT", f"{private.path}/read", {"offset": last})
        back = bob.ok("PUT", f"{private.path}/read", {"offset": 1}, node=1)

        assert ahead == back == {"read_offset": last, "unread": 0}


class TestDescriptions:
    def test_the_calls_are_described(self, target):
        described = target.http(0).call("GET", "/openapi.json").json()

        assert described["openapi"].startswith("3.1")
        assert len(described["paths"]) > 20

    def test_the_socket_is_described(self, target):
        described = target.http(0).call("GET", "/asyncapi.json").json()

        assert described["asyncapi"].startswith("3.")
