"""The image and the compose file fit the program: settings, files, ports, probes.

No container engine is asked: they are read. What they would start is started here without one.
"""

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # no stubs are kept for one test

import app
import config
from tests.support.tree import ROOT, files, name_of

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
SERVICES = COMPOSE["services"]
NEEDED = {"api", "core", "jobs", "realtime", "migrations", "web"}


def environment(service: str, **given: str) -> dict[str, str]:
    """Fill in a service's environment as compose would."""

    def fill(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if default is not None and default.startswith("?"):
            return given[name]
        return given.get(name) or (default or "").removeprefix("-")

    return {
        name: re.sub(r"\$\{(\w+)(?::([-?][^}]*))?\}", fill, value)
        for name, value in SERVICES[service]["environment"].items()
    }


class TestCompose:
    def test_what_it_sets_is_a_valid_production(self):
        """As the program itself judges it, before a port is bound."""
        secrets = {"SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz", "POSTGRES_PASSWORD": "x1"}
        settings = config.load(environment("app", **secrets), dotenv=None)

        assert settings.environment == "production"
        assert settings.host == "0.0.0.0"
        assert settings.port == 5000
        assert settings.database_uri == "postgresql+psycopg://fanfare:x1@db:5432/fanfare"

    def test_everything_that_it_sets_is_a_setting(self):
        known = {name.upper() for name in config.Settings.model_fields}

        assert set(SERVICES["app"]["environment"]) <= known

    def test_no_secret_stands_in_it(self):
        """They come from the environment, and without them nothing starts."""
        text = (ROOT / "docker-compose.yml").read_text()

        for name in ("SECRET_KEY", "POSTGRES_PASSWORD"):
            uses = re.findall(rf"\$\{{{name}[^}}]*\}}", text)
            assert uses
            assert all(":?" in use for use in uses)
            assert re.search(rf"^{name}=$", EXAMPLE, re.MULTILINE)

    def test_the_example_names_everything_that_may_be_given(self):
        text = (ROOT / "docker-compose.yml").read_text()
        asked = set(re.findall(r"\$\{(\w+)", text)) - {"LOG_LEVEL"}

        assert asked == set(re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE))

    def test_the_tables_are_made_before_anything_is_served(self):
        assert SERVICES["migrate"]["command"][-2:] == ["run.py", "migrate"]
        waits = SERVICES["app"]["depends_on"]
        assert waits["migrate"]["condition"] == "service_completed_successfully"
        assert waits["db"]["condition"] == "service_healthy"
        assert SERVICES["db"]["healthcheck"]["test"][1] == "pg_isready"

    def test_one_node_is_published_to_this_machine_alone(self):
        assert SERVICES["app"]["ports"] == ["127.0.0.1:${PORT:-5000}:5000"]
        assert "deploy" not in SERVICES["app"]

    def test_its_image_bears_the_version(self):
        assert SERVICES["app"]["image"] == f"fanfare:{app.__version__}"
        assert app.__version__ in (ROOT / "CHANGELOG.md").read_text()

    def test_its_volumes_exist(self):
        used = {entry.partition(":")[0] for s in SERVICES.values() for entry in s["volumes"]}

        assert used == set(COMPOSE["volumes"])


class TestImage:
    def test_it_is_built_in_stages_and_runs_as_nobody_special(self):
        assert len(re.findall(r"^FROM ", DOCKERFILE, re.MULTILINE)) == 2
        users = re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)
        assert users == ["fanfare"]
        assert DOCKERFILE.index("USER fanfare") < DOCKERFILE.index('CMD ["python", "run.py"')
        assert "ENVIRONMENT=production" in DOCKERFILE
        assert "--require-hashes" in DOCKERFILE

    def test_it_holds_every_module_of_the_program(self):
        """A new top-level module that is forgotten here would fail at its import, in production."""
        copied = set(re.search(r"^COPY (run\.py .*) \./$", DOCKERFILE, re.MULTILINE)[1].split())  # type: ignore[index]
        folders = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
        modules = {name_of(path) for path in files() if re.fullmatch(r"\w+\.py", name_of(path))}

        assert modules <= copied
        assert folders == NEEDED

    def test_the_builder_is_sent_all_that_is_copied(self):
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        sent = {line[1:] for line in ignored if line.startswith("!")}
        copies = re.findall(r"^COPY (?!--from)(.*?) \S+$", DOCKERFILE, re.MULTILINE)
        copied = {name for names in copies for name in names.split()}

        assert "*" in ignored
        assert sent == copied

    def test_its_probe_asks_what_the_program_answers(self, shared_server):
        """The very command of HEALTHCHECK, against a server."""
        found = re.search(r"CMD \[\"python\", \"-c\", \"(.*)\"\]$", DOCKERFILE, re.MULTILINE)
        assert found
        program = found[1].replace('\\"', '"')

        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PORT": str(shared_server.port)},
            timeout=30,
            check=False,
            capture_output=True,
        )

        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("name", sorted(NEEDED))
    def test_a_folder_that_it_copies_exists(self, name):
        assert (ROOT / name).is_dir()
