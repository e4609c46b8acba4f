"""The log over HTTP: its pages, and publishing to it one by one, many at once, or not for keeps."""

import pytest

from tests.api.people import (
    NOBODYS_ID,
    TIME,
    done,
    faults,
    log_of,
    make_channel,
    own_events,
    own_top,
    position,
    post,
    problem,
)
from tests.support.client import unique


@pytest.fixture
def channel(ada, ben):
    """A private channel of ada's and ben's; its log stands at 3."""
    return make_channel(ada, "private", slug=unique("events"), members=[ben])


def page(reader, channel, **query):
    return done(reader.get(f"/channels/{channel['id']}/events", params=query))


def publish(publisher, channel, type_="order.paid", data=None, **more):
    body = {"type": type_, "data": data, **more}
    return publisher.post(f"/channels/{channel['id']}/events", body)


class TestPages:
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    def test_each_event_once_in_order(self, ada, channel, limit):
        for number in range(4):
            done(publish(ada, channel, data=number), 201)
        offsets, query = [], {"limit": limit}
        while True:
            found = page(ada, channel, **query)
            offsets += [event["offset"] for event in found["items"]]
            assert len(found["items"]) <= limit
            assert found["more"] == (found["next_cursor"] is not None)
            if not found["more"]:
                break
            query["cursor"] = found["next_cursor"]

        assert offsets == [1, 2, 3, 4, 5, 6, 7]
        assert found["position"]["offset"] == 7

    def test_after_an_offset(self, ada, channel):
        epoch = page(ada, channel)["position"]["epoch"]
        found = page(ada, channel, after=2, epoch=epoch)

        assert [event["offset"] for event in found["items"]] == [3]
        assert found["position"] == {"offset": 3, "epoch": epoch}
        assert found["reset"] is None

    def test_at_the_top_there_is_nothing(self, ada, channel):
        found = page(ada, channel, after=3)

        assert (found["items"], found["more"], found["next_cursor"]) == ([], False, None)
        assert found["position"]["offset"] == 3

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ({"after": 4}, "ahead"),
            ({"after": 2**53 - 1}, "ahead"),
            ({"after": 1, "epoch": "deadbeef"}, "epoch"),
            ({"epoch": "x"}, "epoch"),
        ],
    )
    def test_a_position_that_never_was_is_reset(self, ada, channel, query, reason):
        """Never a part in silence: the client is told to take a new sync, and what is true."""
        found = page(ada, channel, **query)
        top = page(ada, channel, after=3)["position"]

        assert found["reset"] == {"reason": reason, "oldest": 1, "top": top}
        assert (found["items"], found["position"]) == ([], top)

    def test_a_strangers_view_of_a_public_channel(self, ada, eve):
        channel = make_channel(ada)

        assert log_of(eve, channel) == log_of(ada, channel)


class TestPublishing:
    @pytest.mark.parametrize(
        "data", [None, 0, "", "text", [], {}, {"order": 42, "lines": [{"sku": "a"}]}, 1.5, False]
    )
    def test_any_json_is_data(self, ada, channel, data):
        response = publish(ada, channel, data=data)
        event = done(response, 201)["event"]

        assert event == log_of(ada, channel, 3)[0]
        assert (event["type"], event["data"]) == ("order.paid", data)
        assert (event["stream"], event["actor"]) == (f"channel:{channel['id']}", ada.id)
        assert event["key"] is None
        assert TIME.fullmatch(event["at"])
        assert position(response)[:2] == (event["stream"], event["offset"])

    def test_its_location_is_where_it_can_be_read(self, ada, channel):
        response = publish(ada, channel, data={"a": 1})
        place = response.headers["Location"].removeprefix("/api/v1")

        assert done(ada.get(place))["items"] == [response.json()["event"]]

    def test_a_retry_gets_the_first_result(self, ada, channel):
        key = unique("key")
        first = publish(ada, channel, data={"a": 1}, key=key)
        again = publish(ada, channel, data={"a": 1}, key=key)

        assert done(again) == done(first, 201)
        assert again.headers["Idempotent-Replay"] == "true"
        assert len(log_of(ada, channel)) == 4

    @pytest.mark.parametrize("change", [{"data": {"a": 2}}, {"type_": "order.sent"}])
    def test_a_key_used_for_something_else_is_a_conflict(self, ada, channel, change):
        sent = {"data": {"a": 1}, "key": unique("key")}
        done(publish(ada, channel, **sent), 201)
        problem(publish(ada, channel, **{**sent, **change}), 409, "conflict")

        assert len(log_of(ada, channel)) == 4

    def test_a_messages_key_is_not_an_events(self, ada, channel):
        """They share a stream, so they share its keys: the second asks for something else."""
        key = unique("key")
        post(ada, channel, "x", key=key)

        problem(publish(ada, channel, data="x", key=key), 409, "conflict")

    @pytest.mark.parametrize(
        "type_",
        [
            *("message.created", "channel.x", "member.joined", "read.moved"),
            *("notification.created", "session.revoked", "typing.x", "presence.joined"),
            *("plain", "Order.paid", "a..b", ".a", "a.", "a b.c", "a.b\n", "", "é.b"),
            "a." + "b" * 127,
        ],
    )
    def test_the_servers_own_types_are_kept(self, ada, channel, type_):
        """Nobody forges a message, nor a name that no client could tell from it."""
        assert faults(publish(ada, channel, type_=type_)) == {"type"}
        assert len(log_of(ada, channel)) == 3

    @pytest.mark.parametrize("type_", ["a.b", "messages.sent", "a-b_c.d-e.f_g.0", "a." + "b" * 126])
    def test_every_other_type_is_free(self, ada, channel, type_):
        assert done(publish(ada, channel, type_=type_), 201)["event"]["type"] == type_

    def test_watchers_get_it(self, ada, ben, channel, connect):
        socket, stream = connect(ben), f"channel:{channel['id']}"
        socket.ok("subscribe", {"stream": f"channel:{channel['slug']}"})
        event = done(publish(ada, channel, data={"a": 1}), 201)["event"]

        assert socket.wait_for_event("order.paid", stream=stream) == event


