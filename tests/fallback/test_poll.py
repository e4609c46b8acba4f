"""Long-poll: the same log, told as soon as there is something, to whoever may read it."""

import gzip
import json
import random
import threading
from typing import Any

import pytest
import requests

from core.event_cursor import EventCursors
from core.positions import Position
from tests.delivery.world import Room
from tests.fallback.doors import DEADLINE_S, Poller, Waiting, followers
from tests.support.client import API, registered
from tests.support.wait import wait_until


class TestTheFirstCall:
    def test_it_says_where_it_stands_and_waits_for_nothing(self, ada):
        room = Room(ada)

        reader = Poller(ada, streams=room.stream)

        assert reader.last["events"] == []
        assert reader.last["positions"] == {room.stream: room.position(room.top)}
        assert reader.last["streams"] == {room.stream: room.stream}
        assert reader.last["bye"] is None

    def test_history_gives_the_last_events_of_each_stream(self, ada):
        rooms = [Room(ada), Room(ada)]
        for room in rooms:
            room.publish(5)

        reader = Poller(ada, streams=",".join(room.stream for room in rooms), history=3)

        for room in rooms:
            offsets = [e["offset"] for e in reader.events if e["stream"] == room.stream]
            assert offsets == [5, 6, 7]

    def test_a_position_goes_on_from_there(self, ada):
        """In the form of the header that a write is answered with."""
        room = Room(ada)
        room.publish(5)

        reader = Poller(ada, streams=f"{room.stream}@3/{room.epoch}")

        assert reader.offsets == [4, 5, 6, 7]

    def test_names_are_told_in_full(self, ada):
        """One that asked by a slug finds its stream again."""
        made = ada.post("/channels", {"name": "x", "kind": "public", "slug": "s" + ada.id[-12:]})
        slug = made.json()["slug"]

        reader = Poller(ada, streams=f"channel:{slug},user:me")

        assert reader.last["streams"] == {
            f"channel:{slug}": f"channel:{made.json()['id']}",
            "user:me": f"user:{ada.id}",
        }

    def test_what_may_not_be_read_is_named_and_the_rest_works(self, ada, bob):
        mine, hers = Room(bob), Room(ada)

        reader = Poller(bob, streams=f"{hers.stream},{mine.stream},channel:nowhere", history=9)

        assert reader.last["unsubscribed"] == [
            {"stream": hers.stream, "code": "not_found"},
            {"stream": "channel:nowhere", "code": "not_found"},
        ]
        assert reader.last["positions"].keys() == {mine.stream}
        assert reader.offsets == [1, 2]

    def test_the_own_stream_comes_on_top_of_128_channels(self, ada):
        """As on a socket: who follows as many there can go on here."""
        room = Room(ada)
        names = [room.stream, "user:me", *(f"channel:none-{n}" for n in range(127))]

        reader = Poller(ada, streams=",".join(names))

        assert reader.last["positions"].keys() == {room.stream, f"user:{ada.id}"}
        assert len(reader.last["unsubscribed"]) == 127

    def test_if_nothing_may_be_read_it_is_refused(self, ada, bob):
        answer = bob.get("/events", params={"streams": Room(ada).stream})

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


class TestWaiting:
    def test_an_event_ends_it(self, ada):
        room = Room(ada)
        reader = Poller(ada, streams=room.stream)
        waiting = Waiting(ada, reader.cursor)

        room.publish(1)
        told = waiting.answer().json()

        assert [event["offset"] for event in told["events"]] == [3]
        assert told["positions"] == {room.stream: room.position(3)}

    def test_it_ends_empty_after_its_time(self, ada):
        reader = Poller(ada, streams="user:me")
        cursor = reader.cursor

        told = reader.go_on(wait=0.2)

        assert told["events"] == told["signals"] == told["resets"] == []
        assert told["cursor"] == cursor

    def test_nothing_is_missed_between_two_calls(self, ada, rng: random.Random):
        """Whatever comes while nobody waits is told with the next call."""
        room = Room(ada)
        reader = Poller(ada, streams=room.stream)
        for _ in range(10):
            room.publish(rng.randrange(1, 20))
            reader.read_to(room.top)

        assert reader.offsets == list(range(3, room.top + 1))

    def test_more_than_a_limit_comes_with_the_next_call(self, ada):
        rooms = [Room(ada), Room(ada)]
        reader = Poller(ada, streams=",".join(room.stream for room in rooms))
        for room in rooms:
            room.publish(25)

        counts = [len(reader.go_on(wait=0, limit=10)["events"]) for _ in range(6)]

        assert counts == [10, 10, 10, 10, 10, 0]
        for room in rooms:
            mine = [e["offset"] for e in reader.events if e["stream"] == room.stream]
            assert mine == list(range(3, 28))

    def test_a_signal_is_told_to_who_waits_and_to_nobody_later(self, ada, bob):
        room = Room(ada, [bob])
        reader = Poller(ada, streams=room.stream)
        waiting = Waiting(ada, reader.cursor)

        assert bob.post(f"/channels/{room.id}/typing").status_code == 202
        (signal,) = waiting.answer().json()["signals"]
        later = reader.go_on(wait=0)

        assert (signal["type"], signal["actor"]) == ("typing", bob.id)
        assert later["signals"] == []

    def test_its_cursor_is_good_for_anybody_who_may_read(self, ada, bob):
        """It names no user: access is judged anew at each call."""
        shared, hers = Room(ada, [bob]), Room(ada)
        cursor = Poller(ada, streams=f"{shared.stream},{hers.stream}").cursor
        shared.publish(1)
        hers.publish(1)

        told = bob.get("/events", params={"cursor": cursor}).json()

        assert [event["stream"] for event in told["events"]] == [shared.stream]
        assert told["unsubscribed"] == [{"stream": hers.stream, "code": "not_found"}]


