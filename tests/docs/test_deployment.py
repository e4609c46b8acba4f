"""The image and the compose file fit the program: settings, files, ports, probes, and nginx.

No container engine is asked: Compose judges its file, and what it would start is started here
without one.
"""

import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import Any

import pytest
import requests
import yaml  # type: ignore[import-untyped] # no stubs are kept for one test

import app
import config
from cluster.certificates import find_openssl, make_certificates
from cluster.nginx import Nginx, NginxOptions
from cluster.redis import RedisOptions, RedisServer
from tests.support import needs
from tests.support.tree import ROOT, files, name_of

COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
TLS_TEXT = (ROOT / "deploy" / "compose.tls.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
SERVICES = COMPOSE["services"]
NEEDED = {"api", "core", "jobs", "realtime", "tail", "migrations", "web"}


RESOLVES = (1, 27, 3)  # since then the nodes of an upstream are looked up while nginx runs
NODE = "0123456789ab"
SECRETS = {
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
    "POSTGRES_PASSWORD": "x1",
    "REDIS_PASSWORD": "x2",
}


def compose(folder, *files, **given):
    """Let Compose read its file, and others on top, with the words of a .env file alone."""
    env = folder / "env"
    env.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    named = [word for name in ("docker-compose.yml", *files) for word in ("-f", str(ROOT / name))]
    return subprocess.run(
        [*needs.require_compose(), "--env-file", str(env), *named, "config"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def nginx_values(*, resolves: bool) -> dict[str, str]:
    """What Compose gives to nginx, but for what only a container has."""
    given = environment("nginx")
    values = {name: value.replace("$$", "$") for name, value in given.items()}
    for name in (*PLACES, "NGINX_ENVSUBST_OUTPUT_DIR", "SCHEME"):
        values.pop(name, None)
    if not resolves:
        values["NODES"] = values["NODES"].replace("node:5000 resolve", "127.0.0.1:9")
    return values


PLACES = ("CONNECTIONS", "CONFIG", "TEMP", "CERTIFICATES", "ACCESS_LOG", "HTTP_PORT", "HTTPS_PORT")


def version_of(nginx):
    said = subprocess.run([nginx, "-v"], check=True, capture_output=True, text=True).stderr
    return tuple(int(part) for part in re.findall(r"nginx/([\d.]+)", said)[0].split("."))


def make_mounted(folder):
    needs.require(find_openssl(), "no openssl on PATH (Debian: apt-get install openssl)")
    made = make_certificates(folder / "made")
    shutil.copy(made.server.certificate, folder / "fullchain.pem")
    shutil.copy(made.server.key, folder / "privkey.pem")
    return folder


class Names:
    """A server of names, as Docker's: every name is this machine, and each is remembered."""

    def __init__(self):
        self.asked = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while (asked := self._socket.recvfrom(512))[0]:
            query, caller = asked
            end = query.index(0, 12) + 5
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode())
                at += 1 + query[at]
            self.asked.append(".".join(labels))
            head = query[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0)
            answer = struct.pack("!3HIH4s", 0xC00C, 1, 1, 60, 4, socket.inet_aton("127.0.0.1"))
            self._socket.sendto(head + query[12:end] + answer, caller)

    def close(self):
        host, _, port = self.address.partition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (host, int(port)))
        self._thread.join()
        self._socket.close()


@pytest.fixture
def names():
    server = Names()
    yield server
    server.close()


@contextmanager
def one_answer(listener, answer):
    """Answer the first call at `listener`, whatever it is."""

    def serve():
        connection, _address = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    thread.join(60)


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
        settings = config.load({**environment("node", **SECRETS), "NODE_NAME": NODE}, dotenv=None)

        assert settings.environment == "production"
        assert settings.host == "0.0.0.0"
        assert settings.port == 5000
        assert settings.database_uri == "postgresql+psycopg://fanfare:x1@db:5432/fanfare"
        assert settings.redis_url == "redis://:x2@redis:6379/0"
        assert settings.transports == "websocket,polling"
        assert settings.trusted_proxies == 1

    def test_everything_that_it_sets_is_a_setting(self):
        known = {name.upper() for name in config.Settings.model_fields}

        assert set(SERVICES["node"]["environment"]) <= known

    def test_no_secret_stands_in_it(self):
        """They come from the environment, and without them nothing starts."""
        text = COMPOSE_TEXT

        for name in SECRETS:
            uses = re.findall(rf"\$\{{{name}[^}}]*\}}", text)
            assert uses
            assert all(":?" in use for use in uses)
            assert re.search(rf"^{name}=$", EXAMPLE, re.MULTILINE)

    def test_the_example_names_everything_that_may_be_given(self):
        text = COMPOSE_TEXT + TLS_TEXT
        asked = set(re.findall(r"\$\{(\w+)", text)) - {"LOG_LEVEL"}

        assert asked == set(re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE))

    def test_the_tables_are_made_before_anything_is_served(self):
        assert SERVICES["migrate"]["command"][-2:] == ["run.py", "migrate"]
        waits = SERVICES["node"]["depends_on"]
        assert waits["migrate"]["condition"] == "service_completed_successfully"
        assert waits["db"]["condition"] == "service_healthy"
        assert SERVICES["db"]["healthcheck"]["test"][1] == "pg_isready"

    def test_nginx_alone_is_published_and_to_this_machine_alone(self):
        """Any number of nodes fit: none has a port, or a name, of its own."""
        published = {name: it["ports"] for name, it in SERVICES.items() if "ports" in it}

        assert published == {"nginx": ["127.0.0.1:${PORT:-5000}:8080"]}
        assert not [name for name, it in SERVICES.items() if "container_name" in it]

    def test_nginx_reaches_nothing_but_nodes(self):
        beside = {name for name, it in SERVICES.items() if "front" in it["networks"]}

        assert beside == {"nginx", "node"}
        assert SERVICES["nginx"]["networks"] == ["front"]
        assert COMPOSE["networks"]["back"] == {"internal": True}

    def test_nodes_have_time_to_say_goodbye(self):
        grace_s = float(SERVICES["node"]["environment"]["GRACE_S"])

        assert int(SERVICES["node"]["stop_grace_period"].removesuffix("s")) > grace_s

    @pytest.mark.parametrize("name", sorted(SERVICES))
    def test_no_service_may_write_or_rise(self, name):
        service = SERVICES[name]

        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        if "build" not in service:
            assert service["user"] not in ("root", "0", "0:0")

    @pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate", "node"}))
    def test_every_image_is_of_a_version_and_says_how_it_is(self, name):
        """That of the nodes has its probe in the Dockerfile."""
        assert re.fullmatch(r"\w+:\d[\w.-]+", SERVICES[name]["image"])
        assert SERVICES[name]["healthcheck"]["test"]

    def test_its_image_bears_the_version(self):
        assert SERVICES["node"]["image"] == f"fanfare:{app.__version__}"
        assert app.__version__ in (ROOT / "CHANGELOG.md").read_text()

    def test_its_volumes_exist(self):
        used = {entry.partition(":")[0] for s in SERVICES.values() for entry in s["volumes"]}
        folders = {name for name in used if name.startswith("./")}

        assert used - folders == set(COMPOSE["volumes"])
        assert all((ROOT / folder).is_dir() for folder in folders)


