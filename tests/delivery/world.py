"""What the tests of delivery act on: the core on a database of its own, or a running server.

`Core` calls the services in this process, as several nodes on one database would; `Room` is a
channel of a running server, with the people who write and read in it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from sqlalchemy import create_engine

from config import Settings
from core.callers import Caller
from core.ids import new_id
from core.positions import StreamState
from core.services import accounts, channels, messages, publish, retention
from core.services.history import LogReader
from core.services.retention import Retention
from core.store import log
from core.store.database import Database
from tests.support.client import RestClient, unique

JSON = dict[str, Any]
MAX_BYTES = 65_536


def open_database(url: str) -> Database:
    """Open a database as a node does, with connections of its own."""
    uri = Settings(database_url=url).database_uri
    return Database(
        create_engine(uri, pool_size=16, max_overflow=0, pool_timeout=30), sqlite_synchronous="OFF"
    )


class Core:
    """The services on one database, for one user."""

    def __init__(self, url: str, caller: Caller | None = None) -> None:
        self.url = url
        self.db = open_database(url)
        self.caller = caller or self._register()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _register(self) -> Caller:
        name = unique()
        with self.db.write() as write:
            user_id = accounts.add_user(write, username=name, password_hash="none")
        return Caller(user_id, name, new_id(), False, 2**53)

    def close(self) -> None:
        """Let the connections go."""
        self.db.engine.dispose()

    def make_stream(self) -> str:
        """Make a channel; give its stream, which holds two events from its birth."""
        draft = channels.ChannelDraft("a channel", "private")
        return f"channel:{channels.create(self.db, self.caller, draft).channel['id']}"

    def publish(self, stream: str, data: Any, key: str | None = None) -> publish.Published:
        """Publish an event of an application's."""
        draft = publish.Draft(stream, "test.made", data, key)
        return publish.publish(self.db, self.caller, draft, max_bytes=MAX_BYTES)

    def post(self, stream: str, body: str, key: str | None = None) -> messages.Posted:
        """Post a message."""
        draft = messages.MessageDraft(body, key=key)
        channel = stream.removeprefix("channel:")
        return messages.create(self.db, self.caller, channel, draft, max_bytes=MAX_BYTES)

    def state(self, stream: str) -> StreamState:
        """Read where a stream stands."""
        with self.db.read() as conn:
            return log.get_state(conn, stream)

    def offsets(self, stream: str) -> list[int]:
        """Read the offsets of all that a stream holds."""
        with self.db.read() as conn:
            return [event.offset for event in read_all(conn, log.get_state(conn, stream))]

    def reader(self) -> LogReader:
        """Give what a node reads the log by."""
        return LogReader(self.db)


def read_all(conn: Any, state: StreamState) -> list[Any]:
    """Read everything that a stream holds."""
    return log.read_after(conn, state, state.trimmed, limit=1_000_000, max_bytes=2**40)


class Room:
    """A private channel of a running server, made for one test or one example."""

    def __init__(self, owner: RestClient, members: Sequence[RestClient] = ()) -> None:
        self.owner = owner
        draft = {"name": "a room", "kind": "private", "members": [m.id for m in members]}
        made = owner.post("/channels", draft)
        assert made.status_code == 201, made.text
        self.id = str(made.json()["id"])
        self.stream = f"channel:{self.id}"
        self.top = 2 + len(members)
        self.epoch = self.page(0, 1)["position"]["epoch"]

    def position(self, offset: int) -> JSON:
        """Give a position in this channel."""
        return {"offset": offset, "epoch": self.epoch}

    def publish(self, count: int, size: int = 0) -> None:
        """Publish so many events, with data of that size."""
        for first in range(0, count, 10):
            events = [
                {"stream": self.stream, "type": "test.made", "data": "x" * size}
                for _ in range(first, min(first + 10, count))
            ]
            answer = self.owner.post("/publish", {"events": events})
            assert answer.status_code == 200, answer.text
            outcomes = answer.json()["outcomes"]
            assert all(outcome["ok"] for outcome in outcomes), outcomes
            self.top = outcomes[-1]["event"]["offset"]

    def page(self, after: int, limit: int, **more: Any) -> JSON:
        """Read a page of its log over REST."""
        query = {"after": after, "limit": limit, **more}
        answer = self.owner.get(f"/channels/{self.id}/events", params=query)
        assert answer.status_code == 200, answer.text
        page: JSON = answer.json()
        return page

    def log(self, after: int = 0, limit: int = 200) -> list[JSON]:
        """Read its log over REST, page after page."""
        items: list[JSON] = []
        page = self.page(after, limit)
        while True:
            assert page["reset"] is None, page["reset"]
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            query = {"cursor": page["next_cursor"], "limit": limit}
            page = self.owner.get(f"/channels/{self.id}/events", params=query).json()


def sqlite_path(url: str) -> Path:
    """Give the file of an SQLite database."""
    return Path(url.removeprefix("sqlite:///"))


def trim(core: Core, room: Room, keep: int) -> int:
    """Have a channel keep so many events; give the first offset that is left."""
    state = core.state(room.stream)
    retention.trim_stream(core.db, state.id, Retention(keep, 10**9, 0))
    trimmed = core.state(room.stream).trimmed
    assert trimmed == max(state.trimmed, room.top - keep)
    return trimmed + 1
