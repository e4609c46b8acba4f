"""The blocking flavour against a real server: the same, from threads."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fanfare_client import (
    EndedError,
    Event,
    Fanfare,
    FanfareError,
    Position,
    ResetError,
    State,
    UnsubscribedError,
)
from tests.clients.conftest import make_channel, say
from tests.clients.python.conftest import QUICK
from tests.support.client import RestClient, registered
from tests.support.server import Server
from tests.support.wait import wait_until

Connect = Callable[..., Fanfare]
LONG_S = 30.0


@pytest.fixture
def connect(ada) -> Iterator[Connect]:
    """Connect clients that are closed after the test."""
    clients: list[Fanfare] = []

    def connected(person: RestClient = ada, **more: Any) -> Fanfare:
        more = {"token": person.access_token, "timing": QUICK, "trust_env": False, **more}
        client = Fanfare(person.url, **more)
        clients.append(client)
        return client.connect(timeout=LONG_S)

    yield connected
    for client in clients:
        client.close()


def bodies(events: list[Event]) -> list[str]:
    return [event.data["body"] for event in events if event.type == "message.created"]


class TestOrder:
    def test_a_burst_is_handed_out_in_order_by_one_thread(self, connect, ada, channel, door):
        """The stock client would hand each packet to a thread of its own."""
        seen: list[int] = []
        threads: set[str] = set()

        def on_event(event: Event) -> None:
            threads.add(threading.current_thread().name)
            seen.append(event.data)

        client = connect(door=door)
        client.channel(channel["id"]).subscribe(on_event=on_event)
        for start in range(0, 500, 100):
            events = [
                {"stream": channel["stream"], "type": "order.paid", "data": start + n}
                for n in range(100)
            ]
            assert ada.post("/publish", {"events": events}).ok
        wait_until(lambda: len(seen) >= 500, deadline_s=LONG_S)

        assert seen == [*range(500)]
        assert len(threads) == 1

    def test_a_handler_that_waits_holds_the_next_one_back(self, connect, ada, channel):
        """Also one of another subscription: handlers need no locks among themselves."""
        running, most = 0, 0

        def on_event(event: Event) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            threading.Event().wait(0.005)
            running -= 1
            seen.append(event.offset)

        seen: list[int] = []
        client = connect()
        there, elsewhere = client.channel(channel["id"]), client.channel(make_channel(ada)["id"])
        there.subscribe(on_event=on_event)
        elsewhere.subscribe(on_event=on_event)
        for n in range(20):
            there.send(str(n))
            elsewhere.send(str(n))
        wait_until(lambda: len(seen) == 40, deadline_s=LONG_S)

        assert most == 1

    def test_many_threads_may_write(self, connect, channel):
        there = connect().channel(channel["id"])
        subscription = there.subscribe()
        threads = [
            threading.Thread(target=lambda n=n: [there.send(f"{n} {m}") for m in range(10)])
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = bodies([subscription.next(LONG_S) for _ in range(50)])

        for n in range(5):
            assert [body for body in found if body.startswith(f"{n} ")] == [
                f"{n} {m}" for m in range(10)
            ]


class TestIterating:
    def test_events_come_by_for(self, connect, ada, channel, door):
        subscription = connect(door=door).channel(channel["slug"]).subscribe(history=1)
        say(ada, channel, "one", "two")
        found: list[Event] = []
        for event in subscription:
            found.append(event)
            if len(found) == 3:
                break

        assert bodies(found) == ["one", "two"]
        assert subscription.position == found[-1].position

    def test_a_wait_that_runs_out_loses_nothing(self, connect, ada, channel):
        subscription = connect().channel(channel["id"]).subscribe()
        with pytest.raises(TimeoutError):
            subscription.next(timeout=0.01)
        say(ada, channel, "late")

        assert bodies([subscription.next(LONG_S)]) == ["late"]

    def test_closing_it_ends_the_loop(self, connect, channel):
        subscription = connect().channel(channel["id"]).subscribe()
        closer = threading.Timer(0.05, subscription.close)
        closer.start()

        assert list(subscription) == []
        closer.join()

    def test_a_reset_is_raised_and_a_snapshot_leads_on(self, connect, ada, channel):
        there = connect().channel(channel["id"])
        subscription = there.subscribe(after=Position(1, "elsewhere"))
        with pytest.raises(ResetError):
            subscription.next(LONG_S)
        subscription.sync()
        say(ada, channel, "next")

        assert bodies([subscription.next(LONG_S)]) == ["next"]


class TestHandlers:
    def test_one_may_call_the_client(self, connect, channel):
        """An answering machine: it publishes from inside its handler."""
        there = connect().channel(channel["id"])
        answers: list[str] = []

        def on_event(event: Event) -> None:
            if event.data["body"] == "ping":
                there.send("pong")
            answers.append(event.data["body"])

        there.subscribe(on_event=on_event)
        there.send("ping")
        wait_until(lambda: answers == ["ping", "pong"], deadline_s=LONG_S)

    def test_one_may_close_the_client(self, connect, ada, channel):
        client = connect()
        closed = threading.Event()

        def on_event(event: Event) -> None:
            client.close()
            closed.set()

        client.channel(channel["id"]).subscribe(on_event=on_event)
        say(ada, channel, "the last one")

        assert closed.wait(LONG_S)
        assert client.state.state == "ended"

    def test_states_are_told_in_order(self, connect, channel):
        states: list[State] = []
        connect(on_state=states.append).close()

        assert [state.state for state in states] == ["live", "ended"]


class TestCalls:
    def test_reading_and_writing(self, connect, ada, channel, door):
        client = connect(door=door)
        there = client.channel(channel["slug"])
        sent = there.send("Hello", key="k1")
        paid = there.publish("order.paid", {"order": 42})
        assert sent.message is not None
        edited = there.edit(sent.message["id"], "Hello, all")
        there.typing()

        assert [event.offset for event in there.history(limit=2)] == [1, 2, 3, 4, 5]
        assert paid.position == sent.position.at(4)
        assert edited["body"] == there.messages()["items"][0]["body"] == "Hello, all"
        assert there.delete(sent.message["id"])["deleted_at"]
        assert there.read(4) == {"read_offset": 4, "unread": 0}
        assert there.sync()["position"]["offset"] == 6
        assert there.presence().people == []
        assert client.get("/me")["id"] == ada.id
        assert client.request("PATCH", "/me", {"display_name": "Ada"})["display_name"] == "Ada"
        assert client.publish("user:me", "note.made", 1).position is None or door == "socket"

    def test_notifications(self, connect, ada):
        notifications = connect().notifications
        own = notifications.subscribe()
        channel = make_channel(ada)

        assert own.next(LONG_S).data["channel_id"] == channel["id"]
        assert notifications.unread() == 0
        assert notifications.list()["items"] == []
        assert notifications.read() == {"updated": 0, "unread": 0}

    def test_what_the_server_refuses_is_raised(self, connect, channel):
        there = connect().channel(channel["id"])
        there.send("Hello", key="k1")
        with pytest.raises(FanfareError) as caught:
            there.send("Something else", key="k1")

        assert caught.value.code == "conflict"

    def test_a_stream_that_is_not_ones_own(self, connect):
        with pytest.raises(UnsubscribedError):
            connect().channel("no-such-channel").subscribe()


class TestLiving:
    def test_it_outlives_a_restart(self, own_server: Server, door):
        with registered(own_server.url) as person:
            channel = make_channel(person)
            more: dict[str, Any] = {"timing": QUICK, "trust_env": False, "door": door}
            with Fanfare(own_server.url, token=person.access_token, **more) as client:
                subscription = client.channel(channel["id"]).subscribe()
                say(person, channel, "before")
                own_server.restart()
                say(person, channel, "after")
                found = [subscription.next(LONG_S) for _ in range(2)]

        assert bodies(found) == ["before", "after"]

    def test_a_function_gives_the_token(self, connect, ada):
        loops: list[object] = []

        def token(refused: str | None) -> str | None:
            # Not on the loop: a function that waits would hold everything up.
            with pytest.raises(RuntimeError):
                loops.append(asyncio.get_running_loop())
            return ada.access_token

        assert connect(token=token).state.state == "live"
        assert loops == []

    def test_the_door_can_be_forced(self, connect):
        client = connect()
        client.force("socket")
        client.wake()

        assert client.state.door == "socket"

    def test_closing_leaves_no_thread(self, connect, channel):
        before = set(threading.enumerate())
        client = connect()
        client.channel(channel["id"]).subscribe(on_event=lambda event: None)
        client.channel(channel["id"]).send("Hello")
        client.close()
        client.close()

        assert set(threading.enumerate()) <= before

    def test_a_bad_token_ends_the_connect(self, connect):
        with pytest.raises(EndedError):
            connect(token="e30.e30.c2ln")
