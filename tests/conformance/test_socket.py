"""The socket: its handshake, `ready`, the form of each ack, presence, heartbeats, goodbyes."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.conformance.people import numbered
from tests.conformance.wire import PATIENCE_S, Json, unique

# The packets of a client, the argument of each, and what its ack holds beside `ok`.
ACKS: dict[str, tuple[Json, str]] = {
    "subscribe": ({"stream": "channel:ROOM"}, "stream position events more reset"),
    "resume": ({"positions": {}}, "streams"),
    "publish": ({"stream": "channel:ROOM", "type": "test.a", "data": 1}, "position replayed"),
    "message.create": ({"channel": "ROOM", "body": "Hello"}, "message position replayed"),
    "message.update": (
        {"channel": "ROOM", "id": "MESSAGE", "body": "Hello, all"},
        "message position replayed",
    ),
    "message.delete": ({"channel": "ROOM", "id": "MESSAGE"}, "message position replayed"),
    "typing": ({"channel": "ROOM"}, ""),
    "read": ({"channel": "ROOM", "offset": 1}, "read_offset unread"),
    "presence.set": ({"status": "away"}, ""),
    "unsubscribe": ({"stream": "channel:ROOM"}, ""),
}


class TestReady:
    def test_it_tells_who_and_where_one_is(self, ada):
        with ada.socket() as socket:
            ready = socket.ready

        assert ready.keys() >= {
            "user",
            "connection_id",
            "node",
            "server_time",
            "limits",
            "position",
        }
        assert ready["user"] == ada.user
        assert ready["position"].keys() == {"offset", "epoch"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ready["server_time"])

    def test_it_is_the_first_packet(self, ada):
        with ada.socket() as socket:
            names = [name for name, _ in socket.packets]

        assert [name for name in names if name != "other"] == ["ready"]

    def test_from_its_position_on_the_own_stream_is_watched(self, ada):
        with ada.socket() as socket:
            event = {"stream": "user:me", **numbered(1)}
            at = socket.ok("publish", event)["position"]
            if not socket.named("event"):
                socket.read_until("event")
            first = socket.named("event")[0]

        assert first["stream"] == ada.stream
        assert first["offset"] == socket.ready["position"]["offset"] + 1 == at["offset"]

    def test_the_own_stream_can_not_be_left(self, ada):
        with ada.socket() as socket:
            assert socket.refusal("unsubscribe", {"stream": "user:me"})["code"] == "forbidden"


class TestAcks:
    @pytest.mark.parametrize("name", ACKS)
    def test_each_packet_has_an_ack_of_its_form(self, ada, room, name):
        message = ada.ok("POST", f"{room.path}/messages", {"body": "Hi"})["id"]
        argument, fields = ACKS[name]
        text = {
            key: value.replace("ROOM", room.id).replace("MESSAGE", message)
            if isinstance(value, str)
            else value
            for key, value in argument.items()
        }
        with ada.socket() as socket:
            if name == "unsubscribe":
                socket.ok("subscribe", text)
            ack = socket.ok(name, text)

        assert ack.keys() == {"ok", *fields.split()}

    @pytest.mark.parametrize("name", ACKS)
    @pytest.mark.parametrize("argument", [None, 7, [], {"colour": "red"}], ids=repr)
    def test_a_malformed_packet_is_refused_in_its_ack(self, ada, name, argument):
        with ada.socket() as socket:
            error = socket.refusal(name, argument)

        assert error["code"] in ("invalid", "bad_request")

    @pytest.mark.parametrize("text", ["42", "42[", '42{"a":1}', "42[]", "42[7]", "4", "49", "x"])
    def test_garbage_does_no_harm(self, ada, bob, room, text):
        """It may cost its sender the connection, and nobody else anything."""
        with ada.socket() as bad, bob.socket() as good:
            bad.send_text(text)
            good.ok("subscribe", {"stream": room.stream})
            room.publish(1)
            assert good.read_until("event")

        with ada.socket() as again:
            assert again.ok("subscribe", {"stream": room.stream})["ok"]


class TestSubscriptions:
    def test_what_is_unsubscribed_comes_no_more(self, ada, room):
        with ada.socket() as socket:
            socket.ok("subscribe", {"stream": room.stream})
            socket.ok("unsubscribe", {"stream": room.stream})
            room.publish(1)
            socket.ok("subscribe", {"stream": "user:me"})
            socket.ok("resume", {"positions": {}})

            assert [e for e in socket.named("event") if e["stream"] == room.stream] == []

    def test_subscribed_twice_it_comes_once(self, ada, room):
        with ada.socket() as socket:
            for _ in range(3):
                socket.ok("subscribe", {"stream": room.stream})
            made = room.publish(3)
            while len(socket.named("event")) < 3:
                socket.read()

            assert socket.named("event") == made

    def test_each_connection_watches_for_itself(self, ada, room):
        with ada.socket() as one, ada.socket() as other:
            one.ok("subscribe", {"stream": room.stream})
            room.publish(1)
            one.read_until("event")
            other.ok("resume", {"positions": {}})

            assert [e for e in other.named("event") if e["stream"] == room.stream] == []


class TestPresence:
    def test_who_is_there_is_in_the_ack_and_in_rest(self, ada, bob, room):
        with ada.socket() as mine, bob.socket(1) as theirs:
            mine.ok("subscribe", {"stream": room.stream, "presence": True})
            ack = theirs.ok("subscribe", {"stream": room.stream, "presence": True})
            roster = ada.ok("GET", f"{room.path}/presence")

        assert {one["user_id"] for one in ack["presence"]["people"]} == {ada.id, bob.id}
        assert (ack["presence"]["count"], roster["count"]) == (2, 2)

    def test_who_comes_and_goes_is_signalled(self, ada, bob, room):
        """By `presence.joined` and, a little later than the end, `presence.left`."""
        with ada.socket() as mine:
            mine.ok("subscribe", {"stream": room.stream, "presence": True})
            with bob.socket() as theirs:
                theirs.ok("subscribe", {"stream": room.stream, "presence": True})
                _, joined = mine.read_until("signal")
            _, left = mine.read_until("signal")

        assert (joined["type"], joined["data"]["user_id"]) == ("presence.joined", bob.id)
        assert (left["type"], left["data"]["user_id"]) == ("presence.left", bob.id)

    def test_a_status_is_shown(self, ada, bob, room):
        with ada.socket() as mine, bob.socket() as theirs:
            mine.ok("subscribe", {"stream": room.stream, "presence": True})
            theirs.ok("presence.set", {"status": "busy"})
            theirs.ok("subscribe", {"stream": room.stream, "presence": True})
            _, joined = mine.read_until("signal")

        assert joined["data"]["status"] == "busy"


class TestTokens:
    def test_a_fresh_token_is_taken_over_an_open_socket(self, ada):
        session = ada.again()
        with session.socket() as socket:
            session.refresh()
            ack = socket.ok("auth.refresh", {"token": session.token})

        assert 0 < ack["expires_in"] <= session.expires_in

    def test_another_users_token_is_not_taken(self, ada, bob):
        with ada.socket() as socket:
            refused = socket.refusal("auth.refresh", {"token": bob.token})

        assert refused["code"] in ("bad_request", "forbidden", "unauthorized", "invalid")


class TestHeartbeats:
    def test_who_answers_pings_stays_and_who_does_not_is_cut_off(self, ada):
        """As often as the handshake said, and in the time that it said."""
        with ada.socket() as good, ada.socket(answers_pings=False) as dead:
            times = good.handshake
            assert times["pingInterval"] > 0
            assert times["pingTimeout"] > 0
            if times["pingInterval"] > 30_000:
                pytest.skip(f"a ping every {times['pingInterval']} ms is too long to wait for")
            with ThreadPoolExecutor() as pool:
                ends = pool.submit(dead.read_to_the_end)
                pool.submit(good.read_pings, 2).result()
                ends.result()

            assert dead.pings >= 1
            assert good.ok("resume", {"positions": {}})["ok"]


class TestHandshakes:
    def test_a_token_is_not_looked_for_in_the_address(self, target, ada):
        """Addresses end up in logs."""
        response = target.http(0).call("GET", f"/me?token={ada.token}")

        assert response.status_code in (401, 422)

    def test_a_session_that_nobody_knows_is_refused_with_a_reason(self, target):
        """As to a client of Engine.IO's polling whose node has gone."""
        url = f"{target.url(0)}/socket.io/?EIO=4&transport=polling&sid={unique('none')}"
        response = requests.get(url, timeout=PATIENCE_S)

        assert response.status_code == 400
        assert response.json()["message"]
