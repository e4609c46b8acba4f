"""Trims the log and forgets dead sessions, every now and then, on every node.

Nodes may do it at once: each trimming takes the stream's row, and finds what is left to do.
"""

import random
from collections.abc import Callable

import structlog

from core.errors import FanfareError
from core.services import retention
from core.services.retention import Retention
from core.store.database import Database

_log = structlog.get_logger(__name__)


def run_for_ever(
    db: Database, rules: Retention, interval_s: float, sleep: Callable[[float], None]
) -> None:
    """Do it, wait, and again."""
    while True:
        # Jitter: many nodes must not trim in step.
        sleep(interval_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        run_once(db, rules)


def run_once(db: Database, rules: Retention) -> None:
    """Do it once; a database that is away is tried again next time."""
    try:
        events = retention.trim_all(db, rules)
        sessions = retention.forget_dead_sessions(db)
        _log.info("retention", events=events, sessions=sessions)
    except FanfareError as error:
        _log.warning("retention failed", code=error.code)
    except Exception:  # noqa: BLE001 - the loop must outlive whatever one round meets
        _log.exception("retention failed")
