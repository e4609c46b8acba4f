"""`run.py tail` at a terminal: every event once, in order, through whichever door is open."""

import itertools
import json
import re
import signal
import threading
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from tail import http_doors
from tail.doors import TailError
from tail.view import View, Wanted
from tests.support.bad_proxies import BadProxy
from tests.support.client import registered
from tests.support.server import Server
from tests.support.terminal import Tail, make_channel, refused, run, said, started
from tests.support.wait import wait_until

DOORS = {"socket": "WebSocket", "sse": "Server-Sent Events", "poll": "long-poll"}
SOCKET, STREAM, POLL = "/socket.io/", "/api/v1/events/stream", "/api/v1/events?"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A server that runs, for all that leave it as it is."""
    folder = tmp_path_factory.mktemp("home")
    with Server(instance=folder, COMPARE_INTERVAL_S=0.2, MAX_EVENTS_PER_S=100_000) as server:
        yield server


@pytest.fixture(scope="module")
def ada(home):
    with registered(home.url) as person:
        yield person


@pytest.fixture
def channel(ada):
    return make_channel(ada)


@pytest.fixture(scope="module")
def long_channel(ada):
    """A channel with more events than one page holds, and the position of the last."""
    channel = make_channel(ada)
    return channel, publish(ada, channel, *range(600))


@pytest.fixture
def proxy(home):
    with BadProxy(home.url) as running:
        yield running


@pytest.fixture
def tail():
    """`tail(server, stream, …)` follows a stream until the test ends."""
    with ExitStack() as stack:
        yield lambda server, *words: Tail(stack.enter_context(started(server, "tail", *words)))


def publish(person, channel, *values):
    """Publish, and return the position of the last, as `run.py publish` prints it."""
    for value in values:
        body = {"type": "order.paid", "data": value}
        made = person.post(f"/channels/{channel['id']}/events", body)
        assert made.status_code == 201, made.text
    return made.headers["Fanfare-Position"]


def connected_by(shown, door, times=1):
    """Wait until a tail has said so often that it is connected by a door."""
    told = f"— connected by {DOORS[door]}"
    wait_until(
        lambda: sum(note.startswith(told) for note in shown.notes) >= times,
        deadline_s=60,
        what=f"{told} in {shown.notes}",
    )


def offsets(shown):
    return [json.loads(line)["offset"] for line in shown.lines]


@pytest.mark.parametrize("door", DOORS)
class TestEachDoor:
    def test_history_and_live_events_are_shown_for_a_person(self, home, ada, channel, tail, door):
        publish(ada, channel, "old")
        words = ("--as", ada.user["username"], "--history", "1", "--door", door)
        shown = tail(home, f"channel:{channel['slug']}", *words)
        shown.wait_for(1)
        connected_by(shown, door)
        publish(ada, channel, "new")
        old, new = shown.wait_for(2)

        assert re.match(r'^\d\d:\d\d:\d\d\.\d{3} +\d+  order\.paid +"old"$', old)
        assert new.endswith('"new"')

    def test_it_goes_on_after_a_position(self, home, ada, channel, tail, door):
        """As `publish` printed it; and no event comes twice."""
        position = publish(ada, channel, 1)
        publish(ada, channel, 2, 3)
        words = ("--as", ada.user["username"], "--after", position, "--json", "--door", door)
        shown = tail(home, channel["stream"], *words)
        events = [json.loads(line) for line in shown.wait_for(2)]

        assert [event["data"] for event in events] == [2, 3]

    def test_more_than_a_page_is_shown_once_and_in_order(self, home, ada, long_channel, tail, door):
        channel, last = long_channel
        start = f"0/{last.partition('/')[2]}"
        words = ("--token", ada.access_token, "--after", start, "--json", "--door", door)
        shown = tail(home, channel["stream"], *words)
        shown.wait_for(602)

        assert offsets(shown) == list(range(1, 603))

    def test_it_survives_a_restart_of_the_server_without_a_gap(self, start_server, tail, door):
        server = start_server(COMPARE_INTERVAL_S=0.2)
        with registered(server.url) as person:
            channel = make_channel(person)
            words = ("--as", person.user["username"], "--history", "1", "--json")
            shown = tail(server, channel["stream"], *words, "--door", door)
            shown.wait_for(1)
            server.stop()
            said(run(server, "publish", channel["stream"], "order.paid", '"while away"'))
            server.start()
            publish(person, channel, "after")
            events = [json.loads(line) for line in shown.wait_for(3)]

        assert [event["data"] for event in events[1:]] == ["while away", "after"]
        first = events[0]["offset"]
        assert [event["offset"] for event in events] == [first, first + 1, first + 2]

    def test_a_position_that_is_gone_is_told(self, home, ada, channel, tail, door):
        publish(ada, channel, 1)
        words = ("--token", ada.access_token, "--json", "--door", door)
        shown = tail(home, channel["stream"], *words, "--after", "1/0badc0de")
        connected_by(shown, door)
        wait_until(lambda: "epoch" in " ".join(shown.notes), deadline_s=60, what="the reset")
        publish(ada, channel, "after")

        assert json.loads(shown.wait_for(1)[0])["data"] == "after"

    def test_a_token_that_ends_is_followed_by_a_new_one(self, start_server, tail, door):
        """Where it may make one itself; nothing is lost between the two."""
        server = start_server(ACCESS_TOKEN_TTL_S=2)
        with registered(server.url) as person:
            person.access_token = said(
                run(server, "token", person.user["username"], "--ttl", "3000")
            )
            channel = make_channel(person)
            words = ("--as", person.user["username"], "--json", "--history", "1", "--door", door)
            shown = tail(server, channel["stream"], *words)
            for number in itertools.count():
                publish(person, channel, number)
                if sum(note.startswith("— connected") for note in shown.notes) > 1:
                    break
                shown.wait_for(number + 1)
            shown.wait_for(number + 1)
            wait_until(lambda: offsets(shown)[-1] == number + 3, deadline_s=60)

        assert offsets(shown) == list(range(offsets(shown)[0], number + 4))

    def test_a_given_token_that_ends_is_the_end(self, home, ada, channel, door):
        token = said(run(home, "token", ada.user["username"], "--ttl", "3"))
        text = refused(run(home, "tail", channel["stream"], "--token", token, "--door", door))

        assert "token" in text.splitlines()[-1]

    def test_lost_access_is_the_end(self, home, ada, tail, door):
        made = ada.post("/channels", {"name": "Inner", "kind": "private"}).json()
        words = ("--token", ada.access_token, "--history", "1", "--door", door)
        shown = tail(home, f"channel:{made['id']}", *words)
        shown.wait_for(1)
        ada.delete(f"/channels/{made['id']}")

        assert shown.process.wait(60) == 2
        wait_until(lambda: "access ended" in shown.notes[-1], deadline_s=30, what=str(shown.notes))

    def test_an_interrupt_ends_it_quietly(self, home, ada, channel, tail, door):
        words = ("--as", ada.user["username"], "--door", door)
        shown = tail(home, channel["stream"], *words)
        connected_by(shown, door)
        shown.process.send_signal(signal.SIGINT)

        assert shown.process.wait(30) in (0, 130)
        assert "Traceback" not in "\n".join(shown.notes)

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("channel:nowhere", "--token", "{token}"), "channel:nowhere"),
            (("user:me", "--as", "nobody-here"), "user"),
            (("user:me", "--token", "x"), "token"),
        ],
    )
    def test_what_can_not_be_followed_is_told(self, home, ada, door, words, named):
        words = [word.replace("{token}", ada.access_token) for word in words]

        assert named in refused(run(home, "tail", *words, "--door", door))


class TestChoice:
    """The first door that opens, and what is told of it."""

    def watch(self, tail, home, proxy, ada, channel, *words):
        words = ("--token", ada.access_token, "--json", "--url", proxy.url, *words)
        return tail(home, channel["stream"], *words)

    def test_it_is_the_socket_where_nothing_is_in_the_way(self, home, ada, channel, proxy, tail):
        connected_by(self.watch(tail, home, proxy, ada, channel), "socket")

        assert not [one for one in proxy.requests if "/api/" in one]

    @pytest.mark.parametrize("fault", ["refuse_upgrades", "swallow_frames"])
    @pytest.mark.parametrize("lower", ["sse", "poll"])
    def test_it_is_a_lower_one_where_a_proxy_is(
        self, home, ada, channel, proxy, tail, fault, lower
    ):
        setattr(proxy, fault, True)
        proxy.buffer_sse = lower == "poll"
        shown = self.watch(tail, home, proxy, ada, channel)
        connected_by(shown, lower)
        publish(ada, channel, "through")

        assert json.loads(shown.wait_for(1)[0])["data"] == "through"
        assert shown.notes[0].startswith("— WebSocket does not open: ")
        assert len(shown.notes) == (2 if lower == "sse" else 3)

    def test_a_door_that_was_named_is_the_only_one(self, home, ada, channel, proxy):
        proxy.refuse_upgrades = True
        words = ("--token", ada.access_token, "--url", proxy.url, "--door", "socket")
        text = refused(run(home, "tail", channel["stream"], *words))

        assert proxy.url in text
        assert not [one for one in proxy.requests if "/api/" in one]

    def test_nothing_is_lost_or_doubled_from_door_to_door(self, home, ada, channel, proxy, tail):
        """While events come: socket, cut; SSE, cut; long-poll, cut; and long-poll again."""
        shown = self.watch(tail, home, proxy, ada, channel, "--history", "1")
        connected_by(shown, "socket")
        enough = threading.Event()
        published: list[str] = []

        def go_on():
            while not enough.is_set():
                published.append(publish(ada, channel, len(published)))

        writer = threading.Thread(target=go_on)
        writer.start()
        try:
            proxy.refuse_upgrades = True
            proxy.cut(SOCKET)
            connected_by(shown, "sse")
            proxy.cut(STREAM)
            connected_by(shown, "sse", times=2)
            proxy.buffer_sse = True
            proxy.cut(STREAM)
            connected_by(shown, "poll")
            proxy.cut(POLL)
            wait_until(lambda: len(shown.lines) > 50, deadline_s=60)
        finally:
            enough.set()
            writer.join()
        last = int(published[-1].partition("@")[2].partition("/")[0])
        wait_until(lambda: offsets(shown)[-1] >= last, deadline_s=60, what=f"offset {last}")

        assert offsets(shown) == list(range(2, last + 1))


def make_view(**more):
    return View(Wanted("channel:lobby", more.get("after"), 0, as_json=True))


def event(offset, stream="channel:1"):
    return {"stream": stream, "offset": offset}


def shown_by(capsys):
    return [json.loads(line)["offset"] for line in capsys.readouterr().out.splitlines()]


class TestRefusals:
    @pytest.mark.parametrize(
        ("stream", "said"),
        [
            ("", "channel:a: There is no such stream."),
            ("channel:1", "channel:a: access ended: not_found"),
        ],
    )
    def test_what_was_followed_before_has_ended(self, stream, said):
        """Also where it ended between two polls: nobody waited then."""
        problem = {"code": "not_found", "detail": "There is no such stream."}
        answer: Any = SimpleNamespace(
            ok=False,
            headers={"Content-Type": "application/problem+json"},
            json=lambda: dict(problem),
        )
        view: Any = SimpleNamespace(stream=stream, wanted=SimpleNamespace(stream="channel:a"))

        with pytest.raises(TailError, match=f"^{re.escape(said)}$"):
            http_doors._refuse(answer, view)


class TestView:
    """Whatever order and doors events come in and by."""

    def test_each_event_is_shown_once_in_its_turn(self, capsys, rng):
        view = make_view()
        view.begin("channel:1", {"offset": 0, "epoch": "a"})
        coming = [*range(1, 40), *range(1, 40)]
        rng.shuffle(coming)
        for offset in coming:
            view.put(event(offset))

        assert shown_by(capsys) == list(range(1, 40))
        assert view.position == {"offset": 39, "epoch": "a"}
        assert not view.has_gap()

    def test_an_event_before_its_stream_is_known_waits_for_it(self, capsys):
        """A live one may overtake the answer that names the stream; those of others are dropped."""
        view = make_view()
        view.put(event(8))
        view.put(event(8, "user:1"))
        view.put_page("channel:1", [event(6), event(7)], {"offset": 7, "epoch": "a"})

        assert shown_by(capsys) == [6, 7, 8]

    def test_the_known_position_outlives_another_beginning(self, capsys):
        view = make_view(after={"offset": 3, "epoch": "a"})
        view.begin("channel:1", {"offset": 9, "epoch": "a"})
        view.put(event(4))

        assert shown_by(capsys) == [4]

    def test_a_gap_is_seen_until_it_is_filled(self, capsys):
        view = make_view(after={"offset": 3, "epoch": "a"})
        view.begin("channel:1", {"offset": 3, "epoch": "a"})
        view.put(event(5))
        had_gap = view.has_gap()
        view.put(event(4))

        assert had_gap
        assert not view.has_gap()
        assert shown_by(capsys) == [4, 5]

    def test_a_reset_goes_on_behind_its_position(self, capsys):
        view = make_view(after={"offset": 3, "epoch": "a"})
        view.begin("channel:1", {"offset": 3, "epoch": "a"})
        view.put(event(11))
        view.reset("channel:1", "epoch", {"offset": 10, "epoch": "b"})
        view.reset("user:1", "epoch", {"offset": 50, "epoch": "c"})

        assert shown_by(capsys) == [11]
        assert view.position == {"offset": 11, "epoch": "b"}
