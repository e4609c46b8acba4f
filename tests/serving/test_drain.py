"""The end of one server in order: what was received is acked, then everybody is sent elsewhere.

A lock in PostgreSQL holds a handler up for as long as a test likes, so nothing here depends on
how fast the machine is.
"""

import http.client
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

from cluster.postgres import Postgres, database_of
from tests.regression.conftest import Stall
from tests.regression.wires import Polling, dial, open_websocket, read_all, read_to_the_end
from tests.support.client import RestClient, registered, unique
from tests.support.server import Server
from tests.support.wait import wait_until

DEADLINE_S = 60
LOCK = "LOCK TABLE events IN ACCESS EXCLUSIVE MODE"


@pytest.fixture
def make_stalled(postgres: Postgres, tmp_path: Path) -> Iterator[Callable[..., Stall]]:
    """`make_stalled(GRACE_S=2)` starts a server on PostgreSQL whose writes can be held up."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Stall:
            url = postgres.create_database()
            name = database_of(url)
            session = stack.enter_context(postgres.connect(name))
            onlooker = stack.enter_context(postgres.connect(name))
            server = stack.enter_context(Server(url, instance=tmp_path, **settings))
            session.rollback()
            session.autocommit = False
            stack.callback(session.rollback)
            return Stall(server, session, onlooker)

        yield make
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def stalled(make_stalled: Callable[..., Stall]) -> Stall:
    """One with the usual settings."""
    return make_stalled()


def make_stream(person: RestClient) -> str:
    body = {"name": "Drain", "kind": "public", "slug": unique("drain")}
    return "channel:" + str(person.post("/channels", body).json()["id"])


def greet(server: Server, person: RestClient) -> websocket.WebSocket:
    """Open a socket, and wait until it is greeted."""
    opened = open_websocket(server)
    opened.send("40" + json.dumps({"token": person.access_token}))
    while '"ready"' not in str(opened.recv()):
        pass
    return opened


def publish(opened: websocket.WebSocket, stream: str, number: int) -> None:
    event = {"stream": stream, "type": "a.b", "data": number, "key": f"k{number}"}
    opened.send(f"42{number}" + json.dumps(["publish", event]))


def end(server: Server) -> None:
    """Tell it to end, and wait until it has begun to."""
    told = server.log.count("draining")
    os.kill(server.pid, signal.SIGTERM)
    wait_until(lambda: server.log.count("draining") > told, deadline_s=DEADLINE_S, what="the drain")


def bye_in(packets: list[str]) -> dict[str, Any]:
    """Give the goodbye among packets."""
    (found,) = [packet for packet in packets if packet.startswith('42["bye"')]
    return dict(json.loads(found[2:])[1])


@contextmanager
def kept_open(server: Server) -> Iterator[http.client.HTTPConnection]:
    """An HTTP connection that stays open, as a proxy keeps some."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    yield connection
    connection.close()