class TestResets:
    def test_a_position_that_never_was_is_reset_and_then_goes_on(self, ada):
        room = Room(ada)

        reader = Poller(ada, streams=f"{room.stream}@99/{room.epoch}")
        room.publish(1)
        reader.go_on()

        at = room.position(2)
        assert Poller(ada, streams=f"{room.stream}@1/other").last["resets"][0]["reason"] == "epoch"
        assert reader.offsets == [3]
        (told,) = Poller(ada, streams=f"{room.stream}@99/{room.epoch}").last["resets"]
        assert told["stream"] == room.stream
        assert told["reason"] == "ahead"
        assert told["oldest"] == 1
        assert at["offset"] < told["position"]["offset"] == told["top"]["offset"] == 3


class TestAccess:
    def test_a_logout_ends_it(self, busy_server):
        with registered(busy_server.url) as who:
            waiting = Waiting(who, Poller(who, streams="user:me").cursor)

            assert who.post("/auth/logout").status_code == 204
            answer = waiting.answer()

        assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked")

    def test_a_lost_membership_ends_what_is_waited_for(self, ada, bob):
        room, own = Room(ada, [bob]), Room(bob)
        cursor = Poller(bob, streams=f"{room.stream},{own.stream}").cursor
        waiting = Waiting(bob, cursor)

        assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204
        room.publish(1)
        told = waiting.answer().json()

        assert told["unsubscribed"] == [{"stream": room.stream, "code": "forbidden"}]
        assert told["positions"].keys() == {own.stream}
        assert {event["type"] for event in told["events"]} <= {"member.left"}
        assert told["bye"] is None

    def test_with_its_last_stream_it_ends_for_good(self, ada, bob):
        room = Room(ada, [bob])
        waiting = Waiting(bob, Poller(bob, streams=room.stream).cursor)

        assert ada.delete(f"/channels/{room.id}").status_code == 204
        told = waiting.answer().json()
        again = bob.get("/events", params={"cursor": told["cursor"]})

        assert told["unsubscribed"] == [{"stream": room.stream, "code": "not_found"}]
        assert (told["bye"]["code"], told["bye"]["retry"]) == ("not_found", "never")
        assert again.status_code == 404

    def test_the_tokens_end_ends_it(self, start_server):
        server = start_server(ACCESS_TOKEN_TTL_S=3)
        with registered(server.url) as who:
            waiting = Waiting(who, Poller(who, streams="user:me").cursor)
            answer = waiting.answer()

        assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")

    def test_so_many_may_wait_and_no_more(self, start_server):
        server = start_server(MAX_CONNECTIONS_PER_USER=2)
        with registered(server.url) as who:
            cursor = Poller(who, streams="user:me").cursor
            waiting = [Waiting(who, cursor, wait=5) for _ in range(2)]
            refused = who.get("/events", params={"cursor": cursor})
            for one in waiting:
                assert one.answer().status_code == 200
            allowed = who.get("/events", params={"cursor": cursor, "wait": 0})

        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_connections")
        assert allowed.status_code == 200


class TestClientsThatLeave:
    def test_who_goes_away_is_let_go_of_at_once_and_counted(self, busy_server, ada):
        """Nothing has to happen for it: the node sees the end of the line."""
        cursor = Poller(ada, streams="user:me").cursor
        before = followers(ada)
        gone = gone_so_far(busy_server.url)
        answers = [
            requests.Request(
                "GET",
                f"{busy_server.url}{API}/events?wait=60",
                params={"cursor": cursor},
                headers={"Authorization": f"Bearer {ada.access_token}"},
            ).prepare()
            for _ in range(5)
        ]
        threads = [threading.Thread(target=give_up, args=(one,)) for one in answers]
        for thread in threads:
            thread.start()
        wait_until(lambda: followers(ada) == before + 5, what="five to wait")
        for thread in threads:
            thread.join()

        wait_until(lambda: followers(ada) == before, what="all to be gone", deadline_s=20)
        wait_until(lambda: gone_so_far(busy_server.url) == gone + 5, what="the count")


def give_up(request: requests.PreparedRequest) -> None:
    with requests.Session() as session, pytest.raises(requests.ReadTimeout):
        session.send(request, timeout=(DEADLINE_S, 2))


