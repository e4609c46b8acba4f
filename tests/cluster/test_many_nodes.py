"""Stock clients behind the nginx of `make cluster`: they neither know nor care where they are."""

import pytest
import requests

from cluster.cluster import Cluster, ClusterOptions
from cluster.postgres import find_binaries
from tests.support import needs
from tests.support.client import SocketClient, registered
from tests.support.wait import wait_until

CLIENTS = 6
WAYS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}


@pytest.fixture(scope="module")
def cluster():
    needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
    needs.require_redis()
    needs.require_nginx()
    with Cluster(ClusterOptions(fsync=False, settings={"RATE_LIMITS": "off"})) as running:
        yield running


@pytest.fixture
def whole(cluster):
    """The cluster with every node running, whatever the test before did to them."""
    for node in cluster.nodes:
        if not node.is_running():
            node.start()
    for node in cluster.nodes:
        node.wait_until_ready()
    return cluster


@pytest.fixture
def ada(whole):
    with registered(whole.url) as client:
        yield client


@pytest.fixture
def stream(ada):
    made = ada.post("/channels", {"name": "Spread", "kind": "public"})
    assert made.status_code == 201, made.text
    return f"channel:{made.json()['id']}"


@pytest.fixture
def connect(whole, ada):
    opened = []

    def open_one(way):
        opened.append(SocketClient(whole.url, ada.access_token, transports=WAYS[way]))
        return opened[-1].connect(deadline_s=60)

    yield open_one
    for client in opened:
        client.close()


def sid_of(client):
    return client._io.eio.sid


def node_of(client):
    return sid_of(client).partition(".")[0]


def publish(ada, stream, first, count):
    channel = stream.removeprefix("channel:")
    for number in range(first, first + count):
        body = {"type": "test.number", "data": {"number": number}, "key": f"number-{number}"}
        assert ada.post(f"/channels/{channel}/events", body).ok


def numbers(client):
    return [event["data"]["number"] for event in client.events if event["type"] == "test.number"]


def read_all(ada, stream):
    """The numbers in the log, page by page."""
    channel, found, after = stream.removeprefix("channel:"), [], 0
    while items := ada.get(f"/channels/{channel}/events?after={after}").json()["items"]:
        found += [item["data"]["number"] for item in items if item["type"] == "test.number"]
        after = items[-1]["offset"]
    return found


class TestBehindNginx:
    @pytest.mark.parametrize("way", WAYS)
    def test_every_watcher_gets_every_event_in_order(self, whole, ada, stream, connect, way):
        """Spread over the nodes as nginx does, and published through it."""
        clients = [connect(way) for _ in range(CLIENTS)]
        for client in clients:
            client.ok("subscribe", {"stream": stream}, timeout_s=60)
        publish(ada, stream, 0, 40)
        for client in clients:
            client.wait_for(lambda it: len(numbers(it)) >= 40, deadline_s=60, what="40 events")

        assert [numbers(client) for client in clients] == [list(range(40))] * CLIENTS
        assert {node_of(client) for client in clients} == {node.name for node in whole.nodes}

    def test_an_upgraded_connection_is_a_websocket(self, connect):
        client = connect("upgrade")

        wait_until(lambda: client._io.eio.transport() == "websocket", deadline_s=60)

    @pytest.mark.parametrize("way", ["polling", "websocket"])
    def test_whose_node_is_killed_resumes_on_another(self, whole, ada, stream, connect, way):
        """Also who polls: another node says that the session is gone, instead of silence."""
        client = connect(way)
        position = client.ok("subscribe", {"stream": stream}, timeout_s=60)["position"]
        lost = next(node for node in whole.nodes if node.name == node_of(client))
        lost.kill()
        client.wait_for_disconnect(deadline_s=60)
        publish(ada, stream, 0, 5)
        client.connect(deadline_s=60)
        ack = client.ok("subscribe", {"stream": stream, "after": position}, timeout_s=60)
        publish(ada, stream, 5, 5)
        client.wait_for(lambda it: len(numbers(it)) >= 5, deadline_s=60, what="the last five")

        assert node_of(client) != lost.name
        missed = [event for event in ack["events"] if event["type"] == "test.number"]
        assert [event["data"]["number"] for event in missed] == [0, 1, 2, 3, 4]
        assert numbers(client) == [5, 6, 7, 8, 9]

    def test_a_restart_of_every_node_in_turn_shows_no_call_an_error(self, whole, ada, stream):
        """Each call is made while some node ends, is away, or begins."""
        number = 0
        for node in whole.nodes:
            node.begin_stop()
            while node.is_running():
                publish(ada, stream, number, 1)
                number += 1
            assert node.stop() == 0
            publish(ada, stream, number, 5)
            number += 5
            node.start()
            node.wait_until_ready()

        assert read_all(ada, stream) == list(range(number))

    def test_a_page_of_another_site_gets_no_socket(self, whole):
        """The node knows the address that was called, for nginx tells it."""
        path = "/socket.io/?EIO=4&transport=polling"
        with requests.Session() as http:
            http.trust_env = False
            ours = http.get(whole.url + path, headers={"Origin": whole.url}, timeout=60)
            theirs = http.get(
                whole.url + path, headers={"Origin": "https://evil.example"}, timeout=60
            )

        assert ours.status_code == 200
        assert theirs.status_code in (400, 403)
