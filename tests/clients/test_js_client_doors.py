"""clients/js on a real server and bad networks: tests/js/doors.mjs, led through its steps."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients.scripts import walk
from tests.conftest import StartServer
from tests.support import needs
from tests.support.bad_proxies import BadProxy
from tests.support.server import Server

FAULTS = {"refuse_upgrades", "swallow_frames", "buffer_sse"}


@pytest.fixture
def node() -> str:
    return needs.require_js_client()


@pytest.fixture
def roomy(start_server: StartServer) -> Server:
    """A server that a user may open many doors of."""
    return start_server(MAX_CONNECTIONS_PER_USER=200)


class TestDoors:
    def test_every_step(self, node: str, roomy: Server, tmp_path: Path, seed: int):
        """Each is a promise of the client; a failure names it, with the client's own stack."""
        with BadProxy(roomy.url) as proxy:

            def network(asked: dict[str, Any]) -> None:
                for fault in FAULTS:
                    setattr(proxy, fault, fault in asked["faults"])

            walk(
                node,
                needs.JS / "doors.mjs",
                roomy,
                tmp_path / "errors.txt",
                proxy=proxy.url,
                network=network,
                cut=lambda asked: proxy.cut(asked.get("path", "")),
                seed=lambda _: {"seed": seed},
            )
