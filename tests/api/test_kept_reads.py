"""Pages, snapshots and 304s from what is kept: as fresh as the database, and for nobody else."""

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine

from cluster.postgres import Postgres, find_binaries
from core.store.database import Database
from tests.api.people import done, make_channel, post, problem
from tests.support import needs, plainly
from tests.support.client import registered
from tests.support.server import Server
from tests.support.wait import wait_until

STEPS = 150
JSON = dict[str, Any]


@pytest.fixture
def database(shared_server) -> Iterator[Database]:
    """The server's own database, by another way than the server."""
    url = shared_server.environment()["DATABASE_URL"]
    db = Database(create_engine(url.replace("postgresql://", "postgresql+psycopg://")))
    yield db
    db.close()


class Reader:
    """Somebody who asks again for what they have, and believes a 304."""

    def __init__(self, client) -> None:
        self.client = client
        self.held: dict[str, tuple[str, JSON]] = {}
        self.spared = 0

    def read(self, path: str) -> JSON | None:
        """Give what this client takes for true; None where there is no such thing."""
        tag, body = self.held.get(path, ("", {}))
        response = self.client.get(path, headers={"If-None-Match": tag} if tag else {})
        if response.status_code == 404:
            return None
        if response.status_code == 304:
            self.spared += 1
            assert response.headers["ETag"] == tag
            return body
        self.held[path] = (response.headers["ETag"], done(response))
        return self.held[path][1]


class Life:
    """Three people, two channels, and what happens in them at random."""

    def __init__(self, clients, rng) -> None:
        self.people = [Reader(client) for client in clients]
        self.rng = rng
        owner, member = clients[0], clients[1]
        self.channels = [make_channel(owner, kind, members=[member]) for kind in KINDS]
        self.said: list[tuple[str, str]] = []

    def step(self) -> None:
        """Somebody does something, or is refused."""
        who = self.rng.choice(self.people).client
        place = f"/channels/{self.rng.choice(self.channels)['id']}"
        whom = f"{place}/members/{self.rng.choice(self.people).client.id}"
        if self.rng.random() < 0.4 or not self.said:
            response = who.post(f"{place}/messages", {"body": str(self.rng.random())})
            if response.ok:
                self.said.append((place, response.json()["id"]))
            return
        where, message = self.rng.choice(self.said)
        self.rng.choice(
            [
                lambda: who.patch(f"{where}/messages/{message}", {"body": str(self.rng.random())}),
                lambda: who.delete(f"{where}/messages/{message}"),
                lambda: who.put(whom, {"role": self.rng.choice(["guest", "member", "owner"])}),
                lambda: who.delete(whom),
                lambda: who.patch(place, {"topic": str(self.rng.random())}),
                lambda: who.put(f"{place}/read", {"offset": self.rng.randrange(60)}),
            ]
        )()


KINDS = ("public", "private")
KEPT = ("messages", "sync")


class TestWhatIsRead:
    def test_is_what_the_database_says(self, shared_server, database, rng):
        """After any change, by whomever; also where the answer is that nothing changed."""
        clients = [registered(shared_server.url) for _ in range(3)]
        life = Life(clients, rng)
        for _ in range(STEPS):
            life.step()
            reader, channel = rng.choice(life.people), rng.choice(life.channels)
            caller = SimpleNamespace(user_id=reader.client.id, is_admin=False)
            count, path = rng.choice([2, 30]), f"/channels/{channel['id']}"
            for _ in range(2):
                page = reader.read(f"{path}/messages?limit={count}")
                sync = reader.read(f"{path}/sync?messages={count}")
                told = plainly.snapshot(database, caller, channel["id"], count)

                assert (page and page["items"]) == plainly.page(
                    database, caller, channel["id"], count
                )
                assert (sync and {**sync, "presence": None}) == told

        assert sum(reader.spared for reader in life.people) > STEPS


