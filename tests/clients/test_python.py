"""python-socketio's `Client` and `AsyncClient` through the whole of the socket protocol."""

import time

import pytest

from tests.clients.conftest import make_channel, say
from tests.clients.drivers import RefusedError
from tests.support.client import RestClient, unique
from tests.support.wait import wait_until


def offsets(events):
    return [event["offset"] for event in events]


def bodies(events):
    return [event["data"]["body"] for event in events]


def short_token(server, person, ttl_s):
    done = server.run("token", person.user["username"], "--ttl", str(ttl_s))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestConnecting:
    @pytest.mark.parametrize(
        ("transports", "ends_up"),
        [
            (["websocket"], "websocket"),
            (["polling", "websocket"], "websocket"),
            (["polling"], "polling"),
        ],
        ids=["websocket", "upgrade", "polling"],
    )
    def test_every_transport_is_greeted_and_works(self, connect, ada, channel, transports, ends_up):
        client = connect(ada, transports=transports)
        subscribed = client.ok("subscribe", {"stream": channel["stream"]})
        say(ada, channel, "hello")
        (event,) = client.wait_for_events(channel["stream"], 1)

        assert client.transport == ends_up
        assert event["offset"] == subscribed["position"]["offset"] + 1
        assert event["data"]["body"] == "hello"

    def test_ready_tells_who_and_what_is_allowed(self, make_client, ada):
        ready = make_client().connect({"token": ada.access_token})

        assert set(ready) == {
            *("user", "connection_id", "node", "server_time", "limits", "position"),
        }
        assert ready["user"]["id"] == ada.id
        assert set(ready["position"]) == {"offset", "epoch"}
        assert ready["limits"]["max_subscriptions"] == 5

    def test_the_own_stream_is_watched_from_the_first_moment(self, make_client, make_person):
        """The event after the position in `ready` comes live, without a subscribe."""
        person = make_person()
        client = make_client()
        ready = client.connect({"token": person.access_token})
        channel = make_channel(person)
        say(person, channel, "mine")
        person.put(f"/channels/{channel['id']}/read", {"offset": 2})
        events = client.wait_for_events(f"user:{person.id}", 1)

        assert events[0]["offset"] == ready["position"]["offset"] + 1


class TestRefusedConnects:
    """A `connect_error` whose data holds a code that a program can act on."""

    def refused(self, client, auth):
        with pytest.raises(RefusedError) as caught:
            client.connect(auth)
        said = caught.value.said
        assert said["message"]
        assert said["data"]["detail"]
        return said["data"]["code"]

    @pytest.mark.parametrize("auth", [None, {}, {"token": ""}, {"token": 7}, {"ticket": "x"}])
    def test_without_a_token(self, make_client, auth):
        assert self.refused(make_client(), auth) in ("invalid", "unauthorized")

    def test_with_a_made_up_token(self, make_client):
        assert self.refused(make_client(), {"token": "e30.e30.c2ln"}) == "unauthorized"

    def test_with_a_refresh_token(self, make_client, ada):
        assert self.refused(make_client(), {"token": ada.refresh_token}) == "unauthorized"

    def test_with_an_expired_token(self, make_client, walked_server, ada):
        token = short_token(walked_server, ada, 1)
        late = RestClient(walked_server.url, token=token)
        wait_until(lambda: late.get("/me").status_code == 401, deadline_s=30)
        late.close()

        assert self.refused(make_client(), {"token": token}) == "token_expired"

    def test_after_the_logout(self, make_client, make_person):
        person = make_person()
        token = person.access_token
        person.post("/auth/logout")

        assert self.refused(make_client(), {"token": token}) == "token_revoked"

    def test_to_a_namespace_that_does_not_exist(self, make_client, ada):
        with pytest.raises(RefusedError):
            make_client().connect({"token": ada.access_token}, namespaces=["/other"])


