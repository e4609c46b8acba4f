"""Coming back with a position: exactly what came after it, or a reset that says why not.

Whatever lies in between: a cut at any moment, a restart, pages, a trimmed log, a restored backup.
`Reader` checks each offset as it comes, so a hole or a repeat fails where it is seen.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from core.services import retention
from core.services.retention import Retention
from tests.delivery.conftest import UNLIMITED
from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room, sqlite_path, trim
from tests.support.client import JSON, RestClient, registered
from tests.support.wait import wait_until

EXAMPLES = hypothesis.settings(max_examples=15)
BIG = 60 * 1024


def resume(connection: RawSocket, positions: dict[str, JSON]) -> dict[str, JSON]:
    """Resume many streams by one packet; give the ack of each."""
    acks: dict[str, JSON] = connection.ok("resume", {"positions": positions})["streams"]
    return acks


class Ways:
    """The ways to come back, each bringing a reader up to the top of its room."""

    def __init__(self, url: str, who: RestClient, room: Room, reader: Reader) -> None:
        self.url = url
        self.who = who
        self.room = room
        self.reader = reader
        self.connection: RawSocket | None = None

    def drop(self) -> None:
        """Cut the connection, whatever is on its way."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def connect(self) -> RawSocket:
        """Connect, if need be."""
        if self.connection is None:
            self.connection = RawSocket(self.url, self.who.access_token)
        return self.connection

    def subscribe(self, limit: int) -> None:
        """Come back by `subscribe`, in pages."""
        self.drop()
        self.reader.subscribe(self.connect(), limit)

    def resume(self, _limit: int) -> None:
        """Come back by `resume`, and by `subscribe` for what is more."""
        self.drop()
        assert self.reader.position is not None
        positions = {self.room.stream: self.reader.position}
        if self.reader.take_ack(resume(self.connect(), positions)[self.room.stream]):
            self.reader.subscribe(self.connect())

    def rest(self, limit: int) -> None:
        """Come back by REST, without a connection."""
        self.drop()
        assert self.reader.position is not None
        at = self.reader.position["offset"]
        for event in self.room.log(at, limit):
            self.reader.take(event)

    def read_some(self, count: int) -> None:
        """Read so many packets, if there are as many, and leave the others unread."""
        while self.connection is not None and count and self.is_behind():
            self.reader.take_packet(self.connection.read())
            count -= 1

    def is_behind(self) -> bool:
        """Tell whether there is more to come."""
        assert self.reader.position is not None
        return bool(self.reader.position["offset"] < self.room.top)


ACTIONS = st.tuples(
    st.sampled_from(["publish", "read", "drop", "subscribe", "resume", "rest"]),
    st.integers(1, 12),
)


