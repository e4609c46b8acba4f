"""What a connection at rest holds in the server, counted by Python: to the byte."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import copy_sqlite
from tests.delivery.raw import RawSocket
from tests.serving.scales import sitecustomize as scales
from tests.support.client import registered
from tests.support.server import Server
from tests.support.wait import wait_until

COUNT = 300
SUBSCRIPTIONS = 3
# It is about 1.9 KB, and may be more where another Python lays out its objects otherwise.
MOST_BYTES = 2_200
DEADLINE_S = 60


@pytest.fixture
def server(migrated_database: str, tmp_path: Path) -> Iterator[Server]:
    """A server with scales."""
    settings: dict[str, Any] = {
        "PYTHONPATH": Path(scales.__file__).parent,
        "SCALES": tmp_path / "weight",
        "MAX_CONNECTIONS_PER_USER": 2 * COUNT,
        "LOG_LEVEL": "warning",
    }
    url = copy_sqlite(migrated_database, tmp_path)
    with Server(url, instance=tmp_path, migrate=False, **settings) as running:
        yield running


def weigh(server: Server) -> int:
    answer = server.folder / "weight"
    answer.unlink(missing_ok=True)
    os.kill(server.pid, scales.SIGNAL)
    wait_until(answer.exists, deadline_s=DEADLINE_S, what="the scales")
    return int(answer.read_text())


class TestAConnectionAtRest:
    def test_it_holds_two_kilobytes_with_three_subscriptions(self, server):
        with registered(server.url) as ada, ExitStack() as stack:
            made = [ada.post("/channels", {"name": "x", "kind": "public"}) for _ in range(3)]
            streams = [f"channel:{one.json()['id']}" for one in made]

            def connect(count: int) -> None:
                for _ in range(count):
                    client = stack.enter_context(RawSocket(server.url, ada.access_token))
                    for stream in streams:
                        client.ok("subscribe", {"stream": stream})

            connect(20)  # what is made once is made for these
            before = weigh(server)
            connect(COUNT)
            held = (weigh(server) - before) / COUNT

        assert len(streams) == SUBSCRIPTIONS
        assert 500 < held < MOST_BYTES
