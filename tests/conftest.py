"""Fixtures for every test: databases, servers, a browser, and a seed that can be given again.

`database_url` and `server` run a test once on SQLite and once on PostgreSQL. What a test starts
is stopped after it; the log of every server that runs is shown when a test fails.
"""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from cluster.postgres import Postgres, find_binaries
from cluster.redis import RedisServer
from tests.support import needs
from tests.support import server as servers
from tests.support.server import Server

DATABASES = ("sqlite", "postgres")
# As root Chromium runs without its sandbox only; the rest keeps it from calling home.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
StartServer = Callable[..., Server]

# A test here may start a server or wait for a commit: a deadline would judge the machine, not
# the code. Each run looks at new examples, and a failure prints the blob that repeats it.
for name, examples in {"dev": 50, "ci": 100}.items():
    hypothesis.settings.register_profile(
        name, deadline=None, derandomize=False, print_blob=True, max_examples=examples
    )
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="repeat a run whose report printed this seed")


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--seed")
    if given is None:
        config.option.seed = random.SystemRandom().randrange(2**32)
    elif config.getoption("--hypothesis-seed", None) is None:
        hypothesis.core.global_force_seed = given
    # `timeout make test` and a closed terminal end the run in order too: servers are stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (again: --seed {config.option.seed})"


def pytest_runtest_logstart(nodeid: str, location: object) -> None:
    servers.mark_logs()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(
            (f"log of the server at {url}", log) for url, log in servers.new_logs()
        )
        report.sections.append(("seed", f"--seed {item.config.option.seed}"))
    return report


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run, printed at its start."""
    return int(request.config.option.seed)


@pytest.fixture
def rng(request: pytest.FixtureRequest, seed: int) -> random.Random:
    """Randomness of this test's own: the run's seed repeats it, alone or among others."""
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL for the whole run; `create_database()` gives a fresh one."""
    needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel (make setup installs it)")
    # No test cuts the power: what PostgreSQL has handed to the system is kept without fsync.
    with Postgres(fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A real Redis for the whole run: who uses it has keys and channels of his own.

    A test that breaks Redis starts one for itself.
    """
    needs.require_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session", params=DATABASES)
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database: a test that asks for it, or for what stands on it, runs on each."""
    return str(request.param)


@pytest.fixture
def empty_database_url(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """The URL of a fresh database without a table."""
    if backend == "sqlite":
        yield sqlite_url(tmp_path / "fanfare.db")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def migrated(
    backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The URL of a migrated database to copy from: copying is faster than migrating again."""
    folder = tmp_path_factory.mktemp("migrated")
    if backend == "sqlite":
        url = sqlite_url(folder / "fanfare.db")
    else:
        url = request.getfixturevalue("postgres").create_database()
    Server(url, instance=folder).migrate()
    return url


@pytest.fixture
def database_url(migrated: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database with the newest schema."""
    if migrated.startswith("sqlite"):
        yield copy_sqlite(migrated, tmp_path)
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.create_database(template=migrated)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """`start_server(database_url, MAX_SUBSCRIPTIONS=2)` starts a server that ends with the test.

    Without a URL it has a SQLite file of its own. It migrates first; `migrate=False` spares that
    where the database is one of `database_url`.
    """
    with ExitStack() as stack:

        def start(database_url: str | None = None, **settings: Any) -> Server:
            instance = settings.pop("instance", None) or tmp_path_factory.mktemp("instance")
            return stack.enter_context(Server(database_url, instance=instance, **settings))

        yield start


@pytest.fixture
def server(start_server: StartServer, database_url: str) -> Server:
    """A fresh server on a fresh database, to break and restart at will."""
    return start_server(database_url, migrate=False)


@pytest.fixture(scope="session")
def shared_server(
    migrated: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server for many tests: each registers users of its own and leaves it running."""
    folder = tmp_path_factory.mktemp("shared")
    if migrated.startswith("sqlite"):
        url = copy_sqlite(migrated, folder)
    else:
        url = request.getfixturevalue("postgres").create_database(template=migrated)
    with Server(url, instance=folder, migrate=False) as running:
        yield running


@pytest.fixture
def node() -> str:
    """The path of Node.js; the packages of tests/js are installed."""
    return needs.require_node()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, as Playwright's synchronous `Browser`; `new_context()` is a window.

    It ends with its module: while Playwright lives, asyncio.run() refuses to start.
    """
    path = needs.require_chromium()
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - slow, and few tests want it

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def copy_sqlite(url: str, folder: Path) -> str:
    source = Path(url.removeprefix("sqlite:///"))
    for path in source.parent.glob(f"{source.name}*"):
        shutil.copy(path, folder / path.name)
    return sqlite_url(folder / source.name)


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure also where pytest keeps what tests print to itself."""

    def tell(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n    {text}")
            sys.stdout.flush()

    return tell
