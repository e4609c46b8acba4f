"""House rules that no linter holds: sizes, docstrings, pins, and nothing of anybody's machine.

The forbidden words are put together from pieces here, so that this file does not hold them.
"""

import ast
import json
import os
import re
import tomllib

import pytest

from tests.support.tree import ROOT, files, imports, name_of, python_files

LINES_AT_MOST = 400
SCRIPT_LINES_AT_MOST = 300
DOCSTRING_LINES_AT_MOST = 8
TEXT = {
    *(".cfg", ".css", ".html", ".ini", ".js", ".json", ".mako", ".md", ".mjs", ".py", ".sh"),
    *(".svg", ".toml", ".ts", ".txt", ".yaml", ".yml", ""),
}

REGISTRY_HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "registry." + "yarnpkg",
    "crates" + ".io",
    "proxy.golang" + ".org",
    "deb." + "debian.org",
    "--index" + "-url",
    "--find" + "-links",
]
MACHINE_PATHS = [
    r"(?<![\w.])/wo" + r"rk/",
    r"(?<![\w.])/ro" + r"ot/",
    r"(?<![\w.])/ho" + r"me/\w",
    r"(?<![\w.])/Us" + r"ers/\w",
    r"\.\./sha" + r"red",
]
UNFINISHED = [r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b"]
NODE_PACKAGES = ["benchmarks/peers", "clients/js", "tests/js"]
REQUIREMENTS = ["requirements.txt", "requirements-dev.txt", "benchmarks/peers/requirements.txt"]
REQUIREMENTS += ["tests/fuzz/requirements.txt"]
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "jsonpickle", "marshal", "shelve"}

PINS = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


def find(pattern: str) -> list[str]:
    """Return "file:line" of every place in the tree's text that the pattern fits."""
    return [
        f"{name_of(path)}:{number}"
        for path in files()
        if path.suffix in TEXT
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]


def pins(name: str) -> dict[str, str]:
    return {found[1].lower(): found[2] for found in PINS.finditer((ROOT / name).read_text())}


class TestSizes:
    def test_no_module_is_too_long(self):
        """A module that outgrows this holds two subjects."""
        sizes = {
            name_of(path): len(path.read_text().splitlines())
            for path in python_files()
            if path.relative_to(ROOT).parts[0] not in {"tests", "migrations"}
        }

        assert {name: size for name, size in sizes.items() if size > LINES_AT_MOST} == {}

    def test_no_module_of_the_client_for_javascript_is_too_long(self):
        paths = sorted((ROOT / "clients/js/src").glob("*.ts"))
        sizes = {path.name: len(path.read_text().splitlines()) for path in paths}

        assert sizes
        assert {name: size for name, size in sizes.items() if size > SCRIPT_LINES_AT_MOST} == {}


class TestDocstrings:
    def test_every_module_says_what_it_is_for(self):
        """In at most eight lines; only an empty file says nothing."""
        offences = []
        for path in python_files():
            source = path.read_text()
            text = ast.get_docstring(ast.parse(source), clean=False)
            if source.strip() and not text:
                offences.append(f"{name_of(path)} has none")
            elif text and len(text.strip().splitlines()) > DOCSTRING_LINES_AT_MOST:
                offences.append(f"{name_of(path)} is too long")

        assert not offences


class TestWords:
    @pytest.mark.parametrize("host", REGISTRY_HOSTS)
    def test_no_registry_is_named(self, host):
        """Any mirror serves: the lock files hold versions and hashes, never addresses."""
        found = find(re.escape(host))
        if host.startswith("--"):  # the option that leaves these lines out of a lock has this name
            found = [place for place in found if not place.startswith("Makefile:")]

        assert not found

    @pytest.mark.parametrize("pattern", MACHINE_PATHS)
    def test_no_path_of_a_machine_is_named(self, pattern):
        assert not find(pattern)

    @pytest.mark.parametrize("pattern", UNFINISHED)
    def test_nothing_is_left_for_later_in_the_code(self, pattern):
        assert not find(pattern)

    def test_nothing_is_pickled(self):
        """A pickle from the bus or the database would run whatever a stranger put into it."""
        offences = [str(found) for found in imports() if found.package in PICKLES]

        assert not offences


class TestPins:
    @pytest.mark.parametrize("name", REQUIREMENTS)
    def test_every_package_is_pinned_with_its_hash(self, name):
        text = (ROOT / name).read_text()
        entries = [line for line in text.splitlines() if re.match(r"[\w]", line)]
        unpinned = [line for line in entries if not PINS.match(line)]

        assert entries
        assert not unpinned
        assert len(re.findall(r"^\S.*\\\n +--hash=", text, re.MULTILINE)) == len(entries)

    def test_the_tests_run_on_what_is_served(self):
        """requirements-dev.txt holds every pin of requirements.txt."""
        assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()

    def test_the_lock_knows_every_dependency(self):
        """A dependency that was added without `make lock` would be missing on a fresh machine."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        wanted = {
            "requirements.txt": project["dependencies"],
            "requirements-dev.txt": project["optional-dependencies"]["dev"],
        }
        missing = [
            name
            for lock, dependencies in wanted.items()
            for name in (re.split(r"[^\w.-]", entry)[0].lower() for entry in dependencies)
            if name not in pins(lock)
        ]

        assert not missing

    @pytest.mark.parametrize("folder", NODE_PACKAGES)
    def test_the_lock_of_npm_names_no_address(self, folder):
        packages = json.loads((ROOT / folder / "package-lock.json").read_text())["packages"]

        locked = [package for name, package in packages.items() if name]
        assert locked
        assert all(package["integrity"] for package in locked)
        assert not [name for name, package in packages.items() if "resolved" in package]

    @pytest.mark.parametrize("folder", NODE_PACKAGES)
    def test_node_packages_are_pinned(self, folder):
        """To one version each: what was tested is what is built and run."""
        package = json.loads((ROOT / folder / "package.json").read_text())
        wanted = {**package["dependencies"], **package.get("devDependencies", {})}

        assert {name: v for name, v in wanted.items() if not re.fullmatch(r"[\d.]+", v)} == {}


class TestContinuousIntegration:
    def test_its_script_can_be_run(self):
        assert os.access(ROOT / ".ci" / "run", os.X_OK)
