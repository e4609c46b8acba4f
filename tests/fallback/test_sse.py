"""Server-Sent Events: the same log, as it happens, from where the last id was."""

import http.client
import socket
from urllib.parse import quote

import pytest

from tests.delivery.world import Room
from tests.fallback.doors import Poller, Stream, Waiting, followers
from tests.support.client import API, registered
from tests.support.wait import wait_until


class TestTheStream:
    def test_it_begins_at_once_with_where_it_stands(self, ada):
        """So a reader that is cut off before the first event can go on as well."""
        room = Room(ada)
        with Stream(ada, streams=f"{room.stream},channel:nowhere") as stream:
            name, ready = stream.read()
            headers = stream.answer.headers

        assert name == "ready"
        assert ready["positions"] == {room.stream: room.position(2)}
        assert ready["streams"] == {room.stream: room.stream}
        assert ready["unsubscribed"] == [{"stream": "channel:nowhere", "code": "not_found"}]
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"

    def test_each_event_comes_by_itself(self, ada):
        """It is not kept until there is more to send."""
        room = Room(ada)
        with Stream(ada, streams=room.stream) as stream:
            stream.read_until("ready")
            for _ in range(3):
                room.publish(1)
                stream.read_to(room.top)

        assert stream.offsets == [3, 4, 5]

    def test_every_id_is_a_place_to_go_on_from(self, ada):
        """In this door and in the other one, after each event or none."""
        room = Room(ada)
        ids = []
        with Stream(ada, streams=room.stream) as stream:
            stream.read_until("ready")
            ids.append(stream.last_id)
            room.publish(5)
            for _ in range(5):
                stream.read_until("event")
                ids.append(stream.last_id)

        for number, cursor in enumerate(ids[:-1]):
            with Stream(ada, last_id=cursor) as again:
                again.read_to(room.top)
            assert again.offsets == list(range(3 + number, 8))
            assert Poller(ada, cursor=cursor).offsets == again.offsets

    def test_the_last_id_wins_over_what_the_address_says(self, ada):
        """A browser connects again by the address that it had at first."""
        room = Room(ada)
        with Stream(ada, streams=room.stream, history=2) as stream:
            stream.read_to(room.top)
            last = stream.last_id
        room.publish(1)
        with Stream(ada, streams=room.stream, history=2, last_id=last) as again:
            again.read_to(room.top)

        assert again.offsets == [3]

    def test_a_long_way_is_caught_up_page_by_page(self, ada):
        """More than one reading of the log, of several streams, and then live."""
        rooms = [Room(ada), Room(ada)]
        places = ",".join(f"{room.stream}@0/{room.epoch}" for room in rooms)
        for room in rooms:
            room.publish(700)
        with Stream(ada, streams=places) as stream:
            stream.read_until("ready")
            rooms[0].publish(1)
            seen: dict[str, list[int]] = {room.stream: [] for room in rooms}
            while sum(map(len, seen.values())) < 702 + 703:
                event = stream.read_until("event")
                seen[event["stream"]].append(event["offset"])

        assert seen[rooms[0].stream] == list(range(1, 704))
        assert seen[rooms[1].stream] == list(range(1, 703))

    def test_signals_and_presence_come_without_an_id(self, ada, bob):
        room = Room(ada, [bob])
        with Stream(ada, streams=room.stream, presence="true") as stream:
            stream.read_until("ready")
            last = stream.last_id
            with Stream(bob, streams=room.stream, presence="true") as other:
                other.read_until("ready")
                joined = stream.read_until("signal")
                assert bob.post(f"/channels/{room.id}/typing").status_code == 202
                typing = stream.read_until("signal")
                roster = ada.get(f"/channels/{room.id}/presence").json()

        assert (joined["type"], joined["data"]["user_id"]) == ("presence.joined", bob.id)
        assert typing["type"] == "typing"
        assert stream.last_id == last
        assert {one["user_id"] for one in roster["people"]} == {ada.id, bob.id}

    def test_who_was_thrown_out_is_present_nowhere_any_more(self, ada, bob):
        room = Room(ada, [bob])
        with Stream(bob, streams=room.stream, presence="true") as stream:
            stream.read_until("ready")
            online = ada.get("/presence", params={"users": bob.id}).json()["people"][0]["online"]
            assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204
            stream.read_until("bye")

        def is_gone() -> bool:
            people = ada.get("/presence", params={"users": bob.id}).json()["people"]
            return not people[0]["online"]

        assert online
        wait_until(is_gone, deadline_s=30, what="the end of the grace")

    def test_presence_may_be_asked_for_in_some_channels_alone(self, ada, bob):
        shown, hidden = Room(ada, [bob]), Room(ada, [bob])
        names = f"{shown.stream},{hidden.stream}"
        with Stream(bob, streams=names, presence=shown.stream) as stream:
            stream.read_until("ready")
            rosters = [ada.get(f"/channels/{r.id}/presence").json() for r in (shown, hidden)]

        assert [[one["user_id"] for one in roster["people"]] for roster in rosters] == [
            [bob.id],
            [],
        ]

    def test_silence_is_broken(self, ada):
        """Proxies take a line on which nothing comes for a dead one."""
        with Stream(ada, streams="user:me") as stream:
            stream.read_until("ready")
            for line in stream.answer.iter_lines(chunk_size=None):
                if line.startswith(b":"):
                    break
            else:
                pytest.fail("the stream ended")


class TestTickets:
    def test_one_opens_one_stream(self, ada):
        """For browsers' EventSource, which can't send a header."""
        ticket = ada.post("/auth/ticket").json()["ticket"]
        with Stream(ada, streams="user:me", ticket=ticket) as stream:
            assert stream.read()[0] == "ready"
        with Stream(ada, streams="user:me", ticket=ticket) as again:
            assert again.answer.status_code == 401


