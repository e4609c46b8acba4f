"""The store of rate limits that all nodes share."""

from collections.abc import Callable
from typing import Any

import redis
from limits.errors import StorageError
from limits.storage import RedisStorage, Storage

# All by which Redis fails: what the cluster's client raises is no RedisError.
_FAILURES = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)


def make_store(make_client: Callable[[], Any], prefix: str) -> Storage:
    """Make the store, on a client of one server or of a cluster.

    Raises:
        StorageError: no server of the cluster answers.
    """
    try:
        client = make_client()
    except _FAILURES as error:
        raise StorageError(error) from error
    store = _Store("redis://", key_prefix=f"{prefix}:limits", wrap_exceptions=True)
    store.use(client)
    return store


class _Store(RedisStorage):
    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What is wrapped in a StorageError."""
        return _FAILURES

    def use(self, client: Any) -> None:
        # The library would make a client by an address of its own kind; ours knows TLS files,
        # sentinels and clusters already.
        self.storage = client
        self.initialize_storage("redis://")
