"""Hides aiohttp from the measured server: only tests need it, and production has none.

python-socketio would import it for its client where it can, which costs 10 MiB and 0.2 s.
"""

raise ImportError("not in production")