class TestAccess:
    def test_a_logout_ends_it(self, busy_server):
        with registered(busy_server.url) as who, Stream(who, streams="user:me") as stream:
            stream.read_until("ready")
            assert who.post("/auth/logout").status_code == 204
            bye = stream.read_until("bye")
            with pytest.raises(ConnectionError):
                stream.read()

        assert (bye["code"], bye["retry"]) == ("token_revoked", "never")

    def test_a_lost_membership_ends_that_stream_alone(self, ada, bob):
        room, own = Room(ada, [bob]), Room(bob)
        with Stream(bob, streams=f"{room.stream},{own.stream}") as stream:
            stream.read_until("ready")
            assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204
            lost = stream.read_until("unsubscribed")
            room.publish(1)
            own.publish(1)
            event = stream.read_until("event")

        assert lost == {"stream": room.stream, "code": "forbidden"}
        assert event["stream"] == own.stream

    def test_with_the_last_one_it_ends(self, ada, bob):
        room = Room(ada, [bob])
        with Stream(bob, streams=room.stream) as stream:
            stream.read_until("ready")
            assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204
            bye = stream.read_until("bye")

        assert (bye["code"], bye["retry"]) == ("forbidden", "never")

    def test_the_tokens_end_is_told_before_and_ends_it(self, start_server):
        server = start_server(ACCESS_TOKEN_TTL_S=3)
        with registered(server.url) as who, Stream(who, streams="user:me") as stream:
            warning = stream.read_until("auth.expiring")
            bye = stream.read_until("bye")

        assert 0 <= warning["expires_in"] <= 3
        assert (bye["code"], bye["retry"]) == ("token_expired", "now")


class TestReadersThatStall:
    def test_one_is_cut_off_and_loses_nothing(self, start_server):
        """What waits for it is bounded; the log is not."""
        server = start_server(MAX_EVENTS_PER_S=1_000_000)
        with registered(server.url) as who:
            room = Room(who)
            stalled = self.open_slowly(who, room.stream)
            wait_until(lambda: followers(who) == 1, what="the stream")
            while followers(who):
                room.publish(10, size=10_000)
            text = self.read_all(stalled)
            last = [line[4:] for line in text.splitlines() if line.startswith("id: ")][-1]
            seen = text.count("\nevent: event\n")
            with Stream(who, last_id=last) as again:
                again.read_to(room.top)

        assert again.offsets[0] <= 3 + seen
        assert again.offsets == list(range(again.offsets[0], room.top + 1))
        assert "Traceback" not in server.log

    @staticmethod
    def open_slowly(who, stream: str) -> socket.socket:
        host, port = who.url.removeprefix("http://").split(":")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.settimeout(60)
        sock.connect((host, int(port)))
        path = f"{API}/events/stream?streams={quote(stream)}"
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {who.access_token}\r\n\r\n"
        sock.sendall(head.encode())
        return sock

    @staticmethod
    def read_all(sock: socket.socket) -> str:
        """Read what is left; the last event may be a part of one."""
        parts = []
        try:
            while part := sock.recv(65536):
                parts.append(part)
        except ConnectionError:
            pass
        sock.close()
        text = b"".join(parts).decode()
        return text[: text.rindex("\n\n")]


class TestClientsThatLeave:
    def test_who_goes_away_is_let_go_of_at_once(self, ada):
        before = followers(ada)
        with Stream(ada, streams="user:me") as stream:
            stream.read_until("ready")
            assert followers(ada) == before + 1

        wait_until(lambda: followers(ada) == before, what="it to be gone")

    def test_who_wants_the_head_alone_holds_nothing(self, ada):
        before = followers(ada)

        answers = [
            ada.call("HEAD", door, params={"streams": "user:me"})
            for door in ("/events", "/events/stream")
        ]

        assert [answer.status_code for answer in answers] == [200, 200]
        assert followers(ada) == before

    def test_a_line_that_is_used_again_is_not_cut(self, busy_server):
        """The goodbye's time limit must not hit the next request of the same connection."""
        with registered(busy_server.url) as who, registered(busy_server.url) as owner:
            rooms = [Room(owner, [who]), Room(owner, [who])]
            host, port = who.url.removeprefix("http://").split(":")
            line = http.client.HTTPConnection(host, int(port), timeout=60)
            bearer = {"Authorization": f"Bearer {who.access_token}"}
            line.request("GET", f"{API}/events/stream?streams={rooms[0].stream}", headers=bearer)
            first = line.getresponse()
            assert owner.delete(f"/channels/{rooms[0].id}").status_code == 204
            assert b"event: bye" in first.read()
            place = Poller(who, streams=rooms[1].stream).cursor
            line.request("GET", f"{API}/events?cursor={place}&wait=8", headers=bearer)
            second = line.getresponse()
            assert second.status == 200
            line.close()


class TestTheEndOfTheNode:
    def test_polls_are_answered_and_streams_told_at_once(self, start_server):
        server = start_server(DRAIN_WINDOW_S=5)
        with registered(server.url) as who, Stream(who, streams="user:me") as stream:
            stream.read_until("ready")
            cursor = Poller(who, streams="user:me").cursor
            waiting = Waiting(who, cursor)
            assert server.stop() == 0
            bye = stream.read_until("bye")
            told = waiting.answer()

        assert (bye["code"], bye["retry"]) == ("draining", "later")
        assert told.status_code == 200
        assert told.json()["bye"]["code"] == "draining"
        assert told.json()["cursor"] == cursor
