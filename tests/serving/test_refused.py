"""What is refused before anything is served, and the words that say what to do."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config import SettingsError, load
from tests.support.server import ROOT, Server

MANY: dict[str, Any] = {
    "WORKERS": "4",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "TRANSPORTS": "websocket",
}


def complaint(**environ: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        load(environ, dotenv=None)
    return str(refused.value)


def gunicorn(folder: Path, *words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run gunicorn until it gives up."""
    server = Server(instance=folder, migrate=False, TMPDIR=folder, **settings)
    config = str(ROOT / "gunicorn.conf.py")
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", config, *words, "run:app"],
        env=server.environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestSettings:
    def test_several_workers_need_redis(self):
        told = complaint(WORKERS="4", TRANSPORTS="websocket")

        assert "WORKERS:" in told
        assert "REDIS_URL" in told

    def test_several_workers_do_not_serve_polling(self):
        told = complaint(**{**MANY, "TRANSPORTS": "websocket,polling"})

        assert "TRANSPORTS:" in told
        assert "TRANSPORTS=websocket" in told

    def test_together_they_are_taken(self):
        assert load(MANY, dotenv=None).workers == 4

    @pytest.mark.parametrize("name", ["Node", "-a", "a" * 33, "a.b", "a_b"])
    def test_a_name_that_could_not_stand_in_a_sid_is_refused(self, name):
        assert "NODE_NAME:" in complaint(NODE_NAME=name)

    @pytest.mark.parametrize(
        ("environ", "serves"),
        [
            ({}, True),
            ({"TRANSPORTS": "websocket"}, False),
            ({"REDIS_URL": "redis://h/0"}, False),
            ({"REDIS_URL": "redis://h/0", "NODE_NAME": "n1"}, True),
        ],
    )
    def test_polling_is_served_where_a_session_can_be_found_again(self, environ, serves):
        """Alone, or under a name that a proxy can route by."""
        assert load(environ, dotenv=None).serves_polling is serves


class TestCommands:
    def test_serve_names_the_command_for_several_workers(self, tmp_path):
        done = Server(instance=tmp_path, migrate=False, **MANY).run("serve")

        assert done.returncode == 2
        assert "gunicorn -c gunicorn.conf.py run:app" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_preload_is_refused_in_words(self, tmp_path):
        """Patched before the fork, the master itself would stop to work."""
        done = gunicorn(tmp_path, "--preload")

        assert done.returncode == 1
        assert "--preload" in done.stderr
        assert "gunicorn -c gunicorn.conf.py run:app" in done.stderr
        assert "Traceback" not in done.stderr

    def test_another_worker_class_is_refused_in_words(self, tmp_path):
        done = gunicorn(tmp_path, "-k", "sync")

        assert done.returncode != 0
        assert "the worker of Fanfare" in done.stderr

    def test_wrong_settings_are_told_before_a_port_is_bound(self, tmp_path):
        done = gunicorn(tmp_path, WORKERS="many", GRACE_S="0")

        assert done.returncode == 1
        for name in ("WORKERS:", "GRACE_S:"):
            assert name in done.stderr
        assert "Listening" not in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_port_in_use_is_told_in_one_line(self, tmp_path, start_server):
        taken = start_server()
        done = gunicorn(tmp_path, PORT=str(taken.port))

        assert done.returncode == 1
        assert f"PORT {taken.port}" in done.stderr
        assert "Traceback" not in done.stderr


class TestPatching:
    def test_what_the_master_imports_neither_patches_nor_would_break_the_patching(self):
        """Of eventlet and Pydantic nothing is there before the fork; nor Prometheus's counters."""
        program = (
            "import sys; from realtime import worker;"
            "print([n for n in ('eventlet', 'pydantic', 'prometheus_client') if n in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )

        assert done.stdout.strip() == "[]"
