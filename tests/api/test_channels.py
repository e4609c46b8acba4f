"""Channels: making, finding, changing and deleting them, and who sees them at all."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.people import (
    NOBODYS_ID,
    UUID7,
    done,
    faults,
    log_of,
    make_channel,
    own_events,
    own_top,
    position,
    post,
    problem,
    walk,
)
from tests.support.client import RestClient, registered, unique


class TestMaking:
    @pytest.mark.parametrize("kind", ["public", "private"])
    def test_its_maker_owns_it(self, ada, kind):
        slug = unique("slug")
        body = {"name": " Orders ", "kind": kind, "slug": slug, "topic": "What came in"}
        response = ada.post("/channels", body)
        channel = done(response, 201)
        (member,) = walk(ada, f"/channels/{slug}/members")

        assert UUID7.fullmatch(channel["id"])
        assert (channel["name"], channel["kind"], channel["slug"]) == ("Orders", kind, slug)
        assert (channel["created_by"], channel["version"]) == (ada.id, 1)
        assert response.headers["Location"] == f"/api/v1/channels/{channel['id']}"
        assert position(response)[:2] == (f"channel:{channel['id']}", 1)
        assert (member["user_id"], member["role"]) == (ada.id, "owner")

    def test_its_log_begins_with_it(self, ada, ben):
        channel = make_channel(ada, "private", members=[ben])
        events = log_of(ada, channel)

        assert [event["offset"] for event in events] == [1, 2, 3]
        assert [event["type"] for event in events] == ["channel.created"] + ["member.joined"] * 2
        assert events[0]["data"] == channel
        assert {event["data"]["user_id"] for event in events[1:]} == {ada.id, ben.id}

    def test_members_may_be_named(self, ada, ben, eve):
        """By id or by username, and nobody is in it twice."""
        names = [ben.id, eve.user["username"], ben.user["username"], ada.id]
        channel = make_channel(ada, "private", members=names)
        members = walk(eve, f"/channels/{channel['id']}/members")

        assert {m["user_id"]: m["role"] for m in members} == {
            ada.id: "owner",
            ben.id: "member",
            eve.id: "member",
        }

    def test_a_member_who_does_not_exist_spoils_it(self, ada):
        slug = unique("slug")
        body = {"name": "x", "kind": "public", "slug": slug, "members": [NOBODYS_ID]}

        assert faults(ada.post("/channels", body)) == {"members"}
        problem(ada.get(f"/channels/{slug}"), 404, "not_found")

    def test_a_slug_is_taken_once(self, ada, ben):
        slug = unique("slug")
        channel = make_channel(ada, "private", slug=slug)

        problem(
            ben.post("/channels", {"name": "x", "kind": "public", "slug": slug}), 409, "conflict"
        )
        assert done(ada.get(f"/channels/{slug}")) == channel

    def test_of_many_who_want_a_slug_one_gets_it(self, ada):
        slug = unique("slug")

        def make(_number):
            client = RestClient(ada.url, token=ada.access_token)
            return client.post(
                "/channels", {"name": "x", "kind": "public", "slug": slug}
            ).status_code

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(make, range(8))) == [201] + [409] * 7

    def test_many_without_a_slug_are_no_conflict(self, ada):
        assert make_channel(ada)["slug"] is make_channel(ada)["slug"] is None

    @pytest.mark.parametrize(
        "slug",
        ["a", "-a", "a-", "A-b", "a b", "a_b", "ä-b", "x" * 65, NOBODYS_ID, "", "ab\n", "../me"],
    )
    def test_a_bad_slug_is_named(self, ada, slug):
        assert faults(ada.post("/channels", {"name": "x", "kind": "public", "slug": slug})) == {
            "slug"
        }

    @pytest.mark.parametrize("slug", ["ab", "a" * 64, "a--b", "42"])
    def test_a_good_slug_is_taken(self, ada, slug):
        response = ada.post("/channels", {"name": "x", "kind": "private", "slug": slug})

        assert response.status_code in (201, 409)
        ada.delete(f"/channels/{slug}")


class TestDirect:
    @pytest.fixture
    def pair(self, shared_server):
        return registered(shared_server.url), registered(shared_server.url)

    def test_there_is_one_for_each_pair(self, pair):
        """Whoever of the two asks, and however often."""
        one, two = pair
        made = make_channel(one, "direct", members=[two])
        again = one.post("/channels", {"name": "y", "kind": "direct", "members": [two.id]})
        other = two.post(
            "/channels", {"name": "z", "kind": "direct", "members": [one.user["username"]]}
        )
        members = walk(two, f"/channels/{made['id']}/members")

        assert done(again) == done(other) == made
        assert "Location" not in again.headers
        assert "Fanfare-Position" not in again.headers
        assert [member["role"] for member in members] == ["owner", "owner"]

    def test_of_a_race_there_comes_one(self, pair):
        """Both write to one another in the same moment, on four devices each."""

        def make(number):
            me, you = pair if number % 2 else pair[::-1]
            body = {"name": "x", "kind": "direct", "members": [you.id]}
            return RestClient(me.url, token=me.access_token).post("/channels", body)

        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(make, range(8)))

        assert sorted(response.status_code for response in responses) == [200] * 7 + [201]
        assert len({response.json()["id"] for response in responses}) == 1
        assert len(log_of(pair[0], responses[0].json())) == 3

    def test_it_is_of_two(self, ada, ben, eve):
        for members in ([], [ada.id], [ben.id, eve.id]):
            body = {"name": "x", "kind": "direct", "members": members}
            assert faults(ada.post("/channels", body)) == {"members"}

    def test_it_has_no_slug(self, pair):
        one, two = pair
        body = {"name": "x", "kind": "direct", "members": [two.id], "slug": unique("slug")}
        assert one.post("/channels", body).status_code == 422
        channel = make_channel(one, "direct", members=[two])

        assert faults(one.patch(f"/channels/{channel['id']}", {"slug": unique()})) == {"slug"}

    def test_nobody_else_sees_it(self, pair, admin, eve):
        """No administrator either."""
        one, two = pair
        channel = make_channel(one, "direct", members=[two])

        for stranger in (admin, eve):
            problem(stranger.get(f"/channels/{channel['id']}"), 404, "not_found")
        assert channel["id"] not in {c["id"] for c in walk(admin, "/channels", kind="direct")}

    def test_its_end_makes_room_for_another(self, pair):
        one, two = pair
        first = make_channel(one, "direct", members=[two])
        assert two.delete(f"/channels/{first['id']}").status_code == 204
        second = make_channel(one, "direct", members=[two])

        assert second["id"] != first["id"]
        problem(one.get(f"/channels/{first['id']}"), 404, "not_found")


class TestSeeing:
    @pytest.fixture(params=["id", "slug"])
    def ref(self, request):
        return request.param

    def test_a_public_one_is_open_to_all(self, ada, eve, ref):
        channel = make_channel(ada, slug=unique("slug"))

        assert done(eve.get(f"/channels/{channel[ref]}")) == channel

    def test_a_private_one_is_there_for_its_members_only(self, ada, ben, eve, ref):
        channel = make_channel(ada, "private", slug=unique("slug"), members=[ben])

        assert done(ben.get(f"/channels/{channel[ref]}")) == channel
        problem(eve.get(f"/channels/{channel[ref]}"), 404, "not_found")

    def test_an_administrator_sees_a_private_one(self, ada, admin):
        channel = make_channel(ada, "private")

        assert done(admin.get(f"/channels/{channel['id']}")) == channel

    @pytest.mark.parametrize(
        ("method", "rest"),
        [
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("GET", "/sync"),
            ("GET", "/members"),
            ("PUT", "/members/me"),
            ("DELETE", "/members/me"),
            ("PUT", "/read"),
            ("GET", "/messages"),
            ("POST", "/messages"),
            ("GET", f"/messages/{NOBODYS_ID}"),
            ("PATCH", f"/messages/{NOBODYS_ID}"),
            ("DELETE", f"/messages/{NOBODYS_ID}"),
            ("GET", "/events"),
            ("POST", "/events"),
        ],
    )
    def test_what_is_hidden_looks_like_what_is_not_there(self, ada, eve, method, rest):
        """Through every call: 404, never 403, and the same words."""
        bodies = {
            "PATCH/": {"name": "x"},
            f"PATCH/messages/{NOBODYS_ID}": {"body": "x"},
            "PUT/read": {"offset": 1},
            "POST/messages": {"body": "x"},
            "POST/events": {"type": "a.b", "data": 1},
        }
        body = bodies.get(f"{method}{rest or '/'}", {} if method == "PUT" else None)
        hidden = make_channel(ada, "private")["id"]
        answers = [
            problem(eve.call(method, f"/channels/{ref}{rest}", body), 404, "not_found")
            for ref in (hidden, NOBODYS_ID)
        ]

        assert answers[0]["detail"] == answers[1]["detail"]

    @pytest.mark.parametrize("ref", ["nonsense", "%00", "%FF%FE", "x" * 300, "me", "-", "%2E%2E"])
    def test_what_is_no_channel_is_not_found(self, ada, ref):
        problem(ada.get(f"/channels/{ref}"), 404, "not_found")


class TestListing:
    @pytest.fixture
    def some(self, shared_server):
        """Somebody with channels of their own, and a word that is in all their names."""
        owner, word = registered(shared_server.url), unique("Word")
        kinds = {"d": "public", "b": "private", "c": "public", "a": "private"}
        channels = {
            letter: make_channel(owner, kind, name=f"{letter} {word}")
            for letter, kind in kinds.items()
        }
        return owner, word, channels

    @pytest.mark.parametrize(
        ("query", "letters"),
        [
            ({}, "abcd"),
            ({"sort": "-name"}, "dcba"),
            ({"sort": "created_at"}, "dbca"),
            ({"sort": "-created_at"}, "acbd"),
            ({"kind": "public"}, "cd"),
            ({"kind": "private"}, "ab"),
            ({"kind": "direct"}, ""),
            ({"member": "me", "sort": "created_at"}, "dbca"),
            ({"member": "me", "kind": "private", "sort": "-name"}, "ba"),
        ],
    )
    @pytest.mark.parametrize("limit", [1, 2, 50])
    def test_filtered_sorted_and_in_pages(self, some, query, letters, limit):
        owner, word, _ = some
        found = walk(owner, "/channels", q=word.upper(), limit=limit, **query)

        assert "".join(channel["name"][0] for channel in found) == letters

    def test_others_see_the_public_ones(self, some, eve, admin):
        _, word, channels = some
        public = [channels["c"], channels["d"]]
        plain = [{k: c[k] for k in public[0]} for c in walk(eve, "/channels", q=word)]

        assert plain == public
        assert walk(eve, "/channels", q=word, member="me") == []
        assert len(walk(admin, "/channels", q=word)) == 4
        assert walk(admin, "/channels", q=word, member="me") == []

    @pytest.mark.parametrize("sign", ["%", "_", "\\", "'"])
    def test_no_sign_of_the_search_is_special(self, ada, sign):
        word = unique("sign")
        make_channel(ada, "private", name=f"a{word}b")
        plain = make_channel(ada, "private", name=f"a{word}{sign}b")

        found = walk(ada, "/channels", q=f"{word}{sign}")
        assert [channel["id"] for channel in found] == [plain["id"]]

    def test_equal_names_are_no_trouble(self, ada):
        """The page breaks between two of the same name."""
        word = unique("twin")
        ids = {make_channel(ada, "private", name=word)["id"] for _ in range(5)}
        found = walk(ada, "/channels", q=word, limit=2)

        assert len(found) == 5
        assert {channel["id"] for channel in found} == ids

    def test_ones_own_come_with_what_is_new_there(self, ada, ben):
        channel = make_channel(ada, "private", name=unique("mine"), members=[ben])
        post(ada, channel, "one")
        response = ada.post(f"/channels/{channel['id']}/messages", {"body": "two"})
        (listed,) = walk(ben, "/channels", member="me", q=channel["name"])
        _, offset, epoch = position(response)

        assert {name: listed[name] for name in channel} == channel
        assert listed["membership"]["role"] == "member"
        assert listed["membership"]["read_offset"] == 0
        assert listed["unread"] == 2
        assert listed["position"] == {"offset": offset, "epoch": epoch}

    def test_a_deleted_one_is_gone(self, some):
        owner, word, channels = some
        owner.delete(f"/channels/{channels['a']['id']}")

        assert len(walk(owner, "/channels", q=word)) == 3
        assert len(walk(owner, "/channels", q=word, member="me")) == 3


class TestChanging:
    @pytest.mark.parametrize(
        "change",
        [{"name": "New"}, {"topic": ""}, {"topic": "t" * 250}, {"name": "N", "topic": "T"}],
    )
    def test_what_is_sent_is_changed(self, ada, change):
        channel = make_channel(ada, topic="Old", slug=unique("slug"))
        response = ada.patch(f"/channels/{channel['id']}", change)
        changed = done(response)
        (event,) = log_of(ada, channel, 2)

        assert changed == channel | change | {
            "version": position(response)[1],
            "updated_at": changed["updated_at"],
        }
        assert (event["type"], event["data"]) == ("channel.updated", changed)
        assert done(ada.get(f"/channels/{channel['id']}")) == changed

    def test_a_slug_comes_changes_and_goes(self, ada):
        channel, slug = make_channel(ada), unique("slug")
        path = f"/channels/{channel['id']}"

        assert done(ada.patch(path, {"slug": slug}))["slug"] == slug
        assert done(ada.get(f"/channels/{slug}"))["id"] == channel["id"]
        assert done(ada.patch(path, {"slug": None}))["slug"] is None
        problem(ada.get(f"/channels/{slug}"), 404, "not_found")

    def test_a_taken_slug_changes_nothing(self, ada):
        taken, channel = make_channel(ada, slug=unique("slug")), make_channel(ada)
        body = {"slug": taken["slug"], "name": "Other"}

        problem(ada.patch(f"/channels/{channel['id']}", body), 409, "conflict")
        assert done(ada.get(f"/channels/{channel['id']}")) == channel
        assert log_of(ada, channel, 2) == []

    def test_nothing_sent_is_nothing_changed(self, ada):
        channel = make_channel(ada)
        response = ada.patch(f"/channels/{channel['id']}", {})

        assert done(response) == channel
        assert "Fanfare-Position" not in response.headers
        assert log_of(ada, channel, 2) == []

    @pytest.mark.parametrize("name", ["kind", "id", "created_by", "version", "members"])
    def test_the_rest_is_fixed(self, ada, name):
        channel = make_channel(ada)

        assert faults(ada.patch(f"/channels/{channel['id']}", {name: "public"})) == {name}


class TestDeleting:
    def test_it_is_gone_for_everybody(self, ada, ben, eve):
        channel = make_channel(ada, members=[ben], slug=unique("slug"))
        response = ada.delete(f"/channels/{channel['slug']}")

        assert response.status_code == 204
        assert position(response)[0] == f"channel:{channel['id']}"
        for person in (ada, ben, eve):
            for ref in (channel["id"], channel["slug"]):
                problem(person.get(f"/channels/{ref}"), 404, "not_found")
        problem(ada.delete(f"/channels/{channel['id']}"), 404, "not_found")

    def test_its_slug_is_free_again(self, ada):
        channel = make_channel(ada, slug=unique("slug"))
        ada.delete(f"/channels/{channel['id']}")

        assert make_channel(ada, slug=channel["slug"])["id"] != channel["id"]

    def test_its_watchers_see_the_end(self, ada, ben, connect):
        channel = make_channel(ada, "private", members=[ben])
        stream = f"channel:{channel['id']}"
        socket = connect(ben)
        socket.ok("subscribe", {"stream": stream})
        response = ada.delete(f"/channels/{channel['id']}")
        event = socket.wait_for_event("channel.deleted", stream=stream)
        (gone,) = socket.wait_for(lambda it: it.named("unsubscribed"), what="unsubscribed")

        assert event["offset"] == position(response)[1]
        assert event["data"] == {"id": channel["id"]}
        assert gone == {"stream": stream, "code": "not_found"}

    def test_its_members_are_told(self, ada, newcomer, shared_server):
        """On their own streams: they may watch nothing else."""
        channel = make_channel(ada, "private", members=[newcomer])
        top = own_top(newcomer, shared_server)
        ada.delete(f"/channels/{channel['id']}")
        (event,) = own_events(newcomer, shared_server, top)

        assert (event["type"], event["data"]) == ("channel.deleted", {"id": channel["id"]})
