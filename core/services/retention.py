"""Forgetting: old events, by age and by count for each stream, and sessions long over."""

from dataclasses import dataclass

from core.store import access_changes, accounts, log
from core.store.database import Database
from core.times import now_ms

_BATCH = 1000
_STREAMS = 100


@dataclass(frozen=True, slots=True)
class Retention:
    """What a stream keeps: at most `max_events`, none older than `max_age_s`.

    Nothing younger than `min_age_s` goes, however many there are: an event's key protects
    against a second effect as long as the event is there.
    """

    max_events: int
    max_age_s: int
    min_age_s: int


def trim_all(db: Database, retention: Retention) -> int:
    """Trim every stream, in short transactions; give how many events went."""
    trimmed, after_id = 0, 0
    while True:
        with db.read() as conn:
            candidates = log.trim_candidates(
                conn,
                max_events=retention.max_events,
                older_than_ms=now_ms() - retention.max_age_s * 1000,
                after_id=after_id,
                limit=_STREAMS,
            )
        for stream_id, _ in candidates:
            trimmed += trim_stream(db, stream_id, retention)
        if len(candidates) < _STREAMS:
            return trimmed
        after_id = candidates[-1][0]


def trim_stream(db: Database, stream_id: int, retention: Retention) -> int:
    """Trim one stream; give how many events went."""
    total = 0
    while True:
        now = now_ms()
        with db.write() as write:
            gone = log.trim(
                write,
                stream_id,
                max_events=retention.max_events,
                older_than_ms=now - retention.max_age_s * 1000,
                keep_since_ms=now - retention.min_age_s * 1000,
                batch=_BATCH,
            )
        total += gone
        if gone < _BATCH:
            return total


def forget_dead_sessions(db: Database) -> int:
    """Drop sessions, and word of access that ended, after a day; give how many sessions."""
    with db.write() as write:
        access_changes.forget(write, now_ms() - 86_400_000)
        return accounts.forget_dead(write, now_ms() - 86_400_000)


def begin_new_epochs(db: Database) -> int:
    """Give every stream a new epoch; give how many. For after a backup was restored."""
    with db.write() as write:
        return log.begin_new_epochs(write)
