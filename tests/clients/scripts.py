"""Scripts for Node.js that are led through their steps: they ask for what no client can do."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.server import Server

JSON = dict[str, Any]
Commands = dict[str, Callable[[JSON], object]]


def run(server: Server, *words: str) -> str:
    done = server.run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commands_of(server: Server) -> Commands:
    """What every script may ask for; an answer that is no dict is no answer."""
    return {
        "stop": lambda _: server.stop(),
        "kill": lambda _: server.kill(),
        "start": lambda _: server.start(),
        "new_epoch": lambda _: run(server, "new-epoch"),
        "token": lambda asked: {
            "token": run(server, "token", asked["username"], "--ttl", str(asked["ttl"]))
        },
        "publish": lambda asked: run(
            server, "publish", asked["stream"], asked["type"], json.dumps(asked["data"])
        ),
    }


def walk(
    node: str, script: Path, server: Server, errors: Path, *, proxy: str = "", **more: Any
) -> None:
    """Lead a script through all its steps. A failure names each that failed, with its stack.

    `more` are further commands that it may ask for.
    """
    commands = {**commands_of(server), **more}
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [node, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            said = list(_lead(process, {"url": server.url, "proxy": proxy}, commands))
        finally:
            process.kill()
    failed = {one["step"]: one["error"] for one in said if one.get("ok") is False}
    steps = [one["step"] for one in said if "step" in one]
    assert not failed, "\n\n".join(f"{name}: {why}" for name, why in failed.items())
    assert said, errors.read_text()
    assert said[-1] == {"done": len(steps)}, errors.read_text()
    assert len(steps) > 1


def _lead(process: subprocess.Popen[str], first: JSON, commands: Commands) -> Iterator[JSON]:
    assert process.stdin is not None
    assert process.stdout is not None
    answers = process.stdin

    def tell(message: JSON) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    tell(first)
    for line in process.stdout:
        said = json.loads(line)
        if "ask" not in said:
            yield said
            continue
        answer = commands[said["ask"]](said)
        tell(answer if isinstance(answer, dict) else {})