class TestSubscribing:
    def test_without_after_it_starts_at_the_top(self, connect, ada, channel):
        say(ada, channel, "before")
        client = connect(ada)
        ack = client.ok("subscribe", {"stream": channel["stream"]})
        say(ada, channel, "after")
        events = client.wait_for_events(channel["stream"], 1)

        assert ack["events"] == []
        assert ack["more"] is False
        assert ack["reset"] is None
        assert bodies(events) == ["after"]

    def test_history_gives_the_last_first(self, connect, ada, channel):
        say(ada, channel, "one", "two", "three")
        ack = connect(ada).ok("subscribe", {"stream": channel["stream"], "history": 2})

        assert bodies(ack["events"]) == ["two", "three"]
        assert ack["position"]["offset"] == ack["events"][-1]["offset"]

    def test_a_slug_is_as_good_as_an_id_and_the_ack_names_the_id(self, connect, ada, channel):
        ack = connect(ada).ok("subscribe", {"stream": f"channel:{channel['slug']}"})

        assert ack["stream"] == channel["stream"]

    def test_after_a_position_comes_what_was_missed_page_by_page(self, connect, ada, channel):
        """`more` until the end is reached, and live delivery only from then on."""
        client = connect(ada)
        start = client.ok("subscribe", {"stream": channel["stream"]})["position"]
        client.ok("unsubscribe", {"stream": channel["stream"]})
        say(ada, channel, "1", "2", "3", "4", "5")
        wanted = {"stream": channel["stream"], "limit": 2}
        pages = [client.ok("subscribe", {**wanted, "after": start})]
        while pages[-1]["more"]:
            pages.append(client.ok("subscribe", {**wanted, "after": pages[-1]["position"]}))
        say(ada, channel, "live")
        events = client.wait_for_events(channel["stream"], 1)

        assert [bodies(page["events"]) for page in pages] == [["1", "2"], ["3", "4"], ["5"]]
        assert bodies(events) == ["live"]

    def test_a_position_from_before_the_first_event_is_resumed(self, connect, ada):
        """Nothing was seen yet: offset 0 of the right epoch gives the whole log."""
        channel = make_channel(ada)
        client = connect(ada)
        epoch = client.ok("subscribe", {"stream": channel["stream"]})["position"]["epoch"]
        ack = client.ok(
            "subscribe", {"stream": channel["stream"], "after": {"offset": 0, "epoch": epoch}}
        )

        assert ack["events"]
        assert offsets(ack["events"]) == [*range(1, ack["position"]["offset"] + 1)]
        assert ack["reset"] is None

    def test_unsubscribe_ends_delivery(self, connect, ada, channel):
        client = connect(ada)
        client.ok("subscribe", {"stream": channel["stream"]})
        client.ok("unsubscribe", {"stream": channel["stream"]})
        say(ada, channel, "unheard")
        # Handled after the event was fanned out: what should have come would be here.
        client.ok("subscribe", {"stream": channel["stream"]})

        assert client.events(channel["stream"]) == []
        client.ok("unsubscribe", {"stream": channel["stream"]})
        assert client.refusal("unsubscribe", {"stream": channel["stream"]})["code"] == "not_found"

    def test_a_stranger_is_told_that_there_is_no_such_stream(self, connect, ada, bob):
        hidden = make_channel(ada, kind="private")
        error = connect(bob).refusal("subscribe", {"stream": hidden["stream"]})

        assert error["code"] == "not_found"
        assert error["retryable"] is False

    def test_more_than_the_allowed_number_is_refused(self, connect, ada):
        client = connect(ada)
        channels = [make_channel(ada) for _ in range(6)]
        for channel in channels[:5]:
            client.ok("subscribe", {"stream": channel["stream"]})
        error = client.refusal("subscribe", {"stream": channels[5]["stream"]})

        assert error["code"] == "too_many_subscriptions"


