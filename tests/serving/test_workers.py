"""Four workers on one port: any of them serves anybody, and each may end, be killed or be stuck."""

import os
import re
import signal
from contextlib import ExitStack

from tests.regression.wires import call
from tests.serving.conftest import WORKERS, wait_for_workers, workers_of
from tests.support.client import RestClient, SocketClient, registered, unique
from tests.support.wait import wait_until

DEADLINE_S = 60
MOST = 200  # nobody at one of four workers: once in 10^24 times


def connect_to_all(server, person, stack: ExitStack) -> list[SocketClient]:
    """Connect until each worker has somebody; the system spreads by chance."""
    clients: list[SocketClient] = []
    while len({client.ready["node"] for client in clients}) < WORKERS:
        assert len(clients) < MOST, [client.ready["node"] for client in clients]
        client = SocketClient(server.url, person.access_token).connect(deadline_s=DEADLINE_S)
        stack.callback(client.close)
        clients.append(client)
    return clients


def gauge(server, name: str) -> float:
    """Read a gauge of whichever worker answers."""
    text = call(server, "GET", "/metrics").text
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


def make_channel(person: RestClient) -> str:
    body = {"name": "Many", "kind": "public", "slug": unique("many")}
    return str(person.post("/channels", body).json()["id"])


class TestWithoutStickiness:
    def test_sockets_and_calls_of_one_user_meet_on_any_worker(self, many):
        """Each call is a connection of its own; each event reaches the sockets of all workers."""
        with registered(many.url) as ada, ExitStack() as stack:
            channel = make_channel(ada)
            clients = connect_to_all(many, ada, stack)
            for client in clients:
                client.ok("subscribe", {"stream": f"channel:{channel}"}, timeout_s=DEADLINE_S)
            headers = {"Authorization": f"Bearer {ada.access_token}"}
            for number in range(12):
                body = {"type": "a.b", "data": number}
                path = f"/api/v1/channels/{channel}/events"
                assert call(many, "POST", path, json=body, headers=headers).status_code == 201
            for client in clients:
                client.wait_for(lambda c: len(c.events) >= 12, deadline_s=DEADLINE_S, what="all")

            assert all([e["data"] for e in c.events] == list(range(12)) for c in clients)

    def test_any_worker_tells_the_sums_of_all(self, many):
        with registered(many.url) as ada, ExitStack() as stack:
            clients = connect_to_all(many, ada, stack)
            told = {gauge(many, "fanfare_connections") for _ in range(12)}

        assert told == {len(clients)}
        wait_until(lambda: gauge(many, "fanfare_connections") == 0, deadline_s=DEADLINE_S)

    def test_without_polling_its_refusal_says_what_to_do(self, many):
        answer = call(many, "GET", "/socket.io/?EIO=4&transport=polling")

        assert answer.status_code == 400
        assert "websocket" in answer.json()["message"]


class TestOneOfThem:
    def test_a_killed_one_is_replaced_and_missed_by_nobody_else(self, many):
        """Its clients come back to the others, who see what they missed; its gauges are gone."""
        with registered(many.url) as ada, ExitStack() as stack:
            channel = make_channel(ada)
            clients = connect_to_all(many, ada, stack)
            before = workers_of(many)
            at = clients[0].ok("subscribe", {"stream": f"channel:{channel}"})["position"]
            os.kill(before[0], signal.SIGKILL)
            lost = [c for c in clients if wait_for_loss(c, before[0], many)]
            assert ada.post(f"/channels/{channel}/events", {"type": "a.b", "data": 1}).ok
            back = SocketClient(many.url, ada.access_token).connect(deadline_s=DEADLINE_S)
            stack.callback(back.close)
            ack = back.ok("resume", {"positions": {f"channel:{channel}": at}})
            after = wait_for_workers(many)
            left = len(clients) - len(lost) + 1
            wait_until(lambda: gauge(many, "fanfare_connections") == left, deadline_s=DEADLINE_S)

        assert 1 <= len(lost) < len(clients)
        assert [e["data"] for e in ack["streams"][f"channel:{channel}"]["events"]] == [1]
        assert len(set(after) - set(before)) == 1
        assert before[0] not in after

    def test_who_fell_to_one_that_is_stuck_is_served_by_another(self, many):
        """The system gives each its connections beforehand; the others take what is left lying."""
        stuck = workers_of(many)[0]
        os.kill(stuck, signal.SIGSTOP)
        try:
            answers = [call(many, "GET", "/healthz").status_code for _ in range(24)]
        finally:
            os.kill(stuck, signal.SIGCONT)

        assert answers == [200] * 24


def wait_for_loss(client: SocketClient, pid: int, server) -> bool:
    """Tell whether a client's connection ended with the worker."""
    wait_until(lambda: pid not in workers_of(server), deadline_s=DEADLINE_S, what="its end")
    connection = client._io.eio.ws
    try:
        client.call("typing", {"channel": "nowhere"}, timeout_s=5)
    except Exception:  # noqa: BLE001 - gone in whatever way the stock client tells it
        connection.shutdown()  # it forgets to
        return True
    return False
