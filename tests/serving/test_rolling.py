"""Workers that are replaced under load: who follows `bye` loses nothing and sees no error.

Clients publish and watch over plain WebSockets, so that nothing mends what the server breaks.
"""

import asyncio
import functools
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
import socketio

from cluster.postgres import Postgres
from tests.regression.wires import dial
from tests.serving.conftest import with_workers, workers_of
from tests.serving.follower import Follower
from tests.support.client import registered, unique
from tests.support.server import Server
from tests.support.wait import wait_until

DEADLINE_S = 90
CLIENTS = 6
SOME = 150  # events of a part of a test


@pytest.fixture
def pair(postgres: Postgres, redis_server, tmp_path):
    """A server with two workers on PostgreSQL."""
    settings = with_workers(redis_server, tmp_path, WORKERS=2, MAX_EVENTS_PER_S=10_000)
    url = postgres.create_database()
    with Server(url, instance=tmp_path, **settings) as running:
        wait_until(lambda: len(workers_of(running)) == 2, deadline_s=DEADLINE_S, what="both")
        yield running


def top(person, channel: str) -> int:
    """Give the offset of the newest event."""
    return int(person.get(f"/channels/{channel}/sync").json()["position"]["offset"])


def wait_for_more(person, channel: str) -> None:
    """Wait until the log has grown by some."""
    goal = top(person, channel) + SOME
    wait_until(lambda: top(person, channel) > goal, deadline_s=DEADLINE_S, every_s=0.2)


def have_more_byes(clients: list[Follower], before: list[int]) -> bool:
    return all(len(client.byes) > n for client, n in zip(clients, before, strict=True))


def reload(server: Server) -> None:
    """Have all workers replaced."""
    before = set(workers_of(server))
    os.kill(server.pid, signal.SIGHUP)

    def are_new() -> bool:
        now = set(workers_of(server))
        return len(now) == len(before) and not now & before

    wait_until(are_new, deadline_s=DEADLINE_S, every_s=0.2, what="new workers")


def all_keys(person, channel: str) -> list[str]:
    """Give the keys of the log, in order."""
    keys: list[str] = []
    after, more = 0, True
    while more:
        page = person.get(f"/channels/{channel}/events?limit=1000&after={after}").json()
        keys += [event["key"] for event in page["items"] if event["type"] == "load.made"]
        after, more = page["items"][-1]["offset"], page["more"]
    return keys


class TestReload:
    def test_two_reloads_under_load_lose_nothing_and_nobody_sees_an_error(self, pair):
        """Each event is in the log once, and each client saw each, in order, without a gap."""
        with registered(pair.url) as ada, ExitStack() as stack:
            body = {"name": "Rolling", "kind": "public", "slug": unique("rolling")}
            channel = str(ada.post("/channels", body).json()["id"])
            clients = [
                Follower(
                    pair.url, str(ada.access_token), f"channel:{channel}", f"c{number}"
                ).start()
                for number in range(CLIENTS)
            ]
            for client in clients:
                stack.callback(client.stop)
                client.publish(True)
            for _ in range(2):
                wait_for_more(ada, channel)
                byes = [len(client.byes) for client in clients]
                reload(pair)
                wait_until(
                    functools.partial(have_more_byes, clients, byes),
                    deadline_s=DEADLINE_S,
                    what="a goodbye for each",
                )
            wait_for_more(ada, channel)
            for client in clients:
                client.publish(False)
            wait_until(lambda: all(c.is_quiet() for c in clients), deadline_s=DEADLINE_S)
            last = top(ada, channel)
            wait_until(lambda: all(c.offsets[-1] == last for c in clients), deadline_s=DEADLINE_S)
            keys = all_keys(ada, channel)

        assert [error for client in clients for error in client.errors] == []
        assert sorted(keys) == sorted(key for client in clients for key in client.published)
        assert len(set(keys)) == len(keys)
        for client in clients:
            first = client.offsets[0]
            assert client.offsets == list(range(first, last + 1))
            assert {bye["retry"] for bye in client.byes} == {"later"}
            assert len(set(client.nodes)) >= 3

    def test_a_stock_client_comes_back_by_itself_and_resumes(self, pair):
        """python-socketio's own reconnection, with no more than a `resume` at each connect."""
        with registered(pair.url) as ada:
            body = {"name": "Stock", "kind": "public", "slug": unique("stock")}
            channel = str(ada.post("/channels", body).json()["id"])
            seen = asyncio.run(watch_over_a_reload(pair, ada, channel))

        assert seen == list(range(20))

    def test_wrong_settings_leave_those_before_in_force(self, pair):
        (pair.folder / ".env").write_text("GRACE_S=never\n")
        reload(pair)
        with registered(pair.url) as ada:
            assert ada.get("/me").status_code == 200

        assert "GRACE_S" in pair.log
        assert "The settings before stay in force." in pair.log


class TestTheEndOfAll:
    def test_everybody_is_told_and_the_door_is_closed_and_nothing_is_left(self, pair):
        with registered(pair.url) as ada, ExitStack() as stack:
            body = {"name": "End", "kind": "public", "slug": unique("end")}
            channel = str(ada.post("/channels", body).json()["id"])
            clients = [
                Follower(
                    pair.url, str(ada.access_token), f"channel:{channel}", f"c{number}"
                ).start()
                for number in range(CLIENTS)
            ]
            for client in clients:
                stack.callback(client.stop)
            workers = workers_of(pair)
            code = pair.stop(deadline_s=DEADLINE_S)
            with pytest.raises(ConnectionRefusedError):
                dial(pair)

        assert code == 0
        assert [[bye["code"] for bye in client.byes] for client in clients] == [["draining"]] * 6
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        assert not list(pair.folder.glob("fanfare-metrics-*"))


async def watch_over_a_reload(server, person, channel: str) -> list[int]:
    """Publish twenty events, with a reload in the midst; give what a stock client saw."""
    stream = f"channel:{channel}"
    seen: list[int] = []
    told = asyncio.Event()
    at: dict[str, object] = {}
    client = socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=1)

    def take(event) -> None:
        if event["stream"] == stream:
            at.update(offset=event["offset"])
            seen.append(event["data"])
            told.set()

    def answered(ack) -> None:
        for event in ack["events"]:
            take(event)
        at.update(ack["position"])
        told.set()

    async def ready(_data) -> None:
        asked = {"stream": stream, **({"after": dict(at)} if at else {})}
        await client.emit("subscribe", asked, callback=answered)

    client.on("ready", ready)
    client.on("event", take)
    await client.connect(server.url, auth={"token": person.access_token}, transports=["websocket"])
    before = set(workers_of(server))
    await wait_for(lambda: at)
    for number in range(20):
        if number == 7:
            os.kill(server.pid, signal.SIGHUP)
        event = {"type": "a.b", "data": number}
        await asyncio.to_thread(person.post, f"/channels/{channel}/events", event)
    await wait_for(lambda: not set(workers_of(server)) & before)
    await wait_for(lambda: len(seen) >= 20)
    await client.disconnect()
    return seen


async def wait_for(condition) -> None:
    await asyncio.to_thread(wait_until, condition, deadline_s=DEADLINE_S, every_s=0.1)