class TestReset:
    def test_another_epoch(self, connect, ada, channel):
        client = connect(ada)
        top = client.ok("subscribe", {"stream": channel["stream"]})["position"]
        after = {"offset": top["offset"], "epoch": "elsewhere"}
        ack = client.ok("subscribe", {"stream": channel["stream"], "after": after})
        say(ada, channel, "next")

        assert ack["reset"]["reason"] == "epoch"
        assert ack["reset"]["top"] == top == ack["position"]
        assert bodies(client.wait_for_events(channel["stream"], 1)) == ["next"]

    def test_ahead_of_the_top(self, connect, ada, channel):
        client = connect(ada)
        top = client.ok("subscribe", {"stream": channel["stream"]})["position"]
        after = {**top, "offset": top["offset"] + 1}
        ack = client.ok("subscribe", {"stream": channel["stream"], "after": after})

        assert ack["reset"]["reason"] == "ahead"
        assert ack["position"] == top

    def test_trimmed_away(self, connect, ada, channel):
        """The log keeps 20 here: who saw nothing of 30 is told so, and not given the last 20."""
        client = connect(ada)
        epoch = client.ok("subscribe", {"stream": channel["stream"]})["position"]["epoch"]
        client.ok("unsubscribe", {"stream": channel["stream"]})
        say(ada, channel, *map(str, range(30)))
        first = {"stream": channel["stream"], "after": {"offset": 1, "epoch": epoch}}
        ack = wait_until(
            lambda: (ack := client.ok("subscribe", first))["reset"] and ack,
            deadline_s=30,
            every_s=0.1,
        )

        assert ack["reset"]["reason"] == "trimmed"
        assert ack["reset"]["oldest"] > 2
        assert ack["events"] == []
        assert ack["position"] == ack["reset"]["top"]


class TestResume:
    def test_many_streams_in_one_call(self, connect, ada, bob):
        seen, hidden = make_channel(ada), make_channel(bob, kind="private")
        client = connect(ada)
        at = client.ok("subscribe", {"stream": seen["stream"]})["position"]
        client.ok("unsubscribe", {"stream": seen["stream"]})
        say(ada, seen, "missed")
        streams = client.ok("resume", {"positions": {seen["stream"]: at, hidden["stream"]: at}})[
            "streams"
        ]
        say(ada, seen, "live")

        assert bodies(streams[seen["stream"]]["events"]) == ["missed"]
        assert streams[hidden["stream"]]["error"]["code"] == "not_found"
        assert bodies(client.wait_for_events(seen["stream"], 1)) == ["live"]


class TestPublishing:
    def test_a_durable_event_reaches_the_others_and_its_maker(self, connect, ada, bob, channel):
        maker, watcher = connect(ada), connect(bob)
        for client in (maker, watcher):
            client.ok("subscribe", {"stream": channel["stream"]})
        packet = {"stream": channel["stream"], "type": "order.paid", "data": {"order": 42}}
        ack = maker.ok("publish", {**packet, "key": "k1"})
        (event,) = watcher.wait_for_events(channel["stream"], 1)

        assert event["offset"] == ack["position"]["offset"]
        assert (event["type"], event["data"], event["key"]) == ("order.paid", {"order": 42}, "k1")
        assert event["actor"] == ada.id
        assert maker.wait_for_events(channel["stream"], 1) == [event]

    def test_a_retry_with_the_key_takes_effect_once(self, connect, ada, channel):
        client = connect(ada)
        client.ok("subscribe", {"stream": channel["stream"]})
        packet = {"stream": channel["stream"], "type": "order.paid", "data": 1, "key": "once"}
        first, again = client.ok("publish", packet), client.ok("publish", packet)
        other = client.refusal("publish", {**packet, "data": 2})
        client.ok("publish", {**packet, "key": "last"})
        events = client.wait_for_events(channel["stream"], 2)

        assert first["position"] == again["position"]
        assert other["code"] == "conflict"
        assert [event["key"] for event in events] == ["once", "last"]

    def test_a_signal_is_not_logged_and_does_not_come_back(self, connect, ada, bob, channel):
        maker, watcher = connect(ada), connect(bob)
        for client in (maker, watcher):
            before = client.ok("subscribe", {"stream": channel["stream"]})["position"]
        packet = {"stream": channel["stream"], "type": "cursor.moved", "data": {"x": 1}}
        ack = maker.ok("publish", {**packet, "ephemeral": True})
        signal = watcher.wait_for_packet("signal")
        after = maker.ok("subscribe", {"stream": channel["stream"]})["position"]

        assert "position" not in ack
        assert (signal["type"], signal["data"]) == ("cursor.moved", {"x": 1})
        assert "offset" not in signal
        assert maker.named("signal") == []
        assert after == before

    def test_the_words_of_the_server_are_not_for_applications(self, connect, ada, channel):
        packet = {"stream": channel["stream"], "type": "message.created", "data": {}}

        assert connect(ada).refusal("publish", packet)["code"] == "invalid"

    def test_who_is_no_member_may_not_publish(self, connect, bob, channel):
        packet = {"stream": channel["stream"], "type": "order.paid", "data": {}}

        assert connect(bob).refusal("publish", packet)["code"] == "forbidden"


