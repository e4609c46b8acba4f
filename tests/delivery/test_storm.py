"""A storm: all connect at the same moment. What they need is looked up for many at once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import websocket

from tests.delivery.raw import PATH, parse
from tests.support.client import RestClient, unique
from tests.support.server import ROOT, Server

PEOPLE = 64
# Whoever asks alone takes two to come in, and two to subscribe.
FEW = PEOPLE // 4
DEADLINE_S = 30


@pytest.fixture(scope="module")
def tokens(busy_server: Server) -> list[str]:
    """Tokens of people who never connected."""
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks.people", str(PEOPLE)],
        env={**busy_server.environment(), "PYTHONPATH": str(ROOT)},
        cwd=busy_server.folder,
        capture_output=True,
        check=True,
        text=True,
    )
    found: list[str] = json.loads(made.stdout)
    return found


@pytest.fixture
def doors(busy_server: Server) -> Iterator[list[websocket.WebSocket]]:
    """As many WebSockets, whose sessions of Engine.IO are open."""
    url = busy_server.url.replace("http", "ws", 1) + PATH
    with ExitStack() as stack:
        opened = []
        for _ in range(PEOPLE):
            door = websocket.create_connection(url, timeout=DEADLINE_S, http_no_proxy=["*"])
            stack.callback(door.shutdown)
            assert str(door.recv()).startswith("0{")
            opened.append(door)
        yield opened


@contextmanager
def at_once(server: Server) -> Iterator[None]:
    """Have the server find all that it is sent meanwhile at the same moment."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def metric(server: Server, name: str) -> float:
    with RestClient(server.url) as client:
        lines = client.raw("GET", "/metrics").text.splitlines()
    (found,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(found.split()[1])


def statements(server: Server) -> float:
    return metric(server, "fanfare_db_statements_total")


def looks(server: Server) -> float:
    """How often the collector of cycles looked at what was new."""
    return metric(server, 'python_gc_collections_total{generation="0"}')


def read(door: websocket.WebSocket, wanted: str) -> Any:
    while True:
        name, data = parse(str(door.recv()))
        if name == wanted:
            return data


class TestAStorm:
    def test_many_share_each_statement(self, busy_server, ada, tokens, doors):
        """To come in, and to subscribe; each is told of their own user all the same."""
        channel = ada.post("/channels", {"name": "x", "kind": "public", "slug": unique()}).json()
        subscribe = "421" + json.dumps(["subscribe", {"stream": f"channel:{channel['id']}"}])
        before = statements(busy_server)
        with at_once(busy_server):
            for door, token in zip(doors, tokens, strict=True):
                door.send("40" + json.dumps({"token": token}))
        users = {read(door, "ready")["user"]["id"] for door in doors}
        connected = statements(busy_server)
        with at_once(busy_server):
            for door in doors:
                door.send(subscribe)
        acks = [read(door, "ack")[1] for door in doors]
        subscribed = statements(busy_server)

        assert len(users) == PEOPLE
        assert all(ack["ok"] for ack in acks)
        assert connected - before <= FEW
        assert subscribed - connected <= FEW

    def test_the_collector_does_not_walk_over_who_has_come(self, busy_server, tokens, request):
        """They stay, so it would find nothing."""
        before = looks(busy_server)
        for door, token in zip(request.getfixturevalue("doors"), tokens, strict=True):
            door.send("40" + json.dumps({"token": token}))
            read(door, "ready")

        assert looks(busy_server) - before <= 1
