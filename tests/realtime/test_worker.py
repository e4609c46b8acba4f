"""Where the workers count: a folder of the master's own, or one that was given."""

import os
from pathlib import Path
from typing import Any

import pytest

from realtime import worker

NAME = "PROMETHEUS_MULTIPROC_DIR"
ARBITER: Any = None  # the hook takes it and does not use it


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that is put back, and folders that are made in the test's own."""
    monkeypatch.setenv(NAME, "x")
    monkeypatch.delenv(NAME)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(worker, "_folders", [])


class TestMetrics:
    def test_a_folder_is_made_once_and_removed(self):
        worker.make_metrics_folder()
        made = Path(os.environ[NAME])
        worker.make_metrics_folder()  # at a reload

        assert Path(os.environ[NAME]) == made
        assert made.is_dir()
        worker.remove_metrics(ARBITER)
        assert not made.exists()

    def test_one_that_was_given_is_used_and_left_alone(self, tmp_path, monkeypatch):
        """It went with all that was in it."""
        (tmp_path / "given").mkdir()
        precious = tmp_path / "given" / "precious"
        precious.touch()
        monkeypatch.setenv(NAME, str(precious.parent))
        worker.make_metrics_folder()
        worker.remove_metrics(ARBITER)

        assert os.environ[NAME] == str(precious.parent)
        assert precious.exists()

    def test_that_of_the_master_before_is_not_taken(self, monkeypatch):
        """Its end removes it, under the feet of who came after it."""
        worker.make_metrics_folder()
        before, folders = os.environ[NAME], worker._folders
        monkeypatch.setattr(worker, "_folders", [])
        worker.make_metrics_folder()
        after = Path(os.environ[NAME])
        monkeypatch.setattr(worker, "_folders", folders)
        worker.remove_metrics(ARBITER)

        assert not Path(before).exists()
        assert after.is_dir()
