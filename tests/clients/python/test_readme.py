"""The examples of clients/python/README.md, run as they stand."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanfare_client import Position
from tests.clients.conftest import make_channel, say
from tests.clients.python.conftest import client_of, run, until
from tests.docs.pages import blocks
from tests.support.client import registered
from tests.support.server import Server
from tests.support.tree import ROOT
from tests.support.wait import wait_until

PAGE = "clients/python/README.md"


def example(name: str) -> str:
    (found,) = [b for b in blocks(PAGE) if (b.language, b.about) == ("python", name)]
    return found.text


@pytest.fixture(scope="module")
def lobby(ada_of_lobby):
    return make_channel(ada_of_lobby, slug="lobby")


@pytest.fixture(scope="module")
def ada_of_lobby(served: Server):
    with registered(served.url) as person:
        yield person


class TestPrograms:
    @pytest.mark.parametrize(
        ("name", "hello"),
        [("asyncio", "Hello from asyncio"), ("blocking", "Hello from a thread")],
    )
    def test_it_shows_what_was_there_what_it_writes_and_what_others_write(
        self, served, ada_of_lobby, lobby, tmp_path: Path, name, hello
    ):
        (tmp_path / "example.py").write_text(example(name))
        kept = {word: os.environ[word] for word in ("PATH", "HOME") if word in os.environ}
        env = {
            **kept,
            "PYTHONPATH": str(ROOT / "clients" / "python"),
            "FANFARE_URL": served.url,
            "TOKEN": ada_of_lobby.access_token,
        }
        with (tmp_path / "out").open("w") as out:
            program = subprocess.Popen(
                [sys.executable, "example.py"],
                cwd=tmp_path,
                env=env,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        shown = tmp_path / "out"
        try:
            wait_until(lambda: hello in shown.read_text(), deadline_s=30, what=name)
            say(ada_of_lobby, lobby, f"to {name}")
            wait_until(lambda: f"to {name}" in shown.read_text(), deadline_s=30, what=name)
        finally:
            program.kill()
            program.communicate()

        assert "1 channel.created" in shown.read_text()
        assert "Traceback" not in shown.read_text()


class TestReset:
    def test_after_a_reset_it_goes_on_from_a_snapshot(self, ada_of_lobby, lobby, capsys):
        space: dict = {}
        exec(example("reset"), space)

        async def walk() -> None:
            async with client_of(ada_of_lobby) as client:
                following = asyncio.create_task(space["follow"](client, Position(1, "elsewhere")))
                shown: list[str] = []

                def has(text: str) -> bool:
                    shown.append(capsys.readouterr().out)
                    return text in "".join(shown)

                await until(lambda: has("anew:"), "the snapshot")
                await client.channel("lobby").send("after it")
                await until(lambda: has("message.created"), "the next event")
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

        run(walk())
