"""What must not be let in, and what must not stop a node: said clearly, counted, and survived."""

import contextlib
import struct
from typing import Any

import pytest
import redis
import requests

from cluster.ports import LOOPBACK, free_port
from cluster.redis import RedisOptions, RedisServer
from realtime import bus_redis
from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.nodes.world import Trio
from tests.support import needs
from tests.support.client import registered
from tests.support.server import Server, ServerFailedError
from tests.support.wait import wait_until

PASSWORD = "the-right-and-secret-word"
WRONG = "a-wrong-but-secret-word"


def get(url: str) -> requests.Response:
    return requests.get(url, timeout=30)


class TestWrongPassword:
    @pytest.mark.parametrize("given", [WRONG, ""], ids=["wrong", "none"])
    def test_a_node_ends_at_once_says_why_and_tells_no_secret(self, given, tmp_path):
        """It will not come right by waiting."""
        needs.require_redis()
        with RedisServer(RedisOptions(password=PASSWORD)) as server:
            url = f"redis://:{given}@{server.address}/0" if given else f"redis://{server.address}/0"
            with pytest.raises(ServerFailedError), Server(instance=tmp_path, REDIS_URL=url) as node:
                node.close()
            said = (tmp_path / "server.log").read_text()

        assert "REDIS_URL" in said
        assert "refuses" in said
        assert "Traceback" not in said
        assert WRONG not in said
        assert PASSWORD not in said

    def test_the_right_one_is_taken(self, tmp_path):
        needs.require_redis()
        options = RedisOptions(password=PASSWORD)
        with (
            RedisServer(options) as server,
            Server(instance=tmp_path, REDIS_URL=server.url) as node,
        ):
            node.wait_until_ready()

            assert PASSWORD not in node.log


class TestRedisIsNotThere:
    def test_a_node_starts_says_so_is_not_ready_and_becomes_it(self, tmp_path):
        """It serves what it can: REST, and watchers of this node. It must not be restarted."""
        needs.require_redis()
        port = free_port()
        with Server(instance=tmp_path, REDIS_URL=f"redis://{LOOPBACK}:{port}/0") as node:
            unready = get(f"{node.url}/readyz")
            alive = get(f"{node.url}/healthz")
            with registered(node.url) as who:
                room = Room(who)
                reader = Reader(room.stream)
                with RawSocket(node.url, who.access_token) as connection:
                    reader.subscribe(connection)
                    room.publish(5)
                    reader.read_to(connection, room.top)
            with RedisServer(RedisOptions(port=port)):
                node.wait_until_ready()

            assert unready.status_code == 503
            assert "bus" in unready.json()["detail"]
            assert alive.status_code == 200
            assert "Redis does not answer" in node.log

    def test_it_says_so_again_when_redis_goes(self, tmp_path):
        """Readiness turns red within seconds, liveness never."""
        needs.require_redis()
        with RedisServer() as server, Server(instance=tmp_path, REDIS_URL=server.url) as node:
            node.wait_until_ready()
            with server.frozen():
                wait_until(lambda: not node.is_ready(), deadline_s=30, what="a red light")
                said = get(f"{node.url}/readyz").json()["detail"]
                alive = get(f"{node.url}/healthz").status_code
            node.wait_until_ready()

        assert said == "Not ready: bus."
        assert alive == 200


class TestManyWorkersAndPolling:
    def test_are_refused_together_with_what_to_do(self, tmp_path):
        """A session of polling lives in one process; a client would lose it at every call."""
        settings: dict[str, Any] = {"WORKERS": 4, "TRANSPORTS": "websocket,polling"}
        with contextlib.closing(
            Server(instance=tmp_path, REDIS_URL="redis://localhost:1/0", **settings)
        ) as node:
            done = node.run("check-config")

        assert done.returncode == 2
        assert "TRANSPORTS=websocket" in done.stderr
        assert "WORKERS=1" in done.stderr


class TestAnotherVersion:
    """A node of another version, as during a deployment: what it says is not understood."""

    def test_its_hints_are_dropped_and_counted_and_events_come_from_the_log(
        self, three_nodes: Trio, ada
    ):
        room = Room(ada)
        reader = Reader(room.stream)
        newer = struct.pack("!BBBQ", bus_redis.VERSION + 1, 0, 0, 0) + b"new words"
        with RawSocket(three_nodes.urls[1], ada.access_token) as connection:
            reader.subscribe(connection)
            three_nodes.wait_until_heard(room.stream, 1)
            before = three_nodes.metric(1, "fanfare_bus_strange_total")
            hints = three_nodes.metric(1, "fanfare_bus_hints_total")
            (channel,) = three_nodes.channels(room.stream)
            with redis.Redis.from_url(three_nodes.redis.url) as client:
                for _ in range(3):
                    client.publish(channel, newer)
            room.publish(3)
            reader.read_to(connection, room.top)
            after = three_nodes.metric(1, "fanfare_bus_strange_total")
            heard = three_nodes.metric(1, "fanfare_bus_hints_total") - hints

        assert after - before == 3
        assert heard == 3
        assert reader.offsets == [3, 4, 5]

    def test_an_event_whose_hint_nobody_understands_is_compared_for(self, three_nodes: Trio, ada):
        """As if it was lost: here it is committed where no hint is sent from."""
        room = Room(ada)
        reader = Reader(room.stream)
        with RawSocket(three_nodes.urls[1], ada.access_token) as connection:
            reader.subscribe(connection)
            three_nodes.wait_until_heard(room.stream, 1)
            # A command of its own knows no bus: what it commits is told to nobody.
            done = three_nodes.nodes[0].run("publish", room.stream, "test.made", "1")
            assert done.returncode == 0, done.stderr
            reader.read_to(connection, room.top + 1)

        assert reader.offsets == [3]
