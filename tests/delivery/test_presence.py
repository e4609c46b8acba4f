"""Presence at the doors of a running server: who is shown, who is told, and who may not know."""

from collections.abc import Iterator
from typing import Any

import pytest

from core.ids import new_id
from tests.delivery.raw import Packet, RawSocket
from tests.delivery.world import Room
from tests.support.client import RestClient, registered
from tests.support.wait import wait_until


@pytest.fixture
def room(ada: RestClient, bob: RestClient) -> Room:
    """A private channel of Ada's and Bob's."""
    return Room(ada, [bob])


@pytest.fixture
def eve(busy_server: Any) -> Iterator[RestClient]:
    """Somebody who has no business in the room."""
    with registered(busy_server.url) as client:
        yield client


def signals(connection: RawSocket) -> list[tuple[str, Any]]:
    """What was told of presence so far, once a packet went to the server and back."""
    connection.call("nonsense", {})
    return [
        (data["type"].removeprefix("presence."), data["data"])
        for data in connection.named("signal")
        if data["type"].startswith("presence.")
    ]


def is_signal(what: str) -> Any:
    def fits(packet: Packet) -> bool:
        return packet[0] == "signal" and packet[1]["type"] == f"presence.{what}"

    return fits


def enter(connection: RawSocket, room: Room) -> Any:
    """Subscribe with presence; give the roster."""
    return connection.ok("subscribe", {"stream": room.stream, "presence": True})["presence"]


def is_empty(client: RestClient, path: str) -> Any:
    return lambda: client.get(path).json()["count"] == 0


def names(roster: Any) -> list[str]:
    return [person["user_id"] for person in roster["people"]]