class TestMessages:
    def test_written_edited_and_deleted_before_a_watchers_eyes(self, connect, ada, bob, channel):
        author, watcher = connect(ada), connect(bob)
        watcher.ok("subscribe", {"stream": channel["stream"]})
        where = {"channel": channel["slug"]}
        made = author.ok("message.create", {**where, "body": "Helo", "data": {"a": 1}})
        named = {**where, "id": made["message"]["id"]}
        edited = author.ok("message.update", {**named, "body": "Hello"})
        deleted = author.ok("message.delete", named)
        events = watcher.wait_for_events(channel["stream"], 3)

        assert [event["type"] for event in events] == [
            *("message.created", "message.updated", "message.deleted"),
        ]
        acks = [made, edited, deleted]
        assert [event["data"] for event in events] == [ack["message"] for ack in acks]
        assert offsets(events) == [ack["position"]["offset"] for ack in acks]
        assert bodies(events) == ["Helo", "Hello", None]

    def test_a_keyed_retry_gets_the_first_message(self, connect, ada, channel):
        client = connect(ada)
        packet = {"channel": channel["id"], "body": "once", "key": unique("key")}
        first, again = client.ok("message.create", packet), client.ok("message.create", packet)

        assert first["message"] == again["message"]
        assert first["position"] == again["position"]

    def test_a_reply_names_its_message(self, connect, ada, channel):
        client = connect(ada)
        first = client.ok("message.create", {"channel": channel["id"], "body": "?"})["message"]
        reply = {"channel": channel["id"], "body": "!", "reply_to": first["id"]}

        assert client.ok("message.create", reply)["message"]["reply_to"] == first["id"]

    def test_only_its_author_edits_a_message(self, connect, ada, bob, channel):
        message = connect(ada).ok("message.create", {"channel": channel["id"], "body": "mine"})
        bob.put(f"/channels/{channel['id']}/members/me", {})
        packet = {"channel": channel["id"], "id": message["message"]["id"], "body": "yours"}

        assert connect(bob).refusal("message.update", packet)["code"] == "forbidden"

    def test_messages_are_handled_in_the_order_of_their_sending(self, connect, ada, channel):
        """The client doesn't wait for acks in between."""
        client = connect(ada)
        client.ok("subscribe", {"stream": channel["stream"]})
        wanted = [str(number) for number in range(15)]
        client.send_all("message.create", [{"channel": channel["id"], "body": b} for b in wanted])

        assert bodies(client.wait_for_events(channel["stream"], 15)) == wanted

    def test_typing_reaches_the_others_as_a_signal(self, connect, ada, bob, channel):
        writer, watcher = connect(ada), connect(bob)
        for client in (writer, watcher):
            client.ok("subscribe", {"stream": channel["stream"]})
        writer.ok("typing", {"channel": channel["id"]})
        signal = watcher.wait_for_packet("signal")

        assert (signal["type"], signal["actor"]) == ("typing", ada.id)
        assert signal["stream"] == channel["stream"]
        assert writer.named("signal") == []

    def test_reading_on_one_device_is_read_on_all(self, connect, ada, bob, channel):
        bob.put(f"/channels/{channel['id']}/members/me", {})
        say(ada, channel, "one", "two")
        phone, laptop = connect(bob), connect(bob)
        top = phone.ok("subscribe", {"stream": channel["stream"]})["position"]["offset"]
        ack = phone.ok("read", {"channel": channel["id"], "offset": top - 1})
        (event,) = laptop.wait_for_events(f"user:{bob.id}", 1)

        assert ack["unread"] == 1
        assert event["type"] == "read.moved"
        assert event["data"] == {"channel_id": channel["id"], "offset": top - 1, "unread": 1}