class TestWhoMayNoLongerRead:
    """What they hold, and what is kept, opens no door."""

    @pytest.fixture
    def held(self, ada, newcomer):
        """A private channel that a newcomer has just read, and the tags of it."""
        channel = make_channel(ada, "private", members=[newcomer])
        post(ada, channel)
        place = f"/channels/{channel['id']}"
        tags = {f"{place}/{it}": newcomer.get(f"{place}/{it}").headers["ETag"] for it in KEPT}
        for path in tags:
            done(ada.get(path))
        return channel, tags

    def answers(self, who, tags):
        """Give what is answered with a tag and without."""
        asked = [(path, {"If-None-Match": tag}) for path, tag in tags.items()]
        asked += [(path, {"If-None-Match": "*"}) for path in tags] + [(path, {}) for path in tags]
        return [who.get(path, headers=headers) for path, headers in asked]

    def test_someone_removed(self, ada, newcomer, held):
        channel, tags = held
        assert ada.delete(f"/channels/{channel['id']}/members/{newcomer.id}").status_code == 204

        for answer in self.answers(newcomer, tags):
            problem(answer, 404, "not_found")

    def test_someone_who_left(self, newcomer, held):
        channel, tags = held
        assert newcomer.delete(f"/channels/{channel['id']}/members/me").status_code == 204

        for answer in self.answers(newcomer, tags):
            problem(answer, 404, "not_found")

    def test_of_a_channel_that_is_gone(self, ada, newcomer, held):
        channel, tags = held
        assert ada.delete(f"/channels/{channel['id']}").status_code == 204

        for answer in self.answers(newcomer, tags) + self.answers(ada, tags):
            problem(answer, 404, "not_found")

    def test_someone_who_logged_out(self, newcomer, held):
        _, tags = held
        assert newcomer.post("/auth/logout").status_code == 204

        for answer in self.answers(newcomer, tags):
            problem(answer, 401, "token_revoked")

    def test_someone_disabled(self, newcomer, admin, held):
        _, tags = held
        assert admin.delete(f"/users/{newcomer.id}").status_code == 204

        for answer in self.answers(newcomer, tags):
            problem(answer, 401, "token_revoked")

    def test_someone_whose_session_was_ended(self, newcomer, held):
        _, tags = held
        other = registered_again(newcomer)
        (session,) = [s for s in other.get("/auth/sessions").json()["items"] if not s["current"]]
        assert other.delete(f"/auth/sessions/{session['id']}").status_code == 204

        for answer in self.answers(newcomer, tags):
            problem(answer, 401, "token_revoked")

    def test_a_stranger(self, eve, held):
        _, tags = held

        for answer in self.answers(eve, tags):
            problem(answer, 404, "not_found")


def registered_again(client):
    """The same user, on another device."""
    other = type(client)(client.url)
    assert other.login(client.user["username"]).ok
    other.user = client.user
    return other


def is_answered(client, path, tag):
    return client.get(path, headers={"If-None-Match": tag}).status_code in (200, 304)


class TestWithoutTheDatabase:
    def test_nothing_is_read(self, tmp_path):
        """What is kept may be old by now, and whose it is can't be asked: no guess, and no 304."""
        needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
        with Postgres(fsync=False) as postgres:
            url = postgres.create_database()
            with Server(url, instance=tmp_path) as server:
                ada = registered(server.url)
                place = f"/channels/{make_channel(ada)['id']}"
                tags = {path: ada.get(f"{place}/{path}").headers["ETag"] for path in KEPT}
                asked = [(f"{place}/{path}", tag) for path, tag in tags.items()]
                asked += [(f"{place}/{path}", "") for path in KEPT]
                postgres.stop()
                away = [ada.get(path, headers={"If-None-Match": tag}) for path, tag in asked]
                postgres.start()

                for answer in away:
                    problem(answer, 503, "unavailable")
                for path, tag in asked:
                    wait_until(partial(is_answered, ada, path, tag), deadline_s=30)


class TestOnesOwn:
    def test_is_not_given_to_others(self, ada, ben):
        """One snapshot, kept for all: whose it is, is read for each."""
        channel = make_channel(ada, members=[ben])
        message = post(ada, channel)
        done(ben.put(f"/channels/{channel['id']}/read", {"offset": message["offset"]}))
        path = f"/channels/{channel['id']}/sync"
        told = {who.id: done(who.get(path)) for who in (ada, ben, ada)}

        assert told[ada.id]["membership"]["role"] == "owner"
        assert told[ben.id]["membership"]["user_id"] == ben.id
        assert (told[ada.id]["read_offset"], told[ben.id]["unread"]) == (0, 0)
        assert told[ben.id]["read_offset"] == message["offset"]

    def test_a_moved_marker_is_no_304(self, ada, ben):
        """It is one's own and no event of the channel; the tag knows of it."""
        channel = make_channel(ada, members=[ben])
        message = post(ada, channel)
        path = f"/channels/{channel['id']}/sync"
        tag = ben.get(path).headers["ETag"]
        done(ben.put(f"/channels/{channel['id']}/read", {"offset": message["offset"]}))
        again = done(ben.get(path, headers={"If-None-Match": tag}))

        assert (again["read_offset"], again["unread"]) == (message["offset"], 0)
