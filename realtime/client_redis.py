"""From an address to clients of Redis: one server, TLS, a Unix socket, Sentinel, or a cluster.

Valkey speaks the same protocol. Nothing is retried inside the client: whoever uses it knows what
a failure means, and when to try again. Timeouts are short, so nobody hangs on a frozen server.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

TIMEOUT_S = 2.0
# All by which Redis, or the way to it, fails: what the cluster's client raises is no RedisError.
FAILURES = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)
_SENTINEL_PORT = 26_379
_PORT = 6379

Client = redis.Redis | RedisCluster


class RedisRefusedError(Exception):
    """Redis answers, and refuses who we say that we are."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is: `redis`, `rediss`, `valkey`, `valkeys`, `unix`, `sentinel(s)`, `cluster(s)`.

    `sentinel://:password@one:26379,two:26379/name-of-the-master/0` asks the sentinels who is the
    master (their own password, if any: `?sentinel_password=…`); `cluster://one:7000,two:7001`
    names some nodes of a cluster, which tell of the others.
    """

    url: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    @property
    def is_cluster(self) -> bool:
        """Tell whether keys and channels are spread over several servers."""
        return urlsplit(self.url).scheme in ("cluster", "clusters")

    def client(self) -> Client:
        """Make a client. It connects when it is used, but a cluster is asked for its nodes now.

        Raises:
            One of FAILURES: no node of the cluster answers.
        """
        parts = urlsplit(self.url)
        if self.is_cluster:
            return self._cluster(parts)
        if parts.scheme in ("sentinel", "sentinels"):
            return self._by_sentinel(parts)
        url = self.url.replace("valkey", "redis", 1) if parts.scheme[:6] == "valkey" else self.url
        options = self._options(parts.scheme in ("rediss", "valkeys"))
        client: redis.Redis = redis.Redis.from_url(url, **options)
        return client

    def check(self) -> bool:
        """Ask once whether Redis answers.

        Raises:
            RedisRefusedError: it does, and refuses the password or certificate.
        """
        try:
            client = self.client()
            client.ping()
            client.close()
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise RedisRefusedError(str(error)) from error
        except FAILURES as error:
            if "WRONGPASS" in str(error) or "NOAUTH" in str(error):
                raise RedisRefusedError(str(error)) from error
            return False
        return True

    def _cluster(self, parts: SplitResult) -> RedisCluster:
        make: Any = ClusterNode
        nodes = [make(host, port) for host, port in _hosts(parts, _PORT)]
        return RedisCluster(
            startup_nodes=nodes,
            **_login(parts),
            **self._options(parts.scheme == "clusters", ssl=True),
        )

    def _by_sentinel(self, parts: SplitResult) -> redis.Redis:
        options = {**_login(parts), **self._options(parts.scheme == "sentinels", ssl=True)}
        master, _, database = parts.path.strip("/").partition("/")
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            _hosts(parts, _SENTINEL_PORT),
            sentinel_kwargs={
                **self._options(parts.scheme == "sentinels", ssl=True),
                "password": parse_qs(parts.query).get("sentinel_password", [None])[0],
            },
            **options,
        )
        made: redis.Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
            master, db=int(database or 0)
        )
        return made

    def _options(self, is_tls: bool, *, ssl: bool = False) -> dict[str, Any]:
        options: dict[str, Any] = {
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "socket_keepalive": True,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
        }
        if urlsplit(self.url).scheme == "unix":
            del options["socket_keepalive"]
        if is_tls:
            options |= {"ssl": True} if ssl else {}
            options |= {"ssl_ca_certs": self.ca_file} if self.ca_file else {}
            options |= {"ssl_certfile": self.cert_file} if self.cert_file else {}
            options |= {"ssl_keyfile": self.key_file} if self.key_file else {}
        return options


def _hosts(parts: SplitResult, port: int) -> list[tuple[str, int]]:
    named = parts.netloc.rpartition("@")[2].split(",")
    split = [urlsplit(f"//{name}") for name in named]
    return [(one.hostname or "localhost", one.port or port) for one in split]


def _login(parts: SplitResult) -> dict[str, Any]:
    login = parts.netloc.rpartition("@")[0]
    username, _, password = login.partition(":")
    given = {"username": unquote(username), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}