class TestTokens:
    def test_a_connection_goes_on_with_a_fresh_token(self, make_client, walked_server, ada):
        """It is told that the old one ends, and stays when that has ended."""
        client = make_client()
        client.connect({"token": short_token(walked_server, ada, 4)})
        expiring = client.wait_for_packet("auth.expiring")
        ack = client.ok("auth.refresh", {"token": ada.access_token})
        end = time.monotonic() + expiring["expires_in"] + 1
        wait_until(lambda: time.monotonic() > end, deadline_s=60, what="the old token's end")

        assert expiring["expires_in"] <= 4
        assert ack["expires_in"] > 60
        assert client.named("bye") == []
        assert client.ok("subscribe", {"stream": "user:me"})

    def test_one_that_does_not_is_told_goodbye(self, make_client, walked_server, ada):
        client = make_client()
        client.connect({"token": short_token(walked_server, ada, 3)})
        bye = client.wait_for_packet("bye")
        client.wait_for_packet("disconnect")

        assert bye["code"] == "token_expired"
        assert bye["retry"] == "now"

    def test_a_token_of_somebody_else_is_refused(self, connect, ada, bob):
        error = connect(ada).refusal("auth.refresh", {"token": bob.access_token})

        assert error["code"] == "bad_request"

    def test_a_token_that_is_none_is_refused_and_the_connection_stays(self, connect, ada):
        client = connect(ada)

        assert client.refusal("auth.refresh", {"token": "x"})["code"] == "unauthorized"
        assert client.ok("subscribe", {"stream": "user:me"})


class TestLostAccess:
    def test_a_member_who_is_removed_hears_no_more(self, connect, ada, bob):
        club = make_channel(ada, kind="private", members=[bob.id])
        client = connect(bob)
        client.ok("subscribe", {"stream": club["stream"]})
        gone = ada.delete(f"/channels/{club['id']}/members/{bob.id}")
        told = client.wait_for_packet("unsubscribed")
        say(ada, club, "without Bob")

        assert gone.status_code == 204, gone.text
        assert told == {"stream": club["stream"], "code": "forbidden"}
        assert client.refusal("subscribe", {"stream": club["stream"]})["code"] == "not_found"
        assert "message.created" not in [e["type"] for e in client.events(club["stream"])]

    def test_a_deleted_channel_is_told(self, connect, ada, bob):
        club = make_channel(ada)
        client = connect(bob)
        client.ok("subscribe", {"stream": club["stream"]})
        ada.delete(f"/channels/{club['id']}")

        assert client.wait_for_packet("unsubscribed")["stream"] == club["stream"]

    def test_a_logout_ends_every_socket_of_the_session(self, connect, make_person):
        person = make_person()
        clients = [connect(person), connect(person, transports=["polling"])]
        person.post("/auth/logout")
        byes = [client.wait_for_packet("bye") for client in clients]
        for client in clients:
            client.wait_for_packet("disconnect")

        assert {bye["code"] for bye in byes} == {"token_revoked"}
        assert {bye["retry"] for bye in byes} == {"never"}

    def test_another_session_of_the_user_stays(self, connect, make_person, walked_server):
        person = make_person()
        client = connect(person)
        with RestClient(walked_server.url) as other:
            other.login(person.user["username"])
            other.post("/auth/logout")

        assert client.ok("subscribe", {"stream": "user:me"})
        assert client.named("bye") == []