class TestPackets:
    def test_one_that_is_being_handled_is_acked_before_the_goodbye(self, stalled):
        """However long it takes; its event is in the log."""
        with registered(stalled.server.url) as ada:
            stream = make_stream(ada)
            busy, idle = greet(stalled.server, ada), greet(stalled.server, ada)
            stalled.lock(LOCK)
            publish(busy, stream, 1)
            stalled.wait_for_waiting(1)
            end(stalled.server)
            gone = read_to_the_end(idle)
            stalled.release()
            packets = read_to_the_end(busy)
            code = stalled.server.wait(deadline_s=DEADLINE_S)

        assert bye_in(gone)["code"] == "draining"
        assert packets[0].startswith('431[{"ok":true')
        assert bye_in(packets[1:])["retry"] == "later"
        assert code == 0
        idle.shutdown()
        busy.shutdown()

    def test_those_that_lie_read_and_unhandled_are_acked_too(self, stalled):
        """Forty at once; the first holds the others up until the drain has begun."""
        with registered(stalled.server.url) as ada:
            stream = make_stream(ada)
            busy = greet(stalled.server, ada)
            stalled.lock(LOCK)
            for number in range(1, 41):
                publish(busy, stream, number)
            stalled.wait_for_waiting(1)
            end(stalled.server)
            stalled.release()
            packets = read_to_the_end(busy)
        acked = [int(p[2:].partition("[")[0]) for p in packets if p.startswith("43")]

        assert acked == list(range(1, 41))
        assert packets.index(next(p for p in packets if '"bye"' in p)) == len(packets) - 1
        busy.shutdown()

    def test_those_that_lie_unread_in_the_system_are_acked_too(self, stalled):
        """They came while the handler of another was busy."""
        with registered(stalled.server.url) as ada:
            stream = make_stream(ada)
            busy, idle = greet(stalled.server, ada), greet(stalled.server, ada)
            stalled.lock(LOCK)
            publish(busy, stream, 1)
            stalled.wait_for_waiting(1)
            for number in range(2, 41):
                publish(busy, stream, number)
            end(stalled.server)
            read_to_the_end(idle)  # by now everybody is to leave
            stalled.release()
            packets = read_to_the_end(busy)
        busy.shutdown()
        idle.shutdown()

        assert [int(p[2:].partition("[")[0]) for p in packets[:-1]] == list(range(1, 41))
        assert bye_in(packets)["code"] == "draining"

    def test_somebody_who_is_just_being_greeted_is_greeted_and_then_sent_away(self, stalled):
        with registered(stalled.server.url) as ada:
            stalled.lock("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
            late = open_websocket(stalled.server)
            late.send("40" + json.dumps({"token": ada.access_token}))
            stalled.wait_for_waiting(1)
            end(stalled.server)
            stalled.release()
            packets = read_to_the_end(late)

        assert any('"ready"' in packet for packet in packets)
        assert bye_in(packets)["code"] == "draining"
        late.shutdown()


class TestHttp:
    def test_a_call_and_a_poll_that_are_under_way_are_answered(self, stalled):
        with registered(stalled.server.url) as ada:
            stream = make_stream(ada)
            session = Polling(stalled.server, ada.access_token)
            stalled.lock(LOCK)
            body = json.dumps({"type": "a.b", "data": 1})
            head = (
                f"POST /api/v1/channels/{stream.removeprefix('channel:')}/events HTTP/1.1\r\n"
                f"Host: x\r\nAuthorization: Bearer {ada.access_token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            )
            with dial(stalled.server) as calling, dial(stalled.server) as polling:
                calling.sendall(head.encode())
                polling.sendall(f"GET {session.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                stalled.wait_for_waiting(1)
                end(stalled.server)
                polled = polling.recv(65_536)
                stalled.release()
                called = read_all(calling)
            code = stalled.server.wait(deadline_s=DEADLINE_S)

        assert polled.startswith(b"HTTP/1.1 200 ")
        assert b'"draining"' in polled
        assert called.startswith(b"HTTP/1.1 201 ")
        assert code == 0

    def test_readiness_says_so_and_no_session_begins(self, stalled):
        """On a connection that was open already: new ones are refused, and this one is closed."""
        with (
            registered(stalled.server.url) as ada,
            kept_open(stalled.server) as first,
            kept_open(stalled.server) as second,
        ):
            stream = make_stream(ada)
            busy = greet(stalled.server, ada)
            stalled.lock(LOCK)
            publish(busy, stream, 1)
            stalled.wait_for_waiting(1)
            end(stalled.server)
            first.request("GET", "/readyz")
            ready = first.getresponse()
            told = json.loads(ready.read())
            second.request("GET", "/socket.io/?EIO=4&transport=polling")
            begun = second.getresponse()
            with pytest.raises(ConnectionRefusedError):
                dial(stalled.server)
            stalled.release()
            read_to_the_end(busy)

        assert (ready.status, told["code"]) == (503, "draining")
        assert "draining" in told["detail"]
        assert ready.getheader("Connection") == "close"
        assert (begun.status, json.loads(begun.read())["data"]["code"]) == (503, "draining")
        busy.shutdown()


class TestTimes:
    def test_clients_are_asked_to_come_back_spread_over_the_window(self, start_server):
        """One in each equal part of it, so there is no clump; for few it is narrow."""
        server = start_server(DRAIN_WINDOW_S=3600, MAX_CONNECTIONS_PER_USER=100)
        with registered(server.url) as ada:
            sockets = [greet(server, ada) for _ in range(20)]
            end(server)
            byes = [bye_in(read_to_the_end(opened)) for opened in sockets]
        part = 3600 / 10_000
        times = sorted(bye["retry_after"] for bye in byes)

        assert server.wait(deadline_s=DEADLINE_S) == 0
        assert all(part * n - 0.001 <= at <= part * (n + 1) + 0.001 for n, at in enumerate(times))
        for opened in sockets:
            opened.shutdown()

    def test_a_handler_that_hangs_is_not_waited_for_beyond_the_time_of_grace(self, make_stalled):
        stalled = make_stalled(GRACE_S=2)
        with registered(stalled.server.url) as ada:
            stream = make_stream(ada)
            busy = greet(stalled.server, ada)
            stalled.lock(LOCK)
            publish(busy, stream, 1)
            stalled.wait_for_waiting(1)
            started = time.monotonic()
            end(stalled.server)
            code = stalled.server.wait(deadline_s=DEADLINE_S)

        assert code == 0
        # The statement alone would take 15 seconds.
        assert time.monotonic() - started < 10
        busy.shutdown()

    def test_a_second_signal_ends_it_at_once(self, stalled):
        """With the handler still held up: the status says that it was no end in order."""
        with registered(stalled.server.url) as ada:
            stream = make_stream(ada)
            busy = greet(stalled.server, ada)
            stalled.lock(LOCK)
            publish(busy, stream, 1)
            stalled.wait_for_waiting(1)
            end(stalled.server)
            os.kill(stalled.server.pid, signal.SIGTERM)
            code = stalled.server.wait(deadline_s=DEADLINE_S)

        assert code == 1
        assert "drained" not in stalled.server.log
        busy.shutdown()