class TestAnyMoment:
    @EXAMPLES
    @hypothesis.given(steps=st.lists(ACTIONS, max_size=14))
    def test_a_client_that_is_cut_off_anywhere_sees_every_event_once(self, busy_server, ada, steps):
        """In the midst of events, of pages, between an ack and the next event; by every door."""
        room = Room(ada)
        reader = Reader(room.stream, room.position(0))
        ways = Ways(busy_server.url, ada, room, reader)

        for action, number in steps:
            if action == "publish":
                room.publish(number)
            elif action == "read":
                ways.read_some(number)
            elif action == "drop":
                ways.drop()
            else:
                getattr(ways, action)(number)
        ways.subscribe(100)
        ways.drop()

        assert reader.resets == []
        assert reader.seen == room.log()

    @EXAMPLES
    @hypothesis.given(data=st.data())
    def test_from_any_offset_all_doors_give_the_same(self, busy_server, ada, data):
        """Cold, so that the log is read; and warm, from the node's memory."""
        room = Room(ada)
        room.publish(data.draw(st.integers(0, 12), "events"))
        after = data.draw(st.integers(0, room.top), "after")
        limit = data.draw(st.integers(1, 5), "limit")
        wanted = room.log()[after:]

        for way in ("subscribe", "resume", "rest", "subscribe"):
            ways = Ways(busy_server.url, ada, room, Reader(room.stream, room.position(after)))
            getattr(ways, way)(limit)
            ways.drop()
            assert ways.reader.seen == wanted
            assert ways.reader.resets == []

    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    def test_pages_end_exactly_at_the_top(self, busy_server, ada, limit):
        """`more` is true until the last page, and that one is not empty."""
        room = Room(ada)
        room.publish(4)
        reader = Reader(room.stream, room.position(0))

        with RawSocket(busy_server.url, ada.access_token) as connection:
            reader.subscribe(connection, limit)

        assert reader.offsets == [1, 2, 3, 4, 5, 6]
        assert reader.pages == -(-6 // limit)

    def test_events_that_come_between_pages_are_in_the_next_page(self, busy_server, ada):
        """A client that pages is not live: they must not come before the page they follow."""
        room = Room(ada)
        room.publish(6)
        reader = Reader(room.stream, room.position(0))

        with RawSocket(busy_server.url, ada.access_token) as connection:
            more = True
            while more:
                wish = {"stream": room.stream, "after": reader.position, "limit": 3}
                more = reader.take_ack(connection.ok("subscribe", wish))
                if room.top < 14:
                    room.publish(2)
            reader.read_to(connection, room.top)

        assert reader.seen == room.log()
        assert reader.pages > 3


class TestNoneSeenYet:
    def test_offset_0_gives_everything_from_the_first_on(self, busy_server, ada):
        """The trap: a client that never got an event has a position too."""
        room = Room(ada)
        reader = Reader(room.stream, room.position(0))

        with RawSocket(busy_server.url, ada.access_token) as connection:
            reader.subscribe(connection)

        assert reader.offsets == [1, 2]

    def test_ones_own_stream_is_resumed_from_the_position_in_ready(self, busy_server):
        """A new user's stream is empty: `ready` says offset 0, and that is enough."""
        with registered(busy_server.url) as who:
            with RawSocket(busy_server.url, who.access_token) as connection:
                position = connection.ready["position"]
            reader = Reader(f"user:{who.id}", position)
            Room(who)
            made = {"events": [{"stream": "user:me", "type": "test.made", "data": 1}]}
            assert who.post("/publish", made).json()["outcomes"][0]["ok"]

            with RawSocket(busy_server.url, who.access_token) as connection:
                acks = resume(connection, {"user:me": position})
                reader.take_ack(acks["user:me"])
                assert who.post("/publish", made).json()["outcomes"][0]["ok"]
                reader.read_to(connection, 3)

        assert position["offset"] == 0
        assert [event["type"] for event in reader.seen] == [
            *("member.joined", "test.made", "test.made"),
        ]

    def test_ones_own_stream_is_live_from_ready_on(self, busy_server):
        """Without any subscribe: the first event after `ready` is its position plus one."""
        with registered(busy_server.url) as who:
            Room(who)
            with RawSocket(busy_server.url, who.access_token) as connection:
                reader = Reader(f"user:{who.id}", connection.ready["position"])
                Room(who)
                reader.read_to(connection, 2)

        assert reader.offsets == [2]


class TestManyAtOnce:
    def test_one_packet_resumes_all_streams_each_in_its_own_way(
        self, busy_server, busy_core, ada, bob
    ):
        """Behind, at the top, trimmed, ahead, of another epoch, and not the caller's to read."""
        rooms = [Room(ada, [bob]) for _ in range(5)]
        for room in rooms:
            room.publish(7)
        behind, there, trimmed, ahead, other = rooms
        trim(busy_core, trimmed, 2)
        hidden = Room(ada)
        positions = {
            behind.stream: behind.position(4),
            there.stream: there.position(10),
            trimmed.stream: trimmed.position(4),
            ahead.stream: ahead.position(11),
            other.stream: {"offset": 3, "epoch": "0123abcd"},
            hidden.stream: hidden.position(0),
            "user:me": {"offset": 0, "epoch": "0123abcd"},
        }

        with RawSocket(busy_server.url, bob.access_token) as connection:
            acks = resume(connection, positions)
            for room in (*rooms, hidden):
                room.publish(1)
            live = [connection.read_until(lambda p: p[0] == "event")[1] for _ in rooms]

        assert set(acks) == set(positions)
        assert [event["offset"] for event in acks[behind.stream]["events"]] == list(range(5, 11))
        assert acks[there.stream]["events"] == []
        reasons = [acks[room.stream]["reset"] for room in rooms]
        assert [reset and reset["reason"] for reset in reasons] == [
            *(None, None, "trimmed", "ahead", "epoch"),
        ]
        for room in (trimmed, ahead, other):
            top = {"offset": 10, "epoch": room.epoch}
            assert acks[room.stream]["position"] == top
            assert acks[room.stream]["reset"]["top"] == top
        assert acks[hidden.stream]["ok"] is False
        assert acks[hidden.stream]["error"]["code"] == "not_found"
        assert acks["user:me"]["stream"] == f"user:{bob.id}"
        assert {event["stream"] for event in live} == {room.stream for room in rooms}

    def test_a_slug_is_answered_under_the_name_that_was_asked(self, busy_server, ada):
        """And `stream` names it by id."""
        room = Room(ada)
        slug = f"slug-{room.id[-12:]}"
        assert ada.patch(f"/channels/{room.id}", {"slug": slug}).ok

        with RawSocket(busy_server.url, ada.access_token) as connection:
            acks = resume(connection, {f"channel:{slug}": room.position(0)})

        assert acks[f"channel:{slug}"]["stream"] == room.stream
        assert len(acks[f"channel:{slug}"]["events"]) == 3


class TestTrimmed:
    @EXAMPLES
    @hypothesis.given(data=st.data())
    def test_all_that_is_left_is_given_and_what_is_gone_is_a_reset(
        self, busy_server, busy_core, ada, data
    ):
        """By every door, from every offset: exactly at the edge too. Never a part in silence."""
        room = Room(ada)
        room.publish(data.draw(st.integers(1, 8), "events"))
        oldest = trim(busy_core, room, data.draw(st.integers(1, 8), "kept"))
        after = data.draw(st.integers(0, room.top), "after")
        reader = Reader(room.stream, room.position(after))

        page = room.page(after, 100, epoch=room.epoch)
        with RawSocket(busy_server.url, ada.access_token) as connection:
            reader.subscribe(connection, data.draw(st.integers(1, 5), "limit"))
            room.publish(1)
            reader.read_to(connection, room.top)

        if after >= oldest - 1:
            assert reader.resets == []
            assert page["reset"] is None
            assert reader.offsets == list(range(after + 1, room.top + 1))
            assert [event["offset"] for event in page["items"]] == reader.offsets[:-1]
        else:
            top = room.position(room.top - 1)
            reset = {"reason": "trimmed", "oldest": oldest, "top": top}
            assert reader.resets == [reset]
            assert page["reset"] == reset
            assert page["items"] == []
            assert page["more"] is False
            assert reader.offsets == [room.top]

    def test_a_trimming_between_two_pages_is_a_reset_at_the_second(
        self, busy_server, busy_core, ada
    ):
        room = Room(ada)
        room.publish(8)

        with RawSocket(busy_server.url, ada.access_token) as connection:
            wish = {"stream": room.stream, "after": room.position(0), "limit": 3}
            first = connection.ok("subscribe", wish)
            by_rest = room.page(0, 3)
            trim(busy_core, room, 2)
            second = connection.ok("subscribe", {**wish, "after": first["position"]})
            query = {"cursor": by_rest["next_cursor"]}
            page = ada.get(f"/channels/{room.id}/events", params=query).json()

        assert first["more"] is True
        assert second["reset"]["reason"] == "trimmed"
        assert page["reset"]["reason"] == "trimmed"
        assert second["reset"]["oldest"] == page["reset"]["oldest"] == 9

    def test_history_of_a_trimmed_stream_is_what_is_left(self, busy_server, busy_core, ada):
        """Who wants the last hundred of ten has missed nothing: no reset."""
        room = Room(ada)
        room.publish(8)
        trim(busy_core, room, 3)

        with RawSocket(busy_server.url, ada.access_token) as connection:
            ack = connection.ok("subscribe", {"stream": room.stream, "history": 100})

        assert ack["reset"] is None
        assert [event["offset"] for event in ack["events"]] == [8, 9, 10]

    def test_a_stream_trimmed_to_nothing_still_knows_its_top(self, busy_server, busy_core, ada):
        """Offsets go on, and a client at the top is not reset."""
        room = Room(ada)
        room.publish(3)
        state = busy_core.state(room.stream)
        retention.trim_stream(busy_core.db, state.id, Retention(10_000, -10, 0))
        reader = Reader(room.stream, room.position(room.top))

        with RawSocket(busy_server.url, ada.access_token) as connection:
            reader.subscribe(connection)
            room.publish(1)
            reader.read_to(connection, room.top)

        assert busy_core.state(room.stream).trimmed == 5
        assert reader.resets == []
        assert reader.offsets == [6]

    def test_the_server_trims_by_itself_and_watchers_notice_nothing(
        self, start_server, database_url
    ):
        """A watcher that keeps up gets everything; one that comes back too late is told."""
        settings = {**UNLIMITED, "RETENTION_MAX_EVENTS": 5, "RETENTION_MIN_AGE_S": 0}
        server = start_server(database_url, migrate=False, RETENTION_INTERVAL_S=0.2, **settings)
        with registered(server.url) as who, RawSocket(server.url, who.access_token) as connection:
            room = Room(who)
            reader, late = Reader(room.stream), Reader(room.stream, room.position(1))
            reader.subscribe(connection)

            for _ in range(4):
                room.publish(10)
            wait_until(lambda: room.page(0, 1)["reset"], deadline_s=30)
            room.publish(1)
            reader.read_to(connection, room.top)
            late.subscribe(connection)

        assert reader.offsets == list(range(3, room.top + 1))
        if late.resets:
            assert [reset["reason"] for reset in late.resets] == ["trimmed"]
            assert late.seen == []
        else:  # the node still had it all in memory
            assert late.offsets == list(range(2, room.top + 1))


class TestRestart:
    @pytest.mark.parametrize("way", ["restart", "kill"])
    def test_a_new_process_goes_on_where_the_old_one_ended(self, start_server, database_url, way):
        """The position is of the log, not of the process: also where nobody has watched since."""
        server = start_server(database_url, migrate=False, **UNLIMITED)
        with registered(server.url) as who:
            room = Room(who)
            readers = [Reader(room.stream, room.position(at)) for at in (0, 1, 2)]
            connection = RawSocket(server.url, who.access_token)
            readers[0].subscribe(connection)
            readers[2].subscribe(connection)
            room.publish(5)
            readers[0].read_to(connection, 5)

            if way == "kill":
                server.kill()
                server.start()
            else:
                server.restart()
            connection.read_to_the_end()
            connection.close()
            who._session.close()
            with RawSocket(server.url, who.access_token) as again:
                for reader in readers:
                    reader.subscribe(again, 3)
                    again.ok("unsubscribe", {"stream": room.stream})
                readers[0].subscribe(again)
                room.publish(2)
                readers[0].read_to(again, room.top)

            assert room.top == 9
            assert readers[0].offsets == list(range(1, 10))
            assert readers[1].offsets == list(range(2, 8))
            assert readers[2].offsets == list(range(3, 8))
            byes = [bye["code"] for bye in connection.named("bye")]
            assert byes == ([] if way == "kill" else ["draining"])
            assert all(reader.resets == [] for reader in readers)


class TestRestored:
    """A backup is restored: the log goes back, and on with other events under the same offsets."""

    @pytest.fixture
    def backup(self, backend: str, database_url: str, request, tmp_path: Path) -> Any:
        """`backup.make()` and `backup.restore()`, while the server is stopped."""
        if backend == "sqlite":
            return SqliteBackup(database_url, tmp_path / "backup.db")
        return PostgresBackup(database_url, request.getfixturevalue("postgres"))

    def test_old_positions_are_resets(self, server, backup):
        """Past the restored top at once; and every one as soon as `new-epoch` was run."""
        with registered(server.url) as who:
            room = Room(who)
            room.publish(5)
            server.stop()
            backup.make()
            server.start()
            room.publish(4)
            server.stop()
            server.configure(DATABASE_URL=backup.restore())
            server.start()
            self.check_ahead(server, who, room)
            server.stop()
            done = server.run("new-epoch")
            assert done.returncode == 0, done.stderr
            server.start()
            self.check_epoch(server, who, room)

    @staticmethod
    def check_ahead(server: Any, who: RestClient, room: Room) -> None:
        """Nobody waits for ever for an offset that was; also where the command is forgotten."""
        reader = Reader(room.stream, room.position(11))
        with RawSocket(server.url, who.access_token) as connection:
            reader.subscribe(connection)
            room.publish(1)
            reader.read_to(connection, 8)

        assert reader.resets == [{"reason": "ahead", "oldest": 1, "top": room.position(7)}]
        assert reader.offsets == [8]

    @staticmethod
    def check_epoch(server: Any, who: RestClient, room: Room) -> None:
        """Also one that the restored log could answer: what it saw may never have been."""
        readers = [Reader(room.stream, room.position(after)) for after in (0, 3, 8, 10, 11)]
        pages = [room.page(after, 100, epoch=room.epoch) for after in (0, 3, 8, 10, 11)]
        for number, reader in enumerate(readers):
            with RawSocket(server.url, who.access_token) as connection:
                reader.subscribe(connection)
                snapshot = who.get(f"/channels/{room.id}/sync").json()
                room.publish(3)
                reader.read_to(connection, room.top)

            epoch = reader.position["epoch"] if reader.position else ""
            top = {"offset": 8 + 3 * number, "epoch": epoch}
            assert epoch != room.epoch
            assert snapshot["position"] == top
            assert reader.resets == [{"reason": "epoch", "oldest": 1, "top": top}]
            assert reader.offsets == [9 + 3 * number, 10 + 3 * number, 11 + 3 * number]
        assert [page["reset"] for page in pages] == [readers[0].resets[0]] * len(pages)


class SqliteBackup:
    """A copy of the file, by SQLite's own means: what is in its -wal belongs to it."""

    def __init__(self, url: str, copy: Path) -> None:
        self._url = url
        self._file = sqlite_path(url)
        self._copy = copy

    def make(self) -> None:
        with (
            closing(sqlite3.connect(self._file)) as source,
            closing(sqlite3.connect(self._copy)) as copy,
        ):
            source.backup(copy)

    def restore(self) -> str:
        for path in self._file.parent.glob(f"{self._file.name}*"):
            path.unlink()
        shutil.copy(self._copy, self._file)
        return self._url


class PostgresBackup:
    """A copy of the database."""

    def __init__(self, url: str, postgres: Any) -> None:
        self._url = url
        self._postgres = postgres
        self._copy = ""

    def make(self) -> None:
        self._copy = self._postgres.create_database(template=self._url)

    def restore(self) -> str:
        return self._copy


class TestBigEvents:
    """Forty events of 60 KiB: a page holds some of them, a connection's queue a few more."""

    def test_pages_are_cut_by_bytes_and_nothing_is_lost(self, busy_server, ada):
        room = Room(ada)
        room.publish(40, BIG)
        readers = [Reader(room.stream, room.position(0)) for _ in range(2)]

        with RawSocket(busy_server.url, ada.access_token) as connection:
            readers[0].subscribe(connection, 1000)
            connection.ok("unsubscribe", {"stream": room.stream})
            acks = resume(connection, {room.stream: room.position(0)})
            while readers[1].take_ack(acks[room.stream]):
                acks = resume(connection, {room.stream: readers[1].position or {}})
            room.publish(1)
            readers[1].read_to(connection, room.top)

            assert connection.named("bye") == []
        assert readers[0].offsets == list(range(1, 43))
        assert readers[1].offsets == list(range(1, 44))
        assert readers[0].pages > 3

    def test_many_big_streams_in_one_packet_share_a_page(self, busy_server, ada):
        """The ack of one packet stays within what a connection may hold."""
        rooms = [Room(ada) for _ in range(4)]
        for room in rooms:
            room.publish(10, BIG)
        readers = {room.stream: Reader(room.stream, room.position(0)) for room in rooms}
        sizes = []

        with RawSocket(busy_server.url, ada.access_token) as connection:
            behind = list(readers)
            while behind:
                positions = {stream: readers[stream].position or {} for stream in behind}
                acks = resume(connection, positions)
                sizes.append(sum(len(ack["events"]) for ack in acks.values()))
                behind = [stream for stream in behind if readers[stream].take_ack(acks[stream])]

        assert all(reader.offsets == list(range(1, 13)) for reader in readers.values())
        assert max(sizes) * BIG < 1024 * 1024

    def test_a_watcher_that_reads_gets_them_live(self, busy_server, ada):
        room = Room(ada)
        reader = Reader(room.stream)

        with RawSocket(busy_server.url, ada.access_token) as connection:
            reader.subscribe(connection)
            for _ in range(8):
                room.publish(5, BIG)
                reader.read_to(connection, room.top)

        assert reader.offsets == list(range(3, 43))

    def test_a_page_of_rest_is_cut_by_bytes_too(self, busy_server, ada):
        room = Room(ada)
        room.publish(20, BIG)

        first = room.page(0, 200)

        assert first["more"] is True
        assert 0 < len(first["items"]) < 20
        assert [event["offset"] for event in room.log()] == list(range(1, 23))