class TestBadPackets:
    """Each is acked with an error, and the connection stays."""

    @pytest.mark.parametrize(
        ("event", "argument", "code"),
        [
            ("no.such.event", {}, "bad_request"),
            ("subscribe", None, "bad_request"),
            ("subscribe", "channel:lobby", "bad_request"),
            ("subscribe", ({"stream": "user:me"}, {}), "bad_request"),
            ("subscribe", {}, "invalid"),
            ("subscribe", {"stream": "user:me", "colour": "red"}, "invalid"),
            ("subscribe", {"stream": 7}, "invalid"),
            ("subscribe", {"stream": "user:me", "limit": 1001}, "invalid"),
            ("publish", {"stream": "user:me", "type": "a.b", "data": b"\x00"}, "bad_request"),
            ("message.create", {"channel": "no-such", "body": "x"}, "not_found"),
        ],
    )
    def test_it_is_acked_with(self, connect, ada, event, argument, code):
        client = connect(ada)
        error = client.refusal(event, argument)

        assert error["code"] == code
        assert error["detail"]
        assert error["retryable"] is False
        assert client.ok("subscribe", {"stream": "user:me"})

    def test_a_schema_fault_names_the_field(self, connect, ada):
        error = connect(ada).refusal("publish", {"stream": "user:me", "type": "BAD", "data": 1})

        assert [fault["field"] for fault in error["errors"]] == ["type"]

    def test_too_large_a_message(self, connect, ada, channel):
        packet = {"channel": channel["id"], "body": "x" * (64 * 1024 + 1)}

        assert connect(ada).refusal("message.create", packet)["code"] == "too_large"


class TestComingBack:
    """The clients reconnect by themselves; `resume` gives what they missed."""

    def test_after_a_restart_nothing_is_missing(self, pair, restarted, make_client_of):
        server, ada = restarted
        channel = make_channel(ada)
        client = make_client_of(server)
        client.connect({"token": ada.access_token})
        at = client.ok("subscribe", {"stream": channel["stream"]})["position"]
        say(ada, channel, "before")
        client.wait_for_events(channel["stream"], 1)
        server.stop()
        bye = client.wait_for_packet("bye")
        client.wait_for_packet("disconnect")
        seen = len(client.named("ready"))
        done = server.run("publish", channel["stream"], "while.away", "1")
        server.start()
        client.wait_for(lambda: len(client.named("ready")) > seen, "second ready")
        at = {**at, "offset": client.events(channel["stream"])[-1]["offset"]}
        ack = client.ok("resume", {"positions": {channel["stream"]: at}})
        say(ada, channel, "after")
        events = client.wait_for_events(channel["stream"], 2)

        assert done.returncode == 0, done.stderr
        assert (bye["code"], bye["retry"]) == ("draining", "later")
        resumed = ack["streams"][channel["stream"]]
        assert [event["type"] for event in resumed["events"]] == ["while.away"]
        assert bodies(events) == ["before", "after"]

    def test_after_a_crash_too(self, pair, restarted, make_client_of):
        """No goodbye, no close: the connection just ends."""
        server, ada = restarted
        channel = make_channel(ada)
        client = make_client_of(server)
        client.connect({"token": ada.access_token})
        at = client.ok("subscribe", {"stream": channel["stream"]})["position"]
        server.kill()
        client.wait_for_packet("disconnect")
        server.run("publish", channel["stream"], "while.away", "1")
        server.start()
        client.wait_for(lambda: len(client.named("ready")) > 1, "second ready")
        ack = client.ok("resume", {"positions": {channel["stream"]: at}})

        resumed = ack["streams"][channel["stream"]]
        assert [event["type"] for event in resumed["events"]] == ["while.away"]
        assert client.named("bye") == []
