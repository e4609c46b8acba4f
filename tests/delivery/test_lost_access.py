"""Access that ends takes effect on open sockets, also on one that is just subscribing.

A race may end either way, but not in between: who has lost access ends up without the stream.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.delivery.raw import Packet, RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.support.client import RestClient, registered

RACES = 50
DEADLINE_S = 60


def is_named(name: str) -> Any:
    """Make what `read_until` asks: is it a packet of that name?"""
    return lambda packet: packet[0] == name


def after_a_round_trip(connection: RawSocket) -> list[Packet]:
    """Have a packet acked, and give all that came before that ack since the last look."""
    connection.packets.clear()
    connection.call("nonsense", {})
    return connection.packets[:-1]


class TestMembership:
    def test_who_is_removed_is_unsubscribed_and_told(self, busy_server, ada, bob):
        room = Room(ada, [bob])
        with RawSocket(busy_server.url, bob.access_token) as connection:
            connection.ok("subscribe", {"stream": room.stream})
            assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204
            told = connection.read_until(is_named("unsubscribed"))[1]
            room.publish(1)
            rest = after_a_round_trip(connection)
            again = connection.call("subscribe", {"stream": room.stream})
            left = connection.call("unsubscribe", {"stream": room.stream})

        assert told == {"stream": room.stream, "code": "forbidden"}
        assert [p for p in rest if p[0] == "event" and p[1]["stream"] == room.stream] == []
        assert again["error"]["code"] == "not_found"
        assert left["error"]["code"] == "not_found"

    def test_every_connection_of_who_is_removed_is_told_and_no_other(self, busy_server, ada, bob):
        room = Room(ada, [bob])
        with ExitStack() as stack:
            hers, *his = [
                stack.enter_context(RawSocket(busy_server.url, who.access_token))
                for who in (ada, bob, bob)
            ]
            for connection in (hers, *his):
                connection.ok("subscribe", {"stream": room.stream})
            assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204
            for connection in his:
                connection.read_until(is_named("unsubscribed"))
            room.publish(1)
            hers.read_until(lambda p: p[0] == "event" and p[1]["type"] == "test.made")

            assert hers.named("unsubscribed") == []

    def test_who_leaves_is_unsubscribed_too(self, busy_server, ada, bob):
        room = Room(ada, [bob])
        with RawSocket(busy_server.url, bob.access_token) as connection:
            connection.ok("subscribe", {"stream": room.stream})
            assert bob.delete(f"/channels/{room.id}/members/me").status_code == 204

            told = connection.read_until(is_named("unsubscribed"))[1]

        assert told["stream"] == room.stream

    def test_who_comes_back_resumes_and_misses_nothing(self, busy_server, ada, bob):
        """The log is the same for all who may read it."""
        room = Room(ada, [bob])
        reader = Reader(room.stream)
        with RawSocket(busy_server.url, bob.access_token) as connection:
            reader.subscribe(connection)
            room.publish(2)
            reader.read_to(connection, room.top)
            assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204
            while not connection.named("unsubscribed"):
                reader.take_packet(connection.read())
            room.publish(2)
            assert ada.put(f"/channels/{room.id}/members/{bob.id}", {}).status_code == 201
            reader.subscribe(connection)
            room.publish(1)
            reader.read_to(connection, room.top)

        assert reader.offsets == list(range(4, room.top + 1))

    def test_a_subscribe_that_races_with_the_removal_never_stays(self, busy_server, ada, bob):
        """Refused, or unsubscribed right after: in the end nothing comes any more."""
        with (
            RawSocket(busy_server.url, bob.access_token) as connection,
            ThreadPoolExecutor(1) as pool,
        ):
            endings = [self.race(connection, pool, ada, bob, n) for n in range(RACES)]

        assert set(endings) <= {"refused", "unsubscribed"}

    @staticmethod
    def race(
        connection: RawSocket, pool: Any, ada: RestClient, bob: RestClient, number: int
    ) -> str:
        room = Room(ada, [bob])
        together = threading.Barrier(2)

        def remove() -> None:
            together.wait(DEADLINE_S)
            assert ada.delete(f"/channels/{room.id}/members/{bob.id}").status_code == 204

        removal = pool.submit(remove)
        together.wait(DEADLINE_S)
        connection.packets.clear()
        if number % 2:
            ack = connection.call("subscribe", {"stream": room.stream})
        else:
            positions = {"positions": {room.stream: room.position(0)}}
            ack = connection.ok("resume", positions)["streams"][room.stream]
        removal.result(DEADLINE_S)
        if ack["ok"]:
            gone = {"stream": room.stream, "code": "forbidden"}
            while gone not in connection.named("unsubscribed"):
                connection.read()
        else:
            assert ack["error"]["code"] == "not_found", ack
        room.publish(1)
        late = [packet for packet in after_a_round_trip(connection) if packet[0] == "event"]
        assert [data for _, data in late if data["stream"] == room.stream] == []
        return "unsubscribed" if ack["ok"] else "refused"


class TestDeletedChannel:
    def test_watchers_get_the_event_and_are_unsubscribed(self, busy_server, ada, bob):
        room = Room(ada, [bob])
        reader = Reader(room.stream)
        with RawSocket(busy_server.url, bob.access_token) as connection:
            reader.subscribe(connection)
            assert ada.delete(f"/channels/{room.id}").status_code == 204
            while not connection.named("unsubscribed"):
                reader.take_packet(connection.read())
            again = connection.call("subscribe", {"stream": room.stream})

        assert [event["type"] for event in reader.seen] == ["channel.deleted"]
        assert connection.named("unsubscribed") == [{"stream": room.stream, "code": "not_found"}]
        assert again["error"]["code"] == "not_found"

    def test_a_subscribe_that_races_with_the_deletion_never_stays(self, busy_server, ada, bob):
        """Nobody watches a stream that can't be published to: the room it takes would leak."""
        with (
            RawSocket(busy_server.url, bob.access_token) as connection,
            ThreadPoolExecutor(1) as pool,
        ):
            for _ in range(RACES // 2):
                room = Room(ada, [bob])
                together = threading.Barrier(2)

                def delete(room=room, together=together) -> None:
                    together.wait(DEADLINE_S)
                    assert ada.delete(f"/channels/{room.id}").status_code == 204

                deletion = pool.submit(delete)
                together.wait(DEADLINE_S)
                ack = connection.call("subscribe", {"stream": room.stream})
                deletion.result(DEADLINE_S)
                if ack["ok"]:
                    gone = {"stream": room.stream, "code": "not_found"}
                    while gone not in connection.named("unsubscribed"):
                        connection.read()
                left = connection.call("unsubscribe", {"stream": room.stream})
                connection.packets.clear()

                assert ack["ok"] or ack["error"]["code"] == "not_found"
                assert left["error"]["code"] == "not_found"


class TestSession:
    def test_a_logout_ends_its_sockets_and_leaves_other_sessions_alone(self, busy_server):
        with registered(busy_server.url) as phone, RestClient(busy_server.url) as laptop:
            assert laptop.login(phone.user["username"]).ok
            with ExitStack() as stack:
                mine = [
                    stack.enter_context(RawSocket(busy_server.url, phone.access_token))
                    for _ in range(2)
                ]
                other = stack.enter_context(RawSocket(busy_server.url, laptop.access_token))
                assert phone.post("/auth/logout").status_code == 204
                for connection in mine:
                    connection.read_to_the_end()
                answer = other.call("nonsense", {})

                assert [bye["code"] for connection in mine for bye in connection.named("bye")] == [
                    "token_revoked"
                ] * 2
                assert all(bye["retry"] == "never" for bye in mine[0].named("bye"))
                assert other.named("bye") == []
                assert answer["error"]["code"] == "bad_request"

    def test_nothing_is_delivered_after_the_goodbye(self, busy_server, ada):
        with registered(busy_server.url) as who:
            room = Room(ada, [who])
            with RawSocket(busy_server.url, who.access_token) as connection:
                connection.ok("subscribe", {"stream": room.stream})
                assert who.post("/auth/logout").status_code == 204
                room.publish(5)
                connection.read_to_the_end()

        names = [name for name, _ in connection.packets]
        assert set(names[names.index("bye") + 1 :]) <= {"close", "disconnect", "other"}

    @pytest.mark.parametrize("packet", ["subscribe", "connect"])
    def test_what_races_with_a_logout_does_not_stay(self, busy_server, ada, packet):
        """A connect or a subscribe in the same moment: the socket is closed all the same."""
        with ThreadPoolExecutor(1) as pool, registered(busy_server.url) as who:
            room = Room(ada, [who])
            for _ in range(10):
                assert who.login(who.user["username"]).ok
                self.race(busy_server.url, pool, who, room, packet)

    @staticmethod
    def race(url: str, pool: Any, who: RestClient, room: Room, packet: str) -> None:
        together = threading.Barrier(2)

        def log_out() -> None:
            together.wait(DEADLINE_S)
            assert who.post("/auth/logout").status_code == 204

        early = RawSocket(url, who.access_token) if packet == "subscribe" else None
        logout = pool.submit(log_out)
        together.wait(DEADLINE_S)
        try:
            connection = early or RawSocket(url, who.access_token)
        except ConnectionError:
            logout.result(DEADLINE_S)
            return
        with connection:
            for _ in range(5):
                try:
                    connection.send("subscribe", {"stream": room.stream})
                except OSError:
                    break
            logout.result(DEADLINE_S)
            connection.read_to_the_end()  # or the test fails at the deadline
            room.publish(1)

            assert [bye["code"] for bye in connection.named("bye")] in ([], ["token_revoked"])


class TestSignals:
    """Who may signal is remembered for a moment, and forgotten when it changes."""

    @pytest.mark.parametrize("name", ["typing", "publish"])
    @pytest.mark.parametrize("loss", ["guest", "removed"])
    def test_who_may_not_post_any_more_signals_no_more(self, busy_server, ada, bob, name, loss):
        room = Room(ada, [bob])
        ephemeral = {"stream": room.stream, "type": "cursor.moved", "data": 1, "ephemeral": True}
        packet = {"channel": room.id} if name == "typing" else ephemeral
        with RawSocket(busy_server.url, bob.access_token) as connection:
            before = connection.call(name, packet)
            place = f"/channels/{room.id}/members/{bob.id}"
            answer = ada.put(place, {"role": loss}) if loss == "guest" else ada.delete(place)
            after = connection.call(name, packet)

        assert answer.ok
        assert before["ok"]
        assert after["error"]["code"] == {"guest": "forbidden", "removed": "not_found"}[loss]