class TestComposeItself:
    """`docker compose config`, which checks the file against the specification."""

    @pytest.mark.parametrize("files", [(), ("deploy/compose.tls.yml",)], ids=["plain", "tls"])
    def test_it_finds_no_fault(self, tmp_path, files):
        done = compose(tmp_path, *files, **SECRETS, CERTIFICATES="/etc/certificates")

        assert done.returncode == 0, done.stderr
        services = yaml.safe_load(done.stdout)["services"]
        assert set(services) == set(SERVICES)
        assert services["nginx"]["environment"]["SCHEME"] == ("https" if files else "http")
        assert len(services["nginx"]["ports"]) == (3 if files else 1)

    @pytest.mark.parametrize("name", ["SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"])
    def test_without_a_secret_nothing_starts(self, tmp_path, name):
        done = compose(tmp_path, **{**SECRETS, name: ""})

        assert done.returncode != 0
        assert name in done.stderr

    def test_a_fault_would_be_found(self, tmp_path):
        """So that a tool that judges nothing is noticed."""
        fault = tmp_path / "fault.yml"
        fault.write_text("services: {node: {restarts: always}}")
        done = compose(tmp_path, fault, **SECRETS)

        assert done.returncode != 0
        assert "restarts" in done.stderr


class TestItsNginx:
    """The variables that Compose gives to the files of deploy/nginx."""

    @pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
    def test_nginx_finds_no_fault(self, tls, tmp_path):
        binary = needs.require_nginx()
        values = nginx_values(resolves=version_of(binary) >= RESOLVES)
        certificates = make_mounted(tmp_path) if tls else None
        nginx = Nginx({}, NginxOptions(values=values, certificates=certificates))
        try:
            assert "[warn]" not in nginx.check()
        finally:
            nginx.close()

    def test_every_variable_is_given(self):
        used = set()
        for path in (ROOT / "deploy" / "nginx").glob("*.template"):
            used |= set(re.findall(r"\$\{([A-Z_]+)\}", path.read_text()))
        told = set(re.findall(r"`([A-Z_]+)`", (ROOT / "deploy/nginx/README.md").read_text()))

        assert used == told
        assert used == set(SERVICES["nginx"]["environment"]) - {"NGINX_ENVSUBST_OUTPUT_DIR"}

    def test_a_session_is_led_to_the_container_that_its_id_names(self, names):
        """Found while nginx runs; and no other name is ever looked up."""
        needs.require_nginx()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        with socket.create_server(("127.0.0.1", 0)) as container, one_answer(container, answer):
            port = container.getsockname()[1]
            values = nginx_values(resolves=False)
            values["SID_ROUTES"] = values["SID_ROUTES"].replace(":5000", f":{port}")
            values["RESOLVER"] = values["RESOLVER"].replace("127.0.0.11", names.address)
            with Nginx({}, NginxOptions(values=values)) as nginx, requests.Session() as http:
                http.trust_env = False
                for sid in ("redis.abc", "db", f"{NODE}:6379.abc", f"x{NODE}.abc", f"{NODE}.a:b"):
                    http.get(f"{nginx.url}/socket.io/?sid={sid}", timeout=60)
                astray = list(names.asked)
                found = http.get(f"{nginx.url}/socket.io/?sid={NODE}.abc", timeout=60)

        assert not astray
        assert found.text == "hi"
        assert set(names.asked) == {NODE}


