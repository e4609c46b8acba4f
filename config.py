"""Every setting: read once, frozen, and checked as a whole before a port is bound.

Values come from the environment, then from a `.env` file, then from the defaults of the class
for the environment: development, testing or production.
"""

import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

MIN_SECRET_CHARS = 32
_SCHEMES = ("sqlite:///", "postgresql://", "postgresql+psycopg://", "postgres://")
_REDIS_KINDS = "redis rediss valkey valkeys unix sentinel sentinels cluster clusters"
_REDIS_SCHEMES = tuple(f"{kind}://" for kind in _REDIS_KINDS.split())


class SettingsError(Exception):
    """Settings are at fault; the message names each, what is wrong and what would be right."""


def _check_database(url: str) -> str:
    if url and not url.startswith(_SCHEMES):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    return url


def _check_redis(url: str) -> str:
    if not url:
        return url
    if not url.startswith(_REDIS_SCHEMES):
        raise ValueError(f"must begin with one of {', '.join(_REDIS_SCHEMES)}")
    where = urlsplit(url)
    if where.scheme.startswith("sentinel") and not where.path.strip("/"):
        raise ValueError("must name the master: sentinel://host:26379/name-of-the-master")
    return url


def _check_origins(text: str) -> str:
    for origin in filter(None, text.split(",")):
        if origin.strip() == "*" or not origin.strip().startswith(("http://", "https://")):
            raise ValueError(
                "must be addresses like https://app.example.com, separated by commas; "
                "'*' would let every site in"
            )
    return text


def _check_transports(text: str) -> str:
    if text not in ("websocket", "websocket,polling"):
        raise ValueError("must be 'websocket' or 'websocket,polling'")
    return text


Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86_400)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]


_NODE_NAME = "^([a-z0-9][a-z0-9-]{0,31})?$"

Host = Annotated[str, Field(min_length=1, description="Address to listen on.")]
Port = Annotated[int, Field(ge=0, le=65_535, description="Port; 0 takes a free one.")]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"], Field(description="How much is logged.")
]
Transports = Annotated[
    str,
    AfterValidator(_check_transports),
    Field(description="What Engine.IO serves: 'websocket' or 'websocket,polling'."),
]
CompareInterval = Annotated[
    float, Field(ge=0.05, le=60, description="Between comparisons with the log.")
]


