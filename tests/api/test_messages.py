"""Messages: writing with and without a key, paging, editing, deleting."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.people import (
    NOBODYS_ID,
    TIME,
    UUID7,
    done,
    faults,
    log_of,
    make_channel,
    position,
    post,
    problem,
    walk,
)
from tests.support.client import RestClient, unique


@pytest.fixture
def channel(ada, ben):
    """A private channel of ada's and ben's; its log stands at 3."""
    return make_channel(ada, "private", members=[ben])


@pytest.fixture(scope="module")
def talk(ada, ben):
    """Nine messages, by turns ada's and ben's, at the offsets 4 to 12."""
    channel = make_channel(ada, "private", members=[ben])
    return channel, [
        post(ben if number % 2 else ada, channel, f"Number {number}") for number in range(9)
    ]


def place(channel, message=None) -> str:
    path = f"/channels/{channel['id']}/messages"
    return path if message is None else f"{path}/{message['id']}"


class TestWriting:
    def test_it_is_an_event_of_the_channel(self, ada, channel):
        sent = {"body": "Hello, ✓ 世界", "data": {"a": [1, None, {"b": 0.5}]}, "key": unique("key")}
        response = ada.post(place(channel), sent)
        message = done(response, 201)
        (event,) = log_of(ada, channel, 3)

        assert UUID7.fullmatch(message["id"])
        assert {name: message[name] for name in sent} == sent
        assert (message["author_id"], message["author_username"]) == (ada.id, ada.user["username"])
        assert message["offset"] == message["version"] == event["offset"] == 4
        assert TIME.fullmatch(message["created_at"])
        assert message["edited_at"] is message["deleted_at"] is message["reply_to"] is None
        assert response.headers["Location"] == f"/api/v1{place(channel, message)}"
        assert position(response)[:2] == (f"channel:{channel['id']}", 4)
        assert event["type"] == "message.created"
        assert (event["data"], event["key"], event["actor"]) == (message, sent["key"], ada.id)
        assert done(ada.get(place(channel, message))) == message

    def test_a_slug_is_as_good_as_an_id(self, ada):
        channel = make_channel(ada, slug=unique("slug"))
        message = done(ada.post(f"/channels/{channel['slug']}/messages", {"body": "x"}), 201)

        assert message["channel_id"] == channel["id"]
        assert done(ada.get(f"/channels/{channel['slug']}/messages/{message['id']}")) == message

    def test_it_may_answer_another(self, ada, ben, channel):
        question = post(ada, channel, "?")
        answer = post(ben, channel, "!", reply_to=question["id"])

        assert answer["reply_to"] == question["id"]

    def test_it_answers_nothing_from_elsewhere(self, ada, channel):
        """Nor anything that isn't there: a reply would point into another channel's secrets."""
        elsewhere = post(ada, make_channel(ada))

        for reply_to in (elsewhere["id"], NOBODYS_ID):
            response = ada.post(place(channel), {"body": "x", "reply_to": reply_to})
            assert faults(response) == {"reply_to"}
        assert len(log_of(ada, channel)) == 3

    @pytest.mark.parametrize(
        "body", ["<b>&amp;</b>", "\u2028\u2029\ufeff", "\x01\x1f\x7f", "🎺" * 50]
    )
    def test_text_is_kept_as_it_is(self, ada, channel, body):
        message = post(ada, channel, body)

        assert done(ada.get(place(channel, message)))["body"] == body
        assert log_of(ada, channel, 3)[0]["data"]["body"] == body

    def test_data_is_kept_as_it_is(self, ada, channel):
        """Whole numbers of any size a client can read, empty keys, nothing bent."""
        data = {"": {}, "n": [0, -1, 2**53 - 1, 1.5, 1e300, True, None, ""], "é": "\u0001"}
        message = post(ada, channel, data=data)

        assert done(ada.get(place(channel, message)))["data"] == data


class TestKeys:
    def test_a_retry_gets_the_first_result(self, ada, channel):
        sent = {"body": "Once", "data": {"a": 1, "b": 2}, "key": unique("key")}
        first = ada.post(place(channel), sent)
        again = ada.post(place(channel), {**sent, "data": {"b": 2, "a": 1}})

        assert done(again) == done(first, 201)
        assert again.headers["Idempotent-Replay"] == "true"
        assert position(again) == position(first)
        assert "Idempotent-Replay" not in first.headers
        assert len(log_of(ada, channel)) == 4

    def test_also_after_an_edit(self, ada, channel):
        """The first result, as it was: the retry asks what became of its own call."""
        sent = {"body": "Once", "key": unique("key")}
        first = done(ada.post(place(channel), sent), 201)
        ada.patch(place(channel, first), {"body": "Otherwise"})

        assert done(ada.post(place(channel), sent)) == first

    @pytest.mark.parametrize("change", [{"body": "Other"}, {"data": {"a": 1}}])
    def test_for_something_else_it_is_a_conflict(self, ada, channel, change):
        sent = {"body": "Once", "key": unique("key")}
        done(ada.post(place(channel), sent), 201)
        problem(ada.post(place(channel), {**sent, **change}), 409, "conflict")

        assert len(log_of(ada, channel)) == 4

    def test_of_many_at_once_one_takes_effect(self, ada, channel):
        key = unique("key")

        def create(_number):
            client = RestClient(ada.url, token=ada.access_token)
            return client.post(place(channel), {"body": "Once", "key": key})

        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(create, range(8)))

        assert sorted(response.status_code for response in responses) == [200] * 7 + [201]
        assert len({response.text for response in responses}) == 1
        assert [event["offset"] for event in log_of(ada, channel)] == [1, 2, 3, 4]

    def test_it_is_the_publishers_own(self, ada, ben, channel):
        """Nobody's key can stand in the way of somebody else's, nor be found out by it."""
        key = unique("key")

        assert post(ada, channel, "hers", key=key)["body"] == "hers"
        assert post(ben, channel, "his", key=key)["body"] == "his"

    def test_and_counts_in_one_stream(self, ada, channel):
        key, elsewhere = unique("key"), make_channel(ada)

        assert post(ada, channel, key=key)["id"] != post(ada, elsewhere, key=key)["id"]

    def test_through_whichever_door(self, ada, channel, connect):
        key = unique("key")
        first = done(ada.post(place(channel), {"body": "Once", "key": key}), 201)
        socket = connect(ada)
        ack = socket.ok("message.create", {"channel": channel["id"], "body": "Once", "key": key})

        assert ack["message"] == first
        assert ack["position"]["offset"] == first["offset"]
        assert len(log_of(ada, channel)) == 4


class TestPages:
    @pytest.mark.parametrize("limit", [1, 4, 9, 50])
    @pytest.mark.parametrize("sort", ["offset", "-offset"])
    def test_in_either_order(self, ada, talk, limit, sort):
        channel, messages = talk
        found = walk(ada, place(channel), limit=limit, sort=sort)

        assert found == (messages if sort == "offset" else messages[::-1])

    @pytest.mark.parametrize(
        ("query", "numbers"),
        [
            ({}, [8, 7, 6, 5, 4, 3, 2, 1, 0]),
            ({"before": 7}, [2, 1, 0]),
            ({"after": 9}, [8, 7, 6]),
            ({"after": 5, "before": 8}, [3, 2]),
            ({"after": 5, "before": 8, "sort": "offset"}, [2, 3]),
            ({"before": 4}, []),
            ({"after": 12}, []),
            ({"after": 2**53 - 1}, []),
            ({"before": 0}, []),
            ({"author": "ben"}, [7, 5, 3, 1]),
            ({"author": "ben", "before": 8, "sort": "offset"}, [1, 3]),
            ({"author": "nobody"}, []),
            ({"q": "NUMBER 3"}, [3]),
            ({"q": "er"}, [8, 7, 6, 5, 4, 3, 2, 1, 0]),
            ({"q": "%"}, []),
            ({"q": "_"}, []),
            ({"q": "number", "author": "ada", "after": 6}, [8, 6, 4]),
        ],
    )
    @pytest.mark.parametrize("limit", [2, 50])
    def test_filtered(self, ada, ben, talk, query, numbers, limit):
        channel, messages = talk
        people = {"ada": ada.id, "ben": ben.id, "nobody": NOBODYS_ID}
        if "author" in query:
            query = {**query, "author": people[query["author"]]}
        found = walk(ada, place(channel), limit=limit, **query)

        assert found == [messages[number] for number in numbers]

    def test_what_comes_meanwhile_breaks_no_page(self, ada, channel):
        first = [post(ada, channel, str(number)) for number in range(4)]
        page = done(ada.get(place(channel), params={"limit": 2}))
        post(ada, channel, "late")
        cursor = {"limit": 2, "cursor": page["next_cursor"]}
        rest = done(ada.get(place(channel), params=cursor))

        assert page["items"] + rest["items"] == first[::-1]
        assert rest["next_cursor"] is None

    def test_the_limit_may_change_on_the_way(self, ada, talk):
        channel, messages = talk
        page = done(ada.get(place(channel), params={"limit": 2}))
        cursor = {"limit": 100, "cursor": page["next_cursor"]}

        rest = done(ada.get(place(channel), params=cursor))["items"]
        assert page["items"] + rest == messages[::-1]


class TestKeptPages:
    """A page may be kept while its stream stands still: nobody can tell it from a fresh one."""

    def test_a_change_is_seen_at_once(self, ada, ben, channel):
        message = post(ada, channel, "one")
        seen = [walk(ben, place(channel))]
        edited = done(ada.patch(place(channel, message), {"body": "two"}))
        seen.append(walk(ben, place(channel)))
        deleted = done(ada.delete(place(channel, message)))
        seen.append(walk(ben, place(channel)))

        assert seen == [[message], [edited], [deleted]]

    def test_it_is_not_shown_to_who_may_not_see_it(self, ada, ben, eve, channel):
        post(ada, channel)
        walk(ada, place(channel))
        problem(eve.get(place(channel)), 404, "not_found")
        walk(ben, place(channel))
        ada.delete(f"/channels/{channel['id']}/members/{ben.id}")

        problem(ben.get(place(channel)), 404, "not_found")

    def test_its_cursor_is_good_by_id_and_by_slug(self, ada):
        """Whichever of the two names was used when the page was first made."""
        channel = make_channel(ada, slug=unique("slug"))
        messages = [post(ada, channel, str(number)) for number in range(5)][::-1]
        by_slug = f"/channels/{channel['slug']}/messages"

        assert walk(ada, by_slug, limit=2) == messages
        assert walk(ada, place(channel), limit=2) == messages
        assert walk(ada, place(channel), limit=3) == messages
        assert walk(ada, by_slug, limit=3) == messages


class TestEditing:
    def test_it_is_an_event(self, ada, channel):
        message = post(ada, channel, "Helo", data={"a": 1})
        response = ada.patch(place(channel, message), {"body": "Hello"})
        edited = done(response)
        (event,) = log_of(ada, channel, 4)

        assert edited == message | {
            "body": "Hello",
            "version": 5,
            "edited_at": edited["edited_at"],
        }
        assert TIME.fullmatch(edited["edited_at"])
        assert (event["type"], event["data"]) == ("message.updated", edited)
        assert position(response)[1] == 5
        assert done(ada.get(place(channel, message))) == edited
        assert walk(ada, place(channel)) == [edited]

    @pytest.mark.parametrize("data", [None, {}, {"b": [2]}])
    def test_data_comes_and_goes(self, ada, channel, data):
        message = post(ada, channel, data={"a": 1})
        edited = done(ada.patch(place(channel, message), {"data": data}))

        assert (edited["body"], edited["data"]) == (message["body"], data)
        assert done(ada.get(place(channel, message)))["data"] == data

    @pytest.mark.parametrize("change", [{}, {"body": "Hello"}, {"body": "Hello", "data": {"a": 1}}])
    def test_what_changes_nothing_is_no_event(self, ada, channel, change):
        message = post(ada, channel, "Hello", data={"a": 1})
        response = ada.patch(place(channel, message), change)

        assert done(response) == message
        assert "Fanfare-Position" not in response.headers
        assert len(log_of(ada, channel)) == 4

    def test_it_is_for_the_author(self, ada, ben, admin, channel):
        """An owner or an administrator may take words away, never put them in a mouth."""
        message = post(ben, channel, "Mine")

        for other in (ada, admin):
            problem(other.patch(place(channel, message), {"body": "Yours"}), 403, "forbidden")
        assert done(ben.get(place(channel, message))) == message

    def test_who_left_edits_no_more(self, ada, ben):
        channel = make_channel(ada, members=[ben])
        message = post(ben, channel)
        ben.delete(f"/channels/{channel['id']}/members/me")

        problem(ben.patch(place(channel, message), {"body": "x"}), 403, "forbidden")
        problem(ben.delete(place(channel, message)), 403, "forbidden")

    def test_what_was_deleted_stays_deleted(self, ada, channel):
        message = post(ada, channel)
        ada.delete(place(channel, message))

        problem(ada.patch(place(channel, message), {"body": "Back"}), 404, "not_found")

    @pytest.mark.parametrize("name", ["offset", "author_id", "id", "key", "reply_to", "deleted_at"])
    def test_the_rest_is_fixed(self, ada, channel, name):
        message = post(ada, channel)

        assert faults(ada.patch(place(channel, message), {name: 1})) == {name}

    def test_in_another_channel_it_is_not_found(self, ada, channel):
        """The path must be true: rights are those of the channel that it names."""
        elsewhere, message = make_channel(ada), post(ada, channel)
        wrong = place(elsewhere, message)

        problem(ada.get(wrong), 404, "not_found")
        problem(ada.patch(wrong, {"body": "x"}), 404, "not_found")
        problem(ada.delete(wrong), 404, "not_found")
        assert done(ada.get(place(channel, message))) == message


class TestDeleting:
    def test_a_tombstone_stays(self, ada, channel):
        message = post(ada, channel, "Regret", data={"a": 1})
        response = ada.delete(place(channel, message))
        tombstone = done(response)
        (event,) = log_of(ada, channel, 4)

        assert tombstone == message | {
            "body": None,
            "data": None,
            "version": 5,
            "deleted_at": tombstone["deleted_at"],
        }
        assert (event["type"], event["data"]) == ("message.deleted", tombstone)
        assert position(response)[1] == 5
        assert walk(ada, place(channel)) == [tombstone]

    def test_twice_is_once(self, ada, channel):
        message = post(ada, channel)
        first = done(ada.delete(place(channel, message)))
        again = ada.delete(place(channel, message))

        assert done(again) == first
        assert "Fanfare-Position" not in again.headers
        assert len(log_of(ada, channel)) == 5

    def test_it_is_for_author_and_moderators(self, ada, ben, eve, admin):
        channel = make_channel(ada, members=[ben, eve])
        mine, yours, third = (post(ben, channel) for _ in range(3))
        problem(eve.delete(place(channel, mine)), 403, "forbidden")
        done(ben.delete(place(channel, mine)))
        done(ada.put(f"/channels/{channel['id']}/members/{eve.id}", {"role": "moderator"}))

        assert done(eve.delete(place(channel, yours)))["author_id"] == ben.id
        assert done(admin.delete(place(channel, third)))["body"] is None
        assert {event["actor"] for event in log_of(ada, channel, 7)} == {
            ada.id,
            ben.id,
            eve.id,
            admin.id,
        }

    def test_no_search_finds_it(self, ada, channel):
        message = post(ada, channel, "needle")
        ada.delete(place(channel, message))

        assert walk(ada, place(channel), q="needle") == []

    def test_it_can_still_be_answered(self, ada, channel):
        message = post(ada, channel)
        ada.delete(place(channel, message))

        assert post(ada, channel, "Why?", reply_to=message["id"])["reply_to"] == message["id"]

    @pytest.mark.parametrize("message", [NOBODYS_ID, "nonsense", "%00", "%FF"])
    def test_what_is_none_is_not_found(self, ada, channel, message):
        for method in ("GET", "DELETE"):
            problem(ada.call(method, f"{place(channel)}/{message}"), 404, "not_found")
