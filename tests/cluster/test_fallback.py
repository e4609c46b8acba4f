"""Long-poll and SSE behind the nginx of `make cluster`: no call goes where the one before went.

Which node answered is read from nginx's own log, and from what a stream says of itself.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest
import requests

from api.schemas import PollQuery
from cluster.cluster import Cluster, ClusterOptions
from cluster.nodes import ROOT, Node
from cluster.postgres import find_binaries
from realtime.sse import BEAT_S
from tests.delivery.world import Room
from tests.fallback.doors import Poller, Stream
from tests.support import needs
from tests.support.client import API, RestClient, registered
from tests.support.wait import wait_until

DEADLINE_S = 120.0
POLL = f"{API}/events"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
    needs.require_redis()
    needs.require_nginx()
    with Cluster(ClusterOptions(fsync=False, settings={"RATE_LIMITS": "off"})) as running:
        yield running


@pytest.fixture
def whole(cluster: Cluster) -> Cluster:
    """The cluster with every node running, whatever the test before did to them."""
    for node in cluster.nodes:
        if not node.is_running():
            node.start()
    for node in cluster.nodes:
        node.wait_until_ready()
    return cluster


@pytest.fixture
def ada(whole: Cluster) -> Iterator[RestClient]:
    with registered(whole.url) as client:
        yield client


def nodes_of(cluster: Cluster, path: str) -> list[tuple[str, int]]:
    """Give the node and the status of each call of a path, in order, as nginx tells them."""
    assert cluster.nginx is not None
    names = {f"127.0.0.1:{node.port}": node.name for node in cluster.nodes}
    lines = [json.loads(line) for line in cluster.nginx.access_log.splitlines()]
    # Where more than one was asked, the last one answered.
    return [
        (names[line["node"].split(", ")[-1]], line["status"])
        for line in lines
        if line["path"] == path
    ]


def node_named(cluster: Cluster, name: str) -> Node:
    """Give the node that says this of itself: its name, and what it drew at its start."""
    return next(node for node in cluster.nodes if node.name == name.partition("-")[0])


class Traveller(threading.Thread):
    """Follows a stream by one door through nginx, and obeys `bye`; anything else is an error."""

    def __init__(self, who: RestClient, room: Room, door: str) -> None:
        super().__init__(daemon=True)
        self.room = room
        self.errors: list[str] = []
        self.byes: list[Any] = []
        self.offsets: list[int] = []
        self.calls = 0
        self._who = RestClient(who.url, token=who.access_token, timeout_s=DEADLINE_S)
        self._go = {"poll": self._poll, "sse": self._stream}[door]
        self._cursor = Poller(self._who, streams=room.stream).cursor
        self._told_to_stop = threading.Event()

    def run(self) -> None:
        """Follow until told to stop."""
        try:
            while not self._told_to_stop.is_set() and not self.errors:
                self.calls += 1
                bye = self._go()
                if bye is not None:
                    self.byes.append(bye)
                    self._told_to_stop.wait(bye["retry_after"])
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            self.errors.append(repr(error))

    def stop(self) -> None:
        """Have it end with the next event."""
        self._told_to_stop.set()

    def _poll(self) -> Any:
        answer = self._who.get("/events", params={"cursor": self._cursor, "wait": 20})
        if answer.status_code != 200:
            self.errors.append(f"{answer.status_code} {answer.text}")
            return None
        told = answer.json()
        self._cursor = told["cursor"]
        self.offsets += [event["offset"] for event in told["events"]]
        return told["bye"]

    def _stream(self) -> Any:
        with Stream(self._who, last_id=self._cursor) as stream:
            if stream.answer.status_code != 200:
                self.errors.append(f"{stream.answer.status_code} {stream.answer.text}")
                return None
            while not self._told_to_stop.is_set():
                name, data = stream.read()
                self._cursor = stream.last_id
                if name == "event":
                    self.offsets.append(data["offset"])
                elif name == "bye":
                    return data
        return None


class TestPolls:
    def test_each_lands_on_another_node_and_all_is_told(self, whole, ada):
        """No two in a row at one node, and every node has its part."""
        room = Room(ada)
        before = len(nodes_of(whole, POLL))
        reader = Poller(ada, streams=room.stream)
        for _ in range(12):
            room.publish(2)
            reader.read_to(room.top)
        asked = nodes_of(whole, POLL)[before:]

        names = [name for name, _status in asked]
        assert reader.offsets == list(range(3, room.top + 1))
        assert {status for _name, status in asked} == {200}
        assert set(names) == {"n1", "n2", "n3"}
        changes = [one != other for one, other in pairwise(names)]
        assert changes.count(False) <= 2

    def test_whose_node_is_killed_while_it_waits_goes_on_at_another(self, whole, ada):
        """The proxy asks the next one by itself; later than that, the client does."""
        room = Room(ada)
        reader = Poller(ada, streams=room.stream)
        answers: list[requests.Response] = []
        waiting = threading.Thread(
            target=lambda: answers.append(
                ada.get("/events", params={"cursor": reader.cursor, "wait": 60}, timeout=DEADLINE_S)
            )
        )
        waiting.start()
        busy = wait_until(lambda: busy_nodes(whole), deadline_s=60, what="the poll to wait")
        busy[0].kill()
        with registered(whole.url) as other:
            assert other.get("/me").status_code == 200
        wait_until(lambda: busy_nodes(whole) or answers, deadline_s=60, what="another node")
        with RestClient(whole.url, token=ada.access_token) as writer:
            room.owner = writer
            room.publish(1)
        waiting.join(DEADLINE_S)

        assert answers[0].status_code == 200, answers[0].text
        assert [event["offset"] for event in answers[0].json()["events"]] == [3]


def busy_nodes(cluster: Cluster) -> list[Node]:
    """Give the nodes at which somebody waits."""
    found = []
    for node in cluster.nodes:
        if node.is_running():
            text = requests.get(f"{node.url}/metrics", timeout=DEADLINE_S).text
            found += [node] if "\nfanfare_followers 0.0\n" not in text else []
    return found


class TestSilence:
    def test_a_minute_of_it_is_no_fault_at_either_door(self, whole, ada):
        """A poll is answered by its node, and comments come through."""
        room = Room(ada)
        cursor = Poller(ada, streams="user:me").cursor
        answers: list[requests.Response] = []
        with RestClient(whole.url, token=ada.access_token, timeout_s=DEADLINE_S) as other:

            def poll() -> None:
                query = {"cursor": cursor, "wait": 60}
                answers.append(other.get("/events", params=query))
                room.publish(1)

            waiting = threading.Thread(target=poll)
            with Stream(ada, streams=room.stream) as stream:
                stream.read_until("ready")
                waiting.start()
                stream.read_to(3)
            waiting.join()

        assert answers[0].status_code == 200, answers[0].text
        assert answers[0].json()["cursor"] == cursor
        assert stream.comments >= 3

    def test_nginx_waits_longer_than_a_node(self):
        """Else it would depend on who is faster."""
        text = (ROOT / "deploy/nginx/routes.conf.template").read_text()
        found = re.search(r"location /api/v1/events {[^}]*proxy_read_timeout (\d+)s;", text)
        (most,) = [m.le for m in PollQuery.model_fields["wait"].metadata if hasattr(m, "le")]

        assert found is not None
        assert int(found[1]) >= max(most, BEAT_S) + 10


class TestStreams:
    def test_each_event_passes_nginx_at_once(self, whole, ada):
        """One that it kept for the next one would never come: that is published after it."""
        room = Room(ada)
        with Stream(ada, streams=room.stream) as stream:
            stream.read_until("ready")
            for _ in range(5):
                room.publish(1)
                stream.read_to(room.top)

        assert stream.offsets == [3, 4, 5, 6, 7]
        assert stream.answer.headers["Cache-Control"] == "no-store"

    def test_whose_node_is_killed_goes_on_at_another_by_its_last_id(self, whole, ada):
        room = Room(ada)
        with Stream(ada, streams=room.stream) as stream:
            node = stream.read_until("ready")["node"]
            room.publish(2)
            stream.read_to(4)
            node_named(whole, node).kill()
            with pytest.raises((ConnectionError, requests.RequestException)):
                stream.read()
        room.publish(3)
        with Stream(ada, streams=room.stream, last_id=stream.last_id) as again:
            other = again.read_until("ready")["node"]
            again.read_to(room.top)

        assert other != node
        assert again.offsets == [5, 6, 7]

    def test_one_that_goes_away_is_let_go_of_at_its_node(self, whole, ada):
        """The proxy hangs up for it."""
        with Stream(ada, streams="user:me") as stream:
            stream.read_until("ready")
            assert busy_nodes(whole)

        wait_until(lambda: not busy_nodes(whole), deadline_s=60, what="it to be gone")


class TestARestartOfEveryNodeInTurn:
    def test_loses_nothing_and_shows_no_error_to_who_follows_bye(self, whole, ada):
        """Polls and streams; each is told to come back by each node that it was at."""
        room = Room(ada)
        readers = [Traveller(ada, room, door) for door in ("poll", "sse") * 3]
        with ExitStack() as stack:
            for reader in readers:
                stack.callback(reader.stop)
                reader.start()
            for node in whole.nodes:
                node.begin_stop()
                while node.is_running():
                    room.publish(1)
                assert node.stop() == 0
                room.publish(5)
                node.start()
                node.wait_until_ready()
                room.publish(5)
            wait_until(
                lambda: all(x.errors or x.offsets[-1:] == [room.top] for x in readers),
                deadline_s=DEADLINE_S,
                what="all to have all",
            )
        room.publish(1)
        for reader in readers:
            reader.join(DEADLINE_S)

        assert [reader.errors for reader in readers] == [[]] * len(readers)
        for reader in readers:
            assert reader.offsets[: room.top - 3] == list(range(3, room.top))
        assert {bye["code"] for reader in readers for bye in reader.byes} == {"draining"}
        assert all(bye["retry"] == "later" for reader in readers for bye in reader.byes)