class TestSubscribe:
    def test_the_ack_has_the_roster_and_oneself_in_it(self, busy_server, ada, bob, room):
        with (
            RawSocket(busy_server.url, ada.access_token) as hers,
            RawSocket(busy_server.url, bob.access_token) as his,
        ):
            first, second = enter(hers, room), enter(his, room)
            told = hers.read_until(is_signal("joined"))[1]
            rest = ada.get(f"/channels/{room.id}/presence").json()
            sync = bob.get(f"/channels/{room.id}/sync").json()["presence"]

            assert names(first) == [ada.id]
            assert names(second) == [ada.id, bob.id]
            assert second == rest == sync
            assert told["actor"] == bob.id
            assert told["stream"] == room.stream
            assert told["data"]["count"] == 2
            assert signals(his) == []

    def test_without_it_one_is_not_shown_and_not_told(self, busy_server, ada, bob, room):
        with (
            RawSocket(busy_server.url, ada.access_token) as hers,
            RawSocket(busy_server.url, bob.access_token) as his,
        ):
            ack = hers.ok("subscribe", {"stream": room.stream})
            roster = enter(his, room)
            his.ok("presence.set", {"status": "busy"})

            assert "presence" not in ack
            assert names(roster) == [bob.id]
            assert signals(hers) == []

    def test_more_to_come_is_not_present_yet(self, busy_server, ada, room):
        room.publish(3)
        with RawSocket(busy_server.url, ada.access_token) as hers:
            wish = {"stream": room.stream, "presence": True, "limit": 1, "after": room.position(0)}
            ack = hers.ok("subscribe", wish)
            roster = ada.get(f"/channels/{room.id}/presence").json()

        assert ack["more"]
        assert "presence" not in ack
        assert roster == {"count": 0, "people": []}

    def test_the_last_subscribe_says_whether_one_is_present(self, busy_server, ada, bob, room):
        with (
            RawSocket(busy_server.url, ada.access_token) as hers,
            RawSocket(busy_server.url, bob.access_token) as his,
        ):
            enter(hers, room)
            enter(his, room)
            his.ok("subscribe", {"stream": room.stream})
            left = hers.read_until(is_signal("left"))[1]["data"]

            assert left == {"user_id": bob.id, "count": 1}
            hers.ok("presence.set", {"status": "busy"})
            assert signals(his) == []

    def test_resume_restores_it_where_it_is_asked_for(self, busy_server, ada, room):
        other = Room(ada, [])
        positions = {r.stream: r.position(0) for r in (room, other)}
        with RawSocket(busy_server.url, ada.access_token) as hers:
            acks = hers.ok("resume", {"positions": positions, "presence": [room.stream]})["streams"]

            assert names(acks[room.stream]["presence"]) == [ada.id]
            assert "presence" not in acks[other.stream]
            assert ada.get(f"/channels/{other.id}/presence").json()["count"] == 0

    @pytest.mark.parametrize(
        ("name", "packet"),
        [
            ("subscribe", {"stream": "user:me", "presence": True}),
            ("subscribe", {"stream": "channel:x", "presence": 1}),
            ("resume", {"positions": {}, "presence": ["channel:x"]}),
            ("resume", {"positions": {}, "presence": "channel:x"}),
            ("presence.set", {}),
            ("presence.set", {"status": ""}),
            ("presence.set", {"status": "Away"}),
            ("presence.set", {"status": "x" * 33}),
            ("presence.set", {"status": "away\n"}),
            ("presence.set", {"status": None}),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, busy_server, ada, name, packet):
        with RawSocket(busy_server.url, ada.access_token) as hers:
            ack = hers.call(name, packet)

        assert ack["error"]["code"] == "invalid"


class TestSignals:
    def test_tabs_are_one_person(self, busy_server, ada, bob, room):
        with (
            RawSocket(busy_server.url, ada.access_token) as hers,
            RawSocket(busy_server.url, bob.access_token) as one,
            RawSocket(busy_server.url, bob.access_token) as two,
        ):
            enter(hers, room)
            enter(one, room)
            roster = enter(two, room)
            one.ok("unsubscribe", {"stream": room.stream})
            told = signals(hers)
            two.ok("unsubscribe", {"stream": room.stream})
            hers.read_until(is_signal("left"))

            assert roster["people"][1]["connections"] == 2
            assert roster["people"][1]["devices"] == 1
            assert [what for what, _ in told] == ["joined"]

    def test_a_status_is_told_and_kept(self, busy_server, ada, bob, room):
        with (
            RawSocket(busy_server.url, ada.access_token) as hers,
            RawSocket(busy_server.url, bob.access_token) as his,
        ):
            enter(hers, room)
            enter(his, room)
            his.ok("presence.set", {"status": "x" * 32})
            told = hers.read_until(is_signal("updated"))[1]["data"]
            people = ada.get(f"/channels/{room.id}/presence").json()["people"]

            assert (told["user_id"], told["status"]) == (bob.id, "x" * 32)
            assert people[1]["status"] == "x" * 32

    def test_a_reconnect_is_seen_by_nobody(self, busy_server, ada, bob, room):
        """Not even where the first connection broke without a word."""
        with RawSocket(busy_server.url, ada.access_token) as hers:
            enter(hers, room)
            for _ in range(5):
                with RawSocket(busy_server.url, bob.access_token) as his:
                    enter(his, room)
            told = hers.read_until(is_signal("left"))[1]["data"]

            assert told == {"user_id": bob.id, "count": 1}
            assert [what for what, _ in signals(hers)] == ["joined", "left"]


class TestAccess:
    def test_a_stranger_can_not_read_who_is_in_a_private_channel(self, busy_server, ada, eve, room):
        with (
            RawSocket(busy_server.url, ada.access_token) as hers,
            RawSocket(busy_server.url, eve.access_token) as evil,
        ):
            enter(hers, room)
            answers = [eve.get(f"/channels/{room.id}/{what}") for what in ("presence", "sync")]
            wish = {"stream": room.stream, "presence": True}
            ack = evil.call("subscribe", wish)
            positions = {room.stream: room.position(0)}
            acks = evil.ok("resume", {"positions": positions, "presence": [room.stream]})
            roster = ada.get(f"/channels/{room.id}/presence").json()

            assert [answer.status_code for answer in answers] == [404, 404]
            assert ack["error"]["code"] == "not_found"
            assert acks["streams"][room.stream]["error"]["code"] == "not_found"
            assert names(roster) == [ada.id]
            assert signals(evil) == []

    def test_nobody_reads_it_without_a_token(self, busy_server, room):
        with RestClient(busy_server.url) as nobody:
            for path in (f"/channels/{room.id}/presence", "/presence?users=x"):
                assert nobody.get(path).status_code == 401

    def test_who_is_removed_leaves_at_once_and_is_told_nothing_more(
        self, busy_server, ada, bob, room
    ):
        with (
            RawSocket(busy_server.url, ada.access_token) as hers,
            RawSocket(busy_server.url, bob.access_token) as his,
        ):
            enter(hers, room)
            enter(his, room)
            assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204
            told = hers.read_until(is_signal("left"))[1]["data"]
            hers.ok("presence.set", {"status": "busy"})

            assert told == {"user_id": bob.id, "count": 1}
            assert signals(his) == []

    def test_who_logs_out_leaves_at_once(self, busy_server, ada, room):
        with registered(busy_server.url) as guest:
            assert ada.put(f"/channels/{room.id}/members/{guest.id}", {}).status_code == 201
            with (
                RawSocket(busy_server.url, ada.access_token) as hers,
                RawSocket(busy_server.url, guest.access_token) as theirs,
            ):
                enter(hers, room)
                enter(theirs, room)
                assert guest.post("/auth/logout").status_code == 204
                path = f"/channels/{room.id}/presence"
                wait_until(lambda: ada.get(path).json()["count"] == 1)
                roster = ada.get(path).json()

        assert names(roster) == [ada.id]

    def test_who_enters_while_removed_does_not_stay(self, busy_server, ada, bob):
        """The two may race; a ghost may not be left."""
        with RawSocket(busy_server.url, bob.access_token) as his:
            rooms = [Room(ada, [bob]) for _ in range(15)]
            for room in rooms:
                sent = his.send("subscribe", {"stream": room.stream, "presence": True})
                assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204
                his.read_ack(sent)
            for room in rooms:
                path = f"/channels/{room.id}/presence"
                wait_until(is_empty(ada, path), deadline_s=30)


class TestOnline:
    def test_who_has_a_socket_is_online(self, busy_server, ada):
        with registered(busy_server.url) as guest:
            path = f"/presence?users={guest.id},me,{new_id()},nonsense,{guest.id}"
            before = guest.get(path).json()["people"]
            with RawSocket(busy_server.url, guest.access_token):
                wait_until(lambda: guest.get(path).json()["people"][0]["online"])
                after = ada.get(f"/presence?users={guest.id}").json()["people"]

        assert [one["online"] for one in before] == [False, False, False]
        assert before[0]["user_id"] == guest.id
        assert (after[0]["status"], after[0]["online"]) == ("online", True)

    @pytest.mark.parametrize(
        "query", ["", "?users=", "?users=,", "?users=" + ",".join([f"x{n}" for n in range(101)])]
    )
    def test_too_few_and_too_many_are_refused(self, ada, query):
        assert ada.get(f"/presence{query}").json()["code"] == "invalid"

    def test_it_has_an_etag(self, ada):
        first = ada.get("/presence?users=nobody")
        again = ada.get("/presence?users=nobody", headers={"If-None-Match": first.headers["ETag"]})

        assert again.status_code == 304