class TestItsRedis:
    def test_redis_takes_its_file(self):
        needs.require_redis()
        settings = {"include": str(ROOT / "deploy/redis/redis.conf")}
        with RedisServer(RedisOptions(settings=settings)) as server:
            assert server.cli("CONFIG", "GET", "maxmemory-policy").endswith("noeviction")
            assert server.cli("CONFIG", "GET", "save").split() == ["save"]
            assert "pubsub 67108864" in server.cli("CONFIG", "GET", "client-output-buffer-limit")


class TestImage:
    def test_it_is_built_in_stages_and_runs_as_nobody_special(self):
        assert len(re.findall(r"^FROM ", DOCKERFILE, re.MULTILINE)) == 3
        users = re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)
        assert users == ["fanfare"]
        assert DOCKERFILE.index("USER fanfare") < DOCKERFILE.index('CMD ["sh", "-c"')
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
        parts = {name for name in copied if name.rpartition("/")[0] in sent}

        assert parts == {"realtime/native.py", "realtime/native.c"}
        assert sent == copied - parts

    def test_a_node_is_named_by_its_container_or_as_one_says(self):
        """The words of CMD, with a stand-in for the program."""
        found = re.search(r"^CMD \[\"sh\", \"-c\", \"(.*)\"\]$", DOCKERFILE, re.MULTILINE)
        assert found
        program = found[1].replace('\\"', '"')
        shown = re.sub(r"exec .*$", "exec printenv NODE_NAME", program)

        def name(**given):
            words = ["sh", "-c", shown]
            return subprocess.check_output(
                words, env={"HOSTNAME": NODE, **given}, text=True
            ).strip()

        assert name() == NODE
        assert name(NODE_NAME="n1") == "n1"

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