class TestEphemeral:
    def test_it_reaches_watchers_and_no_log(self, ada, ben, channel, connect):
        socket, stream = connect(ben), f"channel:{channel['id']}"
        socket.ok("subscribe", {"stream": stream})
        response = publish(ada, channel, "cursor.moved", {"x": 1}, ephemeral=True)
        (signal,) = socket.wait_for(lambda it: it.signals, what="a signal")

        assert (response.status_code, response.content) == (202, b"")
        assert "Fanfare-Position" not in response.headers
        assert TIME.fullmatch(signal.pop("at"))
        assert signal == {
            "stream": stream,
            "type": "cursor.moved",
            "data": {"x": 1},
            "actor": ada.id,
        }
        assert len(log_of(ada, channel)) == 3

    def test_the_same_rules_hold(self, ada, ben, channel):
        assert faults(publish(ada, channel, "typing.x", ephemeral=True)) == {"type"}
        public = make_channel(ada)

        problem(publish(ben, public, "a.b", ephemeral=True), 403, "forbidden")
        problem(publish(ben, {"id": NOBODYS_ID}, "a.b", ephemeral=True), 404, "not_found")


class TestPublishMany:
    def test_each_has_its_own_outcome(self, ada, ben, channel):
        """In order; what fails takes nothing else with it."""
        hidden, key = make_channel(ben, "private"), unique("key")
        good = {"stream": f"channel:{channel['slug']}", "type": "a.b", "data": 1}
        events = [
            {**good, "key": key},
            {**good, "stream": f"channel:{hidden['id']}"},
            {**good, "type": "message.created"},
            {**good, "key": key},
            {**good, "key": key, "data": 2},
            {**good, "ephemeral": True},
            {**good, "data": "x" * 65_537},
            {**good, "stream": "nonsense"},
            {**good, "data": "last"},
        ]
        outcomes = done(ada.post("/publish", {"events": events}))["outcomes"]
        codes = [outcome.get("error", {}).get("code") for outcome in outcomes]
        logged = log_of(ada, channel, 3)

        assert codes == [
            *(None, "not_found", "invalid", None, "conflict"),
            *(None, "too_large", "not_found", None),
        ]
        assert [outcome["ok"] for outcome in outcomes] == [code is None for code in codes]
        assert [event["data"] for event in logged] == [1, "last"]
        assert outcomes[0]["event"] == outcomes[3]["event"] == logged[0]
        assert [outcomes[i]["replayed"] for i in (0, 3, 8)] == [False, True, False]
        assert not outcomes[5].get("event")
        assert log_of(ben, hidden, 2) == []

    def test_up_to_a_hundred(self, ada, channel):
        event = {"stream": f"channel:{channel['id']}", "type": "a.b"}
        events = [{**event, "data": number} for number in range(101)]
        assert faults(ada.post("/publish", {"events": events})) == {"events"}
        assert len(log_of(ada, channel)) == 3
        outcomes = done(ada.post("/publish", {"events": events[:100]}))["outcomes"]

        assert [outcome["event"]["offset"] for outcome in outcomes] == list(range(4, 104))
        assert [event["data"] for event in log_of(ada, channel, 3)] == list(range(100))

    def test_none_is_no_publish(self, ada):
        assert faults(ada.post("/publish", {"events": []})) == {"events"}

    def test_one_that_cant_be_read_spoils_all(self, ada, channel):
        """The schema is judged before anything is done."""
        good = {"stream": f"channel:{channel['id']}", "type": "a.b", "data": 1}
        response = ada.post("/publish", {"events": [good, {**good, "offset": 9}]})

        assert faults(response) == {"events.1.offset"}
        assert len(log_of(ada, channel)) == 3

    def test_ones_own_stream_is_ones_own(self, newcomer, ada, shared_server):
        """A user may publish to user:me, never to somebody else's stream."""
        top = own_top(newcomer, shared_server)
        event = {"type": "draft.saved", "data": {"text": "…"}}
        events = [
            {**event, "stream": "user:me"},
            {**event, "stream": f"user:{newcomer.id}"},
            {**event, "stream": f"user:{ada.id}"},
            {**event, "stream": f"user:{NOBODYS_ID}"},
        ]
        outcomes = done(newcomer.post("/publish", {"events": events}))["outcomes"]

        assert [outcome["ok"] for outcome in outcomes] == [True, True, False, False]
        assert [outcome["error"]["code"] for outcome in outcomes[2:]] == ["not_found"] * 2
        assert [e["type"] for e in own_events(newcomer, shared_server, top)] == ["draft.saved"] * 2
