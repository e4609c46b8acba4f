"""The tests: they mirror the modules, and drive a real server, a real PostgreSQL, real clients.

`make test` runs them all. What a machine lacks is skipped with a reason; with
FANFARE_REQUIRE_ALL=1, as in CI, it is a failure.
"""
