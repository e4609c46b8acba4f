"""clients/js: its own tests, and that what is committed as built is built from what is there."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.tree import ROOT

FOLDER = needs.JS_CLIENT
TESTS = sorted((FOLDER / "test").glob("*.test.mjs"))
MOST_BYTES = 12 * 1024


@pytest.fixture
def node() -> str:
    return needs.require_js_client()


def run(node: str, *words: str) -> str:
    done = subprocess.run(
        [node, *words], cwd=FOLDER, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestOwnTests:
    @pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
    def test_they_pass(self, node, path):
        """Against a server in their own process that follows the protocol, and breaks on demand."""
        said = run(node, "--test", "--test-reporter=tap", str(path))

        assert "# fail 0" in said
        assert "# pass 0" not in said


class TestBuild:
    def test_what_is_committed_is_what_the_source_gives(self, node, tmp_path):
        """Byte by byte: the page is served what nobody has changed by hand."""
        run(node, "build.mjs", str(tmp_path / "dist"))

        assert built(tmp_path / "dist") == built(FOLDER / "dist")

    def test_the_types_hold(self, node):
        run(node, "node_modules/typescript/bin/tsc", "--noEmit")

    def test_it_is_light(self, node):
        """Minified and gzipped, without socket.io-client."""
        assert int(run(node, "build.mjs", "--size")) < MOST_BYTES


class TestPackage:
    package = json.loads((FOLDER / "package.json").read_text())

    def test_it_needs_nothing_but_the_stock_client(self):
        """The version that the tests of the protocol run with."""
        tested = json.loads((needs.JS / "package.json").read_text())["dependencies"]

        assert self.package["dependencies"] == tested
        assert list(tested) == ["socket.io-client"]

    def test_what_it_names_is_there(self):
        entry = self.package["exports"]["."]

        assert (FOLDER / entry["default"]).is_file()
        assert (FOLDER / entry["types"]).is_file()
        assert {name for name in self.package["files"] if not (FOLDER / name).exists()} == set()

    def test_its_licence_is_that_of_the_project(self):
        assert (FOLDER / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
