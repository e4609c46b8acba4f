"""Real servers as processes of one's own: Redis, PostgreSQL, nodes, nginx, and all of them at once.

`python -m cluster` is `make cluster`; tests and benchmarks start the same parts from here. What
is started is ended by its own process id, listens on this machine alone, and keeps its files in a
folder of its own.
"""