def gone_so_far(url: str) -> float:
    lines = requests.get(f"{url}/metrics", timeout=DEADLINE_S).text.splitlines()
    name = "fanfare_followers_gone_total "
    return float(next(line for line in lines if line.startswith(name)).split()[1])


class TestBadInput:
    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({}, "streams"),
            ({"streams": ""}, "streams"),
            ({"streams": "channel:a,,channel:b"}, "streams"),
            ({"streams": "channel:a@1"}, "streams"),
            ({"streams": "channel:a@x/00c0ffee"}, "streams"),
            ({"streams": "channel:a@-1/00c0ffee"}, "streams"),
            ({"streams": "channel:a@9007199254740992/00c0ffee"}, "streams.channel:a.offset"),
            ({"streams": ",".join(f"channel:c{n}" for n in range(129))}, "streams"),
            ({"streams": "user:me", "wait": "999"}, "wait"),
            ({"streams": "user:me", "wait": "-1"}, "wait"),
            ({"streams": "user:me", "wait": "nan"}, "wait"),
            ({"streams": "user:me", "limit": "0"}, "limit"),
            ({"streams": "user:me", "history": "1001"}, "history"),
            ({"streams": "user:me", "presence": "perhaps"}, "presence"),
            ({"streams": "user:me", "presence": "user:me"}, "presence"),
            ({"streams": "user:me", "presence": ""}, "presence"),
            ({"streams": "user:me", "colour": "red"}, "colour"),
            ({"cursor": "x"}, "cursor"),
        ],
        ids=lambda value: str(value)[:40],
    )
    @pytest.mark.parametrize("door", ["/events", "/events/stream"])
    def test_is_refused_by_its_field(self, ada, door, query: Any, field):
        """What a stream does not have it refuses too, as it refuses all that it does not know."""
        answer = ada.get(door, params=query)

        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
        assert answer.json()["errors"][0]["field"] == field

    def test_a_spoilt_or_foreign_cursor_is_refused(self, ada):
        good = Poller(ada, streams="user:me").cursor
        foreign = EventCursors("another secret of another server").write(
            {f"user:{ada.id}": Position(1, "00c0ffee")}
        )
        spoilt = [good[:-1], good[1:], good + "A", good[:9] + "é" + good[10:], foreign]

        answers = [ada.get("/events", params={"cursor": cursor}) for cursor in spoilt]

        assert [answer.status_code for answer in answers] == [422] * len(spoilt)

    def test_a_stranger_is_not_told_what_is_wrong(self, busy_server):
        answer = requests.get(f"{busy_server.url}{API}/events?colour=red", timeout=DEADLINE_S)

        assert answer.status_code == 401


class TestTheAnswer:
    def test_it_is_kept_by_nobody(self, ada):
        answer = ada.get("/events", params={"streams": "user:me"})

        assert answer.headers["Cache-Control"] == "no-store"

    def test_it_is_packed_for_who_takes_that(self, busy_server, ada):
        room = Room(ada)
        room.publish(30)
        packed = self.raw(ada, room, "gzip, deflate")
        plain = self.raw(ada, room, "identity")
        small = ada.get("/events", params={"streams": room.stream})

        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in plain.headers
        assert "Content-Encoding" not in small.headers
        body = packed.raw.read()
        assert len(body) * 2 < len(plain.content)
        events = [json.loads(it)["events"] for it in (gzip.decompress(body), plain.content)]
        assert events[0] == events[1]

    @staticmethod
    def raw(who, room: Room, encoding: str) -> requests.Response:
        return requests.get(
            f"{who.url}{API}/events",
            params={"streams": room.stream, "history": "30"},
            headers={
                "Authorization": f"Bearer {who.access_token}",
                "Accept-Encoding": encoding,
            },
            stream=encoding != "identity",
            timeout=DEADLINE_S,
        )


class TestCursorsOfPositions:
    def test_they_go_on_where_a_socket_stopped(self, ada):
        room = Room(ada)
        room.publish(5)

        made = ada.post(
            "/events/cursor", {"streams": {room.stream: room.position(4), "user:me": None}}
        ).json()
        told = ada.get("/events", params={"cursor": made["cursor"]}).json()

        assert made["positions"][room.stream] == room.position(4)
        assert made["streams"]["user:me"] == f"user:{ada.id}"
        assert [event["offset"] for event in told["events"]] == [5, 6, 7]

    def test_what_may_not_be_read_is_left_out(self, ada, bob):
        hers, his = Room(ada), Room(bob)
        made = bob.post("/events/cursor", {"streams": {hers.stream: None, his.stream: None}})
        refused = bob.post("/events/cursor", {"streams": {hers.stream: None}})

        assert made.json()["unsubscribed"] == [{"stream": hers.stream, "code": "not_found"}]
        assert made.json()["positions"] == {his.stream: his.position(2)}
        assert refused.status_code == 404

    @pytest.mark.parametrize(
        "streams", [{}, {f"channel:c{n}": None for n in range(129)}, {"user:me": 7}, [], None]
    )
    def test_other_things_are_refused(self, ada, streams):
        answer = ada.post("/events/cursor", {"streams": streams})

        assert answer.json()["code"] == "invalid"
