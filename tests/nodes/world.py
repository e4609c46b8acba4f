"""Three nodes on one database and one Redis, as the tests of many nodes have them."""

from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import requests
from prometheus_client.parser import text_string_to_metric_families

from cluster.ports import LOOPBACK
from cluster.proxy import Proxy
from cluster.redis import RedisServer
from tests.delivery.conftest import UNLIMITED
from tests.delivery.raw import RawSocket
from tests.support.client import RestClient
from tests.support.server import Server
from tests.support.wait import wait_until

SECRET = "three-nodes-that-know-one-secret-0123456789"
READY_S = 60.0


class Trio:
    """Three nodes. The last one reaches Redis through a proxy of its own, which can be cut."""

    def __init__(self, database_url: str, redis: RedisServer, folder: Path, **more: Any) -> None:
        self.redis = redis
        self.proxy = Proxy((LOOPBACK, redis.port))
        urls = [redis.url, redis.url, f"redis://{self.proxy.address}/0"]
        settings = {
            **UNLIMITED,
            "SECRET_KEY": SECRET,
            "COMPARE_INTERVAL_S": 2,
            "DATABASE_POOL_SIZE": 20,
            **more,
        }
        self.nodes = [
            Server(
                database_url,
                instance=folder / f"node-{number}",
                migrate=number == 0,
                **{"REDIS_URL": url, **settings},
            )
            for number, url in enumerate(urls)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.proxy)
            for node in self.nodes:
                stack.enter_context(node)
            self.wait_until_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def urls(self) -> list[str]:
        """Where the nodes are."""
        return [node.url for node in self.nodes]

    def wait_until_ready(self) -> None:
        """Wait until all three are, each heard by itself over Redis."""
        for node in self.nodes:
            node.wait_until_ready(deadline_s=READY_S)

    def metric(self, number: int, name: str) -> float:
        """Read a number that a node counts; 0 where it has counted nothing yet."""
        answer = requests.get(f"{self.nodes[number].url}/metrics", timeout=READY_S)
        found = text_string_to_metric_families(answer.text)
        return sum(s.value for family in found for s in family.samples if s.name == name)

    def wait_until_heard(self, stream: str, nodes: int = 3) -> None:
        """Wait until so many nodes have subscribed to a stream at Redis."""

        def is_heard() -> bool:
            return self.hearers(stream) == nodes

        wait_until(is_heard, deadline_s=READY_S, what=f"{nodes} nodes to hear of {stream}")

    def hearers(self, stream: str) -> int:
        """Count the nodes that have subscribed to a stream at Redis."""
        counts = self.redis.cli("PUBSUB", "NUMSUB", *self.channels(stream)).split()[1::2]
        return sum(map(int, counts))

    def channels(self, stream: str) -> list[str]:
        """Name the channel of a stream at Redis, if any node hears of it."""
        return self.redis.cli("PUBSUB", "CHANNELS", f"fanfare:*:stream:{stream}").split()


class Roamer:
    """A client that is on another node at each connection."""

    def __init__(self, urls: list[str], token: str | None, first: int = 0) -> None:
        self._token = token
        self._urls = cycle([*urls[first:], *urls[:first]])

    def connect(self) -> RawSocket:
        """Connect to the next node."""
        return RawSocket(next(self._urls), self._token)


class Everywhere:
    """One user's calls of REST, each to another node."""

    def __init__(self, urls: list[str], client: RestClient) -> None:
        self.id = client.id
        self._clients = [RestClient(url, token=client.access_token) for url in urls]
        self._turns = cycle(self._clients)

    def get(self, path: str, **more: Any) -> requests.Response:
        """GET from the next node."""
        return next(self._turns).get(path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> requests.Response:
        """POST to the next node."""
        return next(self._turns).post(path, json, **more)

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.close()
