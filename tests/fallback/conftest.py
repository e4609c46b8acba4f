"""A server without limits, and a few people on it; three nodes to be broken."""

from tests.delivery.conftest import ada, bob, busy_core, busy_server, busy_url
from tests.nodes.conftest import breakable, own_postgres, own_redis

__all__ = ["ada", "bob", "breakable", "busy_core", "busy_server", "busy_url"]
__all__ += ["own_postgres", "own_redis"]