class Settings(BaseModel):
    """The settings, with the defaults of development."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: Literal["development", "testing", "production"] = "development"
    host: Host = "127.0.0.1"
    port: Port = 5000
    instance_path: Annotated[
        str, Field(min_length=1, description="Folder of the embedded database and secrets.")
    ] = "instance"
    database_url: Annotated[
        str,
        AfterValidator(_check_database),
        Field(description="sqlite:///… or postgresql://…; empty: SQLite in INSTANCE_PATH."),
    ] = ""
    redis_url: Annotated[
        str,
        AfterValidator(_check_redis),
        Field(description="redis://… and others, see docs/operations.md; empty: one node."),
    ] = ""
    redis_prefix: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Begins every key and channel."),
    ] = "fanfare"
    redis_ca_file: Annotated[
        str, Field(description="Who signed Redis's certificate; empty: the system's list.")
    ] = ""
    redis_cert_file: Annotated[str, Field(description="Our certificate for Redis.")] = ""
    redis_key_file: Annotated[str, Field(description="The key of our certificate.")] = ""
    secret_key: Annotated[
        str,
        Field(description="Signs tokens and cursors; at least 32 characters, kept secret."),
    ] = ""
    node_name: Annotated[
        str,
        Field(
            pattern=_NODE_NAME,
            description="Names the node where a proxy routes polling by it: a-z, 0-9 and '-'.",
        ),
    ] = ""
    workers: Annotated[
        int, Field(ge=1, le=256, description="Processes that gunicorn runs on one port.")
    ] = 1
    worker_connections: Annotated[
        Count, Field(description="TCP connections that one process takes at most.")
    ] = 20_000
    drain_window_s: Annotated[
        float,
        Field(ge=0, le=3600, description="Over so long 10,000 sockets are asked to come back."),
    ] = 10
    grace_s: Annotated[
        float, Field(ge=1, le=3600, description="From the signal to end until the end, at most.")
    ] = 30
    log_level: LogLevel = "info"
    cors_origins: Annotated[
        str,
        AfterValidator(_check_origins),
        Field(description="Other sites whose pages may call, by commas; empty: none."),
    ] = ""
    transports: Transports = "websocket,polling"
    ws_compression_level: Annotated[
        int, Field(ge=0, le=9, description="How hard WebSockets are compressed; 0: not at all.")
    ] = 0
    ws_compression_min_bytes: Annotated[
        int, Field(ge=0, le=1_048_576, description="Below it a message is not compressed.")
    ] = 256

    trusted_proxies: Annotated[
        int, Field(ge=0, le=10, description="Proxies in front whose X-Forwarded-* headers hold.")
    ] = 0

    database_pool_size: Annotated[
        int, Field(ge=2, le=1000, description="Database connections at most.")
    ] = 16
    sqlite_synchronous: Annotated[
        Literal["OFF", "NORMAL", "FULL", "EXTRA"],
        Field(description="What a power cut may cost; see docs/operations.md."),
    ] = "FULL"

    access_token_ttl_s: Annotated[Seconds, Field(description="Life of an access token.")] = 900
    refresh_token_ttl_s: Annotated[
        Seconds, Field(description="Life of a login that is not used.")
    ] = 30 * 86_400

    max_event_bytes: Annotated[
        int, Field(ge=1024, le=1_048_576, description="Data of an event or message at most.")
    ] = 65_536
    max_body_bytes: Annotated[
        int, Field(ge=4096, le=104_857_600, description="Body of an HTTP request at most.")
    ] = 1_048_576
    max_packet_bytes: Annotated[
        int, Field(ge=4096, le=104_857_600, description="A packet of a socket at most.")
    ] = 524_288
    max_subscriptions: Annotated[Count, Field(description="Streams a connection may watch.")] = 128
    max_connections_per_user: Annotated[Count, Field(description="Open sockets of a user.")] = 20
    max_queued_bytes: Annotated[
        int, Field(ge=1_048_576, description="Bytes that may wait for one connection.")
    ] = 1_048_576
    max_events_per_s: Annotated[
        float, Field(ge=1, le=1_000_000, description="Packets a second of one connection.")
    ] = 50
    rate_limits: Annotated[
        Literal["on", "off"], Field(description="Limits on HTTP calls; off only for tests.")
    ] = "on"
    native_writer: Annotated[
        Literal["on", "off"],
        Field(description="Fan-out by the helper in C, where `make native` built one."),
    ] = "on"
    ping_interval_s: Annotated[float, Field(ge=1, le=3600, description="Between pings.")] = 25
    ping_timeout_s: Annotated[float, Field(ge=1, le=3600, description="Wait for a pong.")] = 20
    auth_timeout_s: Annotated[
        float, Field(ge=0.1, le=300, description="Until a socket must have authenticated.")
    ] = 10
    compare_interval_s: CompareInterval = 2

    presence_lease_s: Annotated[
        float, Field(ge=1, le=600, description="Until the people of a node that died are missed.")
    ] = 15
    presence_grace_s: Annotated[
        float, Field(ge=0, le=60, description="Who comes back so soon was never gone.")
    ] = 3
    presence_roster_most: Annotated[
        int, Field(ge=0, le=1000, description="People up to whom a channel lists them.")
    ] = 200

    retention_max_events: Annotated[Count, Field(description="Events a stream keeps.")] = 10_000
    retention_max_age_s: Annotated[Seconds, Field(description="Age at which events go.")] = (
        30 * 86_400
    )
    retention_min_age_s: Annotated[
        float, Field(ge=0, description="Age below which none goes, however many there are.")
    ] = 3600
    retention_interval_s: Annotated[Seconds, Field(description="Between trimmings.")] = 600

    needs_secret: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check_retention(self) -> "Settings":
        if self.retention_min_age_s > self.retention_max_age_s:
            raise ValueError("RETENTION_MIN_AGE_S: must not be above RETENTION_MAX_AGE_S")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> "Settings":
        # A character may take six bytes as JSON, and a packet has more in it than its data.
        least = 6 * self.max_event_bytes + 4096
        for name in ("max_packet_bytes", "max_queued_bytes", "max_body_bytes"):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name.upper()}: must be {least} or more, so that an event of "
                    "MAX_EVENT_BYTES passes whatever is in it"
                )
        return self

    @model_validator(mode="after")
    def _check_workers(self) -> "Settings":
        if self.workers > 1 and not self.redis_url:
            raise ValueError(
                "WORKERS: more than one process needs REDIS_URL, for each must hear of the "
                "others' events; or set WORKERS=1"
            )
        if self.workers > 1 and "polling" in self.transports:
            raise ValueError(
                "TRANSPORTS: a session of polling lives in one process and WORKERS is "
                f"{self.workers}; set TRANSPORTS=websocket, or WORKERS=1"
            )
        return self

    @property
    def origins(self) -> list[str]:
        """The sites whose pages may call, beside our own."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def serves_polling(self) -> bool:
        """Tell whether Engine.IO's polling is served: a session of it lives in one process."""
        return "polling" in self.transports and bool(self.node_name or not self.redis_url)

    @property
    def redis_space(self) -> str:
        """What begins every key and channel: the prefix, and what the secret makes of it.

        So installations that share a Redis never hear one another, also where nobody gave them
        prefixes of their own.
        """
        mark = hmac.new(self.secret_key.encode(), b"redis space", "sha256").hexdigest()[:12]
        return f"{self.redis_prefix}:{mark}"

    @property
    def is_embedded(self) -> bool:
        """Tell whether everything is in this process and its folder."""
        return self.database_uri.startswith("sqlite") and not self.redis_url

    @property
    def database_file(self) -> Path | None:
        """The file of an SQLite database."""
        uri = self.database_uri
        return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite") else None

    @property
    def database_uri(self) -> str:
        """The database's address, as SQLAlchemy takes it."""
        if not self.database_url:
            return f"sqlite:///{Path(self.instance_path).resolve() / 'fanfare.db'}"
        scheme, _, rest = self.database_url.partition("://")
        return self.database_url if scheme == "sqlite" else f"postgresql+psycopg://{rest}"


