"""The stock `socket.io-client` under Node.js: tests/js/protocol.mjs, led through its steps."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import SETTINGS
from tests.conftest import StartServer
from tests.support import needs
from tests.support.server import Server

SCRIPT = needs.JS / "protocol.mjs"
JSON = dict[str, Any]


def do(server: Server, asked: JSON) -> JSON:
    """Do what the script asks for."""
    commands: dict[str, Callable[[], object]] = {
        "stop": server.stop,
        "kill": server.kill,
        "start": server.start,
        "token": lambda: run(server, "token", asked["username"], "--ttl", str(asked["ttl"])),
        "publish": lambda: run(
            server, "publish", asked["stream"], asked["type"], json.dumps(asked["data"])
        ),
    }
    said = commands[asked["ask"]]()
    return {"token": said} if asked["ask"] == "token" else {}


def run(server: Server, *words: str) -> str:
    done = server.run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def lead(process: subprocess.Popen[str], server: Server) -> Iterator[JSON]:
    """Answer the script's questions, and yield what else it says."""
    assert process.stdin is not None
    assert process.stdout is not None
    answers = process.stdin

    def tell(message: JSON) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    tell({"url": server.url})
    for line in process.stdout:
        said = json.loads(line)
        if "ask" in said:
            tell(do(server, said))
        else:
            yield said


@pytest.fixture
def short_log_server(start_server: StartServer) -> Server:
    return start_server(**SETTINGS)


class TestStockClient:
    def test_every_step_of_the_protocol(self, node: str, short_log_server: Server, tmp_path: Path):
        """A failure names each step that failed, with the client's own stack."""
        errors = tmp_path / "errors.txt"
        with (
            errors.open("w") as stderr,
            subprocess.Popen(
                [node, str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            ) as process,
        ):
            try:
                said = list(lead(process, short_log_server))
            finally:
                process.kill()
        failed = {one["step"]: one["error"] for one in said if one.get("ok") is False}
        steps = [one["step"] for one in said if "step" in one]

        assert not failed, "\n\n".join(f"{name}: {why}" for name, why in failed.items())
        assert said, errors.read_text()
        assert said[-1] == {"done": len(steps)}, errors.read_text()
        assert len(steps) > 30
