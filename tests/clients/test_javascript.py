"""The stock `socket.io-client` under Node.js: tests/js/protocol.mjs, led through its steps."""

from pathlib import Path

import pytest

from tests.clients.conftest import SETTINGS
from tests.clients.scripts import walk
from tests.conftest import StartServer
from tests.support import needs
from tests.support.server import Server

SCRIPT = needs.JS / "protocol.mjs"


@pytest.fixture
def short_log_server(start_server: StartServer) -> Server:
    return start_server(**SETTINGS)


class TestStockClient:
    def test_every_step_of_the_protocol(self, node: str, short_log_server: Server, tmp_path: Path):
        """A failure names each step that failed, with the client's own stack."""
        walk(node, SCRIPT, short_log_server, tmp_path / "errors.txt")
