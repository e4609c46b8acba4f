"""What a test needs of the machine: a browser, Node.js, PostgreSQL, Redis, nginx.

A test without its need is skipped and says what to install. With FANFARE_REQUIRE_ALL set, as in
CI, it fails instead: a green run there has run everything.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from benchmarks.peers.build import find_compiler
from cluster.certificates import find_openssl
from cluster.nginx import find_nginx
from cluster.redis import find_redis, speaks_tls

REQUIRE_ALL = "FANFARE_REQUIRE_ALL"
JS = Path(__file__).parents[1] / "js"
JS_CLIENT = Path(__file__).parents[2] / "clients" / "js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

T = TypeVar("T")


def require(found: T | None, what: str) -> T:
    """Return `found`; where it is None or empty, skip the test, or fail it when all is required.

    `what` says what is missing and how to get it.
    """
    if not found:
        miss(what)
    return found


def is_all_required() -> bool:
    """Tell whether nothing may be skipped."""
    return os.environ.get(REQUIRE_ALL, "0") not in {"", "0"}


def miss(what: str) -> NoReturn:
    """Leave the running test for want of `what`: a skip, or a failure when all is required."""
    if is_all_required():
        pytest.fail(f"{REQUIRE_ALL} is set, and this is missing: {what}", pytrace=False)
    pytest.skip(what)


def require_chromium() -> str:
    """Return the path of an installed Chromium, for Playwright's `executable_path`."""
    own = os.environ.get("FANFARE_CHROMIUM")
    found = own or next(filter(None, map(shutil.which, BROWSERS)), None)
    return require(found, "no Chromium on PATH (Debian: apt-get install chromium)")


def require_node() -> str:
    """Return the path of Node.js, once the packages of tests/js are installed too."""
    node = require(shutil.which("node"), "no Node.js on PATH (Debian: apt-get install nodejs npm)")
    installed = (JS / "node_modules" / "socket.io-client").is_dir()
    require(installed, "the packages of tests/js are not installed (make setup)")
    return node


def require_js_client() -> str:
    """Return the path of Node.js, once what clients/js is built and tested with is installed."""
    node = require_node()
    installed = (JS_CLIENT / "node_modules" / "typescript").is_dir()
    require(installed, "the packages of clients/js are not installed (make setup)")
    return node


def require_compiler() -> str:
    """Return the path of a C compiler that makes programs."""
    return require(find_compiler(), "no C compiler (Debian: apt-get install gcc libc6-dev)")


def require_redis(at_least: tuple[int, ...] = ()) -> Path:
    """Return the path of a redis-server; sharded publish and subscribe needs (7, 0) at least."""
    wanted = ".".join(map(str, at_least)) or "any version"
    return require(
        find_redis(at_least), f"no redis-server ({wanted}; Debian: apt-get install redis-server)"
    )


def require_redis_with_tls() -> Path:
    """Return the path of a redis-server that speaks TLS; openssl is there to make certificates."""
    require(find_openssl(), "no openssl on PATH (Debian: apt-get install openssl)")
    binary = require_redis()
    require(speaks_tls(binary), f"{binary} was built without TLS (Debian's redis-server has it)")
    return binary


def require_nginx() -> Path:
    """Return the path of nginx."""
    return require(find_nginx(), "no nginx on PATH or in /usr/sbin (Debian: apt-get install nginx)")


def require_compose() -> list[str]:
    """Return the words that call Docker Compose; no engine is needed to judge a file."""
    return require(find_compose(), "no docker compose (Debian: apt-get install docker-compose)")


def find_compose() -> list[str] | None:
    """Return them: one's own choice, the plugin of docker, or the program of that name."""
    own = os.environ.get("FANFARE_COMPOSE")
    docker, program = shutil.which("docker"), own or shutil.which("docker-compose")
    if docker and not own and _says_its_version([docker, "compose"]):
        return [docker, "compose"]
    return [program] if program else None


def _says_its_version(command: list[str]) -> bool:
    done = subprocess.run([*command, "version"], check=False, capture_output=True)
    return done.returncode == 0
