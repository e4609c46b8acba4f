"""A server without limits, and a few people on it."""

from tests.delivery.conftest import ada, bob, busy_server, busy_url

__all__ = ["ada", "bob", "busy_server", "busy_url"]
