"""What `run.py` can do, one function a command.

Heavy imports wait for the command that needs them, so `--help` answers at once, and settings are
checked before anything that they could break is loaded.
"""

import argparse
import functools
import getpass
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import Settings, SettingsError, load

if TYPE_CHECKING:
    from app import Fanfare

_ABOUT = "Fanfare: live events over WebSocket and REST, in order and never lost."
_MORE = """\
first steps:
  python run.py migrate              make or update the tables
  python run.py                      serve, by default at http://127.0.0.1:5000
  python run.py create-admin ada     make an administrator
  python run.py publish channel:lobby order.paid '{"order": 42}'
  python run.py tail channel:lobby --as ada

Settings come from the environment and from a .env file; `check-config` lists them all.
"""
_LONGEST_TTL_S = 10 * 365 * 86_400
READY = "Fanfare {version} is ready at {url}"
_NO_TABLES = (
    "The database does not answer, or has not the tables of this version.\n"
    "Check DATABASE_URL, then run: python run.py migrate"
)


class CommandError(Exception):
    """A command can't do what it was asked to; the message says why."""


def main(words: list[str]) -> int:
    """Run a command; give the exit status."""
    arguments = _parser().parse_args(words or ["serve"])
    try:
        return int(arguments.run(arguments) or 0)
    except (SettingsError, CommandError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "run.py",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(run=run)
        return command

    add("serve", serve, "Serve HTTP and WebSocket (the default). Needs a migrated database.")
    check = add(
        "check-config", check_config, "Check the settings and list them; secrets are not shown."
    )
    check.add_argument("--json", action="store_true", help="for programs")
    add("migrate", migrate, "Make the tables, or bring them up to date.")
    admin = add("create-admin", create_admin, "Make an administrator, or make a user one.")
    admin.add_argument("username")
    admin.add_argument(
        "--password-stdin", action="store_true", help="read the password from a pipe"
    )
    token = add("token", make_token, "Print an access token for a user, for curl and scripts.")
    token.add_argument("username")
    token.add_argument("--ttl", type=int, metavar="SECONDS", help="how long it is good for")
    publish = add("publish", publish_event, "Publish an event as the server itself.")
    publish.add_argument("stream", help="channel:<id or slug> or user:<id>")
    publish.add_argument("type", help="such as order.paid")
    publish.add_argument("data", help="JSON, or - to read it from a pipe")
    publish.add_argument("--key", help="a retry with the same key takes effect once")
    tail = add("tail", tail_stream, "Show a stream's events as they come. Ctrl-C ends it.")
    tail.add_argument("stream", help="channel:<id or slug> or user:me")
    tail.add_argument("--as", dest="username", help="whose eyes to use (or give --token)")
    tail.add_argument("--token", help="an access token")
    tail.add_argument("--url", help="the server's address (default: as this machine's settings)")
    tail.add_argument("--after", metavar="OFFSET/EPOCH", help="go on after this position")
    tail.add_argument("--history", type=int, default=0, metavar="N", help="show the last N first")
    tail.add_argument("--json", action="store_true", help="one event a line, as JSON")
    tail.add_argument(
        "--door",
        choices=("auto", "socket", "sse", "poll"),
        default="auto",
        help="WebSocket, Server-Sent Events or long-poll (default: the first that opens)",
    )
    add("new-epoch", new_epoch, "After restoring a backup: tell all clients to sync anew.")
    return parser


def _core() -> "Fanfare":
    from app import create_core

    return create_core(load())


def serve(_arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = load()
    if settings.workers > 1:
        raise CommandError(
            f"WORKERS is {settings.workers}, and `run.py serve` is one process. Run:\n"
            "  gunicorn -c gunicorn.conf.py run:app"
        )
    from app import create_app, start_background
    from core.store.schema import schema_is_current
    from realtime import green, green_door, green_server
    from realtime.memory import give_big_blocks_back, look_for_cycles_seldom

    _look_for_redis(settings)
    fanfare = create_app(settings)
    if not schema_is_current(fanfare.db):
        raise CommandError(_NO_TABLES)
    try:
        listener = green_door.listen(settings.host, settings.port)
    except OSError as error:
        raise CommandError(f"HOST {settings.host}, PORT {settings.port}: {error}") from error
    start_background(fanfare)
    give_big_blocks_back()
    look_for_cycles_seldom()
    drain = fanfare.get_drain()
    stop = functools.partial(drain.begin_or_hurry, listener)
    green.on_signals({signal.SIGTERM: stop, signal.SIGINT: stop})
    _tell_ready(settings.host, listener.getsockname()[1])
    green_server.serve(listener, fanfare.flask, settings.worker_connections, fanfare.get_guests())
    return 0


def _tell_ready(host: str, port: int) -> None:
    from app import __version__

    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(READY.format(version=__version__, url=url), flush=True)
    print(f"  console {url}/   API {url}/docs   stop with Ctrl-C", flush=True)


def _look_for_redis(settings: Settings) -> None:
    from app import redis_answers

    if settings.redis_url and not redis_answers(settings):
        print("Redis does not answer: this node is not ready until it does.", file=sys.stderr)


class NotPatchedError(RuntimeError):
    """A WSGI server asks for the application in a process whose standard library blocks."""


class WsgiApp:
    """The application as a gunicorn worker serves it."""

    def __init__(self, fanfare: "Fanfare") -> None:
        self._fanfare = fanfare
        self.drain = fanfare.get_drain()
        self.most_connections = fanfare.settings.worker_connections
        self.guests = fanfare.get_guests()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer a request."""
        return self._fanfare.flask(environ, start_response)

    def measure(self) -> None:
        """Set the gauges that are not kept up to date all the time."""
        self._fanfare.measure()

    def tell_ready(self, port: int) -> None:
        """Say where the program is served."""
        _tell_ready(self._fanfare.settings.host, port)


def wsgi_app() -> WsgiApp:
    """Make the application for a worker of gunicorn.

    Raises:
        NotPatchedError: nobody has patched the standard library.
    """
    from realtime import green

    if not green.is_patched():
        raise NotPatchedError(
            "run:app is served by the worker of Fanfare, which makes it after the fork: leave "
            "--preload (preload_app) out, and run\n  gunicorn -c gunicorn.conf.py run:app"
        )
    from app import create_app, start_background
    from core.store.schema import schema_is_current
    from realtime.memory import give_big_blocks_back, look_for_cycles_seldom

    # The master has read the file, and given it on as far as it was right.
    settings = load(dotenv=None)
    _look_for_redis(settings)
    fanfare = create_app(settings)
    if not schema_is_current(fanfare.db):
        # No reason to end: where one worker is replaced, the others would end with it.
        print(f"{_NO_TABLES}\nThis worker is not ready until then.", file=sys.stderr)
    start_background(fanfare)
    give_big_blocks_back()
    look_for_cycles_seldom()
    return WsgiApp(fanfare)


def check_config(arguments: argparse.Namespace) -> int:
    """List the settings."""
    settings = load()
    told = settings.model_dump()
    for name in ("secret_key", "database_url", "redis_url"):
        told[name] = "(set)" if told[name] else ""
    if arguments.json:
        print(json.dumps(told))
        return 0
    for name, field in Settings.model_fields.items():
        about = f"  # {field.description}" if field.description else ""
        print(f"{name.upper()}={told[name]}{about}")
    return 0


def migrate(_arguments: argparse.Namespace) -> int:
    """Bring the tables up to date."""
    fanfare = _core()
    from flask_migrate import Migrate, upgrade

    from core.store.models import db

    Migrate(fanfare.flask, db, directory=str(Path(__file__).resolve().parent / "migrations"))
    with fanfare.flask.app_context():
        upgrade()
    return 0


def create_admin(arguments: argparse.Namespace) -> int:
    """Make an administrator."""
    fanfare = _core()
    from api.schemas import Register
    from core.errors import FanfareError, InvalidError
    from core.passwords import Passwords
    from core.services import accounts
    from core.validation import check

    try:
        if accounts.make_admin(fanfare.db, arguments.username.lower()):
            print(f"{arguments.username} is an administrator now.")
            return 0
        wanted = {"username": arguments.username, "password": _ask_password(arguments)}
        account = check(Register, wanted)
        accounts.register(
            fanfare.db,
            Passwords(),
            accounts.SessionTerms(0),
            username=account.username,
            password=account.password,
            is_admin=True,
        )
    except InvalidError as error:
        raise CommandError("\n".join(f"{f.field}: {f.message}" for f in error.faults)) from error
    except FanfareError as error:
        raise CommandError(error.detail) from error
    print(f"{arguments.username} is an administrator.")
    return 0


def _ask_password(arguments: argparse.Namespace) -> str:
    if arguments.password_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise CommandError("There is no terminal to ask for a password: use --password-stdin.")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise CommandError("The passwords differ.")
    return password


def make_token(arguments: argparse.Namespace) -> int:
    """Print an access token."""
    print(_token_for(_core(), arguments.username, arguments.ttl))
    return 0


def _token_for(fanfare: "Fanfare", username: str, ttl_s: int | None = None) -> str:
    from core.errors import FanfareError
    from core.services import accounts

    ttl = int(fanfare.settings.access_token_ttl_s) if ttl_s is None else ttl_s
    if not 0 < ttl <= _LONGEST_TTL_S:
        raise CommandError(f"--ttl is from 1 to {_LONGEST_TTL_S} seconds.")
    terms = accounts.SessionTerms(ttl * 1000, "run.py")
    try:
        login = accounts.login_as_server(fanfare.db, terms, username=username.lower())
    except FanfareError as error:
        raise CommandError(error.detail) from error
    return fanfare.tokens.access(login, ttl)


def publish_event(arguments: argparse.Namespace) -> int:
    """Publish an event."""
    fanfare = _core()
    from core import json
    from core.errors import FanfareError
    from core.services import publish

    text = sys.stdin.read() if arguments.data == "-" else arguments.data
    try:
        data = json.loads(text)
    except json.JsonError as error:
        raise CommandError(f"DATA is not JSON: {error}") from error
    draft = publish.Draft(arguments.stream, arguments.type, data, arguments.key)
    try:
        done = publish.publish_as_server(
            fanfare.db, draft, max_bytes=fanfare.settings.max_event_bytes
        )
    except FanfareError as error:
        raise CommandError(error.detail) from error
    event = done.event
    print(f"{event.stream}@{event.offset}/{event.epoch}{' (replayed)' * done.replayed}")
    return 0


def tail_stream(arguments: argparse.Namespace) -> int:
    """Show events as they come."""
    from tail.doors import TailError
    from tail.follow import follow, read_position
    from tail.view import Wanted

    settings = load()
    url = arguments.url or f"http://{settings.host}:{settings.port or 5000}"
    if not arguments.token and not arguments.username:
        raise CommandError("Whose eyes? Give --as USERNAME, or --token.")

    def get_token() -> str:
        return str(arguments.token or _token_for(_core(), arguments.username))

    try:
        after = read_position(arguments.after)
        wanted = Wanted(arguments.stream, after, arguments.history, arguments.json)
        follow(url, get_token, wanted, arguments.door)
    except TailError as error:
        raise CommandError(str(error)) from error
    return 0


def new_epoch(_arguments: argparse.Namespace) -> int:
    """Rename the numbering of every stream."""
    from core.services.retention import begin_new_epochs

    print(f"{begin_new_epochs(_core().db)} streams begin a new epoch.")
    return 0