class TestingSettings(Settings):
    """For tests: quick to notice, on a free port."""

    __test__: ClassVar[bool] = False  # Not a test class, for all its name.

    port: Port = 0
    compare_interval_s: CompareInterval = 0.2
    log_level: LogLevel = "debug"


class ProductionSettings(Settings):
    """For production: open to the network, and with a secret of one's own."""

    host: Host = "0.0.0.0"  # noqa: S104 - a server behind a proxy listens on every interface
    transports: Transports = "websocket"
    needs_secret: ClassVar[bool] = True


_CLASSES: dict[str, type[Settings]] = {
    "development": Settings,
    "testing": TestingSettings,
    "production": ProductionSettings,
}


def load(environ: Mapping[str, str] | None = None, dotenv: str | None = ".env") -> Settings:
    """Read the settings.

    Raises:
        SettingsError: naming everything that is wrong, at once.
    """
    given = {**_from_file(dotenv), **(os.environ if environ is None else environ)}
    kind = given.get("ENVIRONMENT", "development")
    faults = [] if kind in _CLASSES else [f"ENVIRONMENT: is {kind!r}; one of {', '.join(_CLASSES)}"]
    cls = _CLASSES.get(kind, Settings)
    values = {
        name: given[name.upper()] for name in cls.model_fields if given.get(name.upper(), "") != ""
    }
    values.pop("environment", None)
    try:
        settings = cls(environment=kind if kind in _CLASSES else "development", **values)
    except ValidationError as error:
        faults += [_tell(fault, cls) for fault in error.errors(include_url=False)]
        settings = None
    faults += _secret_faults(cls, values.get("secret_key", ""))
    if faults or settings is None:
        raise SettingsError("These settings are wrong:\n" + "\n".join(f"  {f}" for f in faults))
    return settings


def _from_file(dotenv: str | None) -> dict[str, str]:
    if dotenv is None:
        return {}
    return {name: value for name, value in dotenv_values(dotenv).items() if value is not None}


def _tell(fault: Any, cls: type[Settings]) -> str:
    if not fault["loc"]:
        return str(fault["msg"]).removeprefix("Value error, ")
    name = str(fault["loc"][0])
    right = cls.model_fields[name].description or ""
    shown = (
        "" if name in ("secret_key", "database_url", "redis_url") else f"is {fault['input']!r}; "
    )
    wrong = fault["msg"].removeprefix("Value error, ")
    return f"{name.upper()}: {shown}{wrong[0].lower()}{wrong[1:]}. {right}".strip()


def _secret_faults(cls: type[Settings], secret: str) -> list[str]:
    how = "make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
    if not secret:
        return [f"SECRET_KEY: is missing; {how}"] if cls.needs_secret else []
    if len(secret) < MIN_SECRET_CHARS or len(set(secret)) < 8:
        return [
            f"SECRET_KEY: is easy to guess; {MIN_SECRET_CHARS} random characters or more; {how}"
        ]
    return []


def with_secret(settings: Settings) -> Settings:
    """Give the settings a secret, kept in the instance folder, where none was set.

    Production never comes this far without one.
    """
    if settings.secret_key:
        return settings
    return settings.model_copy(update={"secret_key": _kept_secret(settings)})


def _kept_secret(settings: Settings) -> str:
    folder = Path(settings.instance_path)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "secret_key"
    if not path.exists():
        # Written whole under another name first: of two processes that start together, one
        # gives it its name, and the other reads a secret, never an empty file.
        draft = folder / f"secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        draft.unlink()
    return path.read_text().strip()
