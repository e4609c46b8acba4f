"""The page behind networks that block its socket: it goes on by another door, and comes back."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Error, expect

from tests.browser.conftest import OpenWindow
from tests.browser.console import PATIENT_MS, Window
from tests.support.bad_proxies import BadProxy
from tests.support.client import RestClient, registered, unique
from tests.support.server import Server

# What is wrong with the network, and the door that is left.
BLOCKS = {
    "upgrades refused": (["refuse_upgrades"], "sse"),
    "frames swallowed": (["swallow_frames"], "sse"),
    "upgrades refused, streams kept back": (["refuse_upgrades", "buffer_sse"], "poll"),
    "frames swallowed, streams kept back": (["swallow_frames", "buffer_sse"], "poll"),
}
blocks = pytest.mark.parametrize("block", BLOCKS)
SOON = "probe_s=2"
Tell = Callable[[str], None]
NAMES = {"socket": "WebSocket", "sse": "SSE", "poll": "Long-poll"}


@dataclass
class Room:
    """A channel with a page behind a proxy in it, and a friend who is not behind it."""

    window: Window
    proxy: BadProxy
    friend: RestClient
    slug: str

    def enter(self, query: str = SOON) -> Window:
        """Open the page at the channel."""
        return self.window.go(self.slug, query)

    def hear(self, body: str) -> None:
        """Let the friend write."""
        sent = self.friend.post(f"/channels/{self.slug}/messages", {"body": body})
        assert sent.status_code == 201, sent.text

    def block(self, block: str) -> str:
        """Let the network go bad; give the door that is left."""
        faults, door = BLOCKS[block]
        for fault in faults:
            setattr(self.proxy, fault, True)
        return door

    def is_sent(self) -> None:
        """Wait until nothing is on its way."""
        sending = self.window.page.locator("[data-testid=message][data-state=sending]")
        expect(sending).to_have_count(0, timeout=PATIENT_MS)

    def logged(self) -> list[str]:
        """Give what is in the log, in its order."""
        found = self.friend.get(f"/channels/{self.slug}/messages?sort=offset&limit=200").json()
        return [message["body"] for message in found["items"]]

    def is_whole(self, written: list[str]) -> None:
        """Hold that all of it is in the log once, and that the page shows what the log has."""
        expect(self.window["message"]).to_have_count(len(written), timeout=PATIENT_MS)
        self.is_sent()
        logged = self.logged()
        self.window.shows(logged, timeout_ms=PATIENT_MS)
        assert sorted(logged) == sorted(written)
        channel = self.window.channel("Room").get_attribute("data-channel-id") or ""
        offsets = self.window.offsets(channel)
        assert offsets == list(range(offsets[0], offsets[-1] + 1))


@pytest.fixture
def room(open_window: OpenWindow, site: Server) -> Iterator[Room]:
    with BadProxy(site.url) as proxy:
        user, friend, slug = registered(proxy.url), registered(site.url), unique("room")
        channel = {"kind": "public", "name": "Room", "slug": slug}
        assert user.post("/channels", channel).status_code == 201
        assert friend.put(f"/channels/{slug}/members/me", {}).ok
        yield Room(open_window(proxy.url, user=user), proxy, friend, slug)


class TestBlocked:
    @blocks
    def test_from_the_start_the_page_goes_on_and_comes_back(
        self, room: Room, block: str, tell: Tell
    ):
        """How long it takes is told and not judged: the machine may be busy."""
        door = room.block(block)
        room.hear("Before")

        began = time.monotonic()
        room.enter().uses(door).shows(["Before"])
        tell(f"{block}, from the start: {time.monotonic() - began:.1f} s, with the page's loading")
        room.hear("While blocked")
        expect(room.window.message("While blocked")).to_be_visible()
        room.window.say("Said while blocked")
        room.window.shows(["Before", "While blocked", "Said while blocked"])

        room.proxy.heal()
        room.hear("While it comes back")
        room.window.say("Said while it comes back").uses("socket")
        room.hear("After")
        expect(room.window.message("After")).to_be_visible()
        room.window.say("Said after")
        heard = ["Before", "While blocked", "While it comes back", "After"]
        said = ["Said while blocked", "Said while it comes back", "Said after"]
        room.is_whole([*heard, *said])

    @blocks
    def test_midway_the_page_goes_on_and_comes_back(self, room: Room, block: str, tell: Tell):
        """A network that refuses upgrades ends the socket; one that swallows says nothing."""
        room.enter().uses("socket").say("Before").shows(["Before"])

        door = room.block(block)
        if room.proxy.refuse_upgrades:
            room.proxy.cut("/socket.io")
        began = time.monotonic()
        room.hear("While blocked")
        room.window.say("Said while blocked")
        expect(room.window["message"]).to_have_count(3, timeout=PATIENT_MS)
        room.is_sent()
        tell(f"{block}, midway: {time.monotonic() - began:.1f} s")
        room.window.uses(door)

        room.proxy.heal()
        room.window.uses("socket")
        room.hear("After")
        room.window.say("Said after")
        room.is_whole(["Before", "While blocked", "Said while blocked", "After", "Said after"])


class TestSwitch:
    @pytest.mark.parametrize("door", NAMES)
    def test_a_door_is_forced_and_shown(self, room: Room, door: str):
        """What is chosen lasts over a reload, and the way back is to choose it."""
        room.enter().uses("socket").choose(door).uses(door)

        expect(room.window["connection-door"]).to_have_text(f"{NAMES[door]} only")
        room.hear("Hello")
        room.window.shows(["Hello"]).say("Hello, you")
        room.window.shows(["Hello", "Hello, you"])

        room.window.reload().uses(door).shows(["Hello", "Hello, you"])
        assert room.window.page.evaluate("location.search") == f"?{SOON}"
        room.window.choose("auto").uses("socket")
        expect(room.window["connection-door"]).to_have_text("WebSocket")

    def test_nothing_is_lost_or_doubled_while_doors_change(self, room: Room, rng: random.Random):
        """The friend writes all the time; the page changes its door, at times in mid-change."""
        room.enter().uses("socket")
        written: list[str] = []
        over = threading.Event()

        def write() -> None:
            while not over.is_set() and len(written) < 150:
                room.hear(f"Message {len(written)}")
                written.append(f"Message {len(written)}")

        writer = threading.Thread(target=write)
        writer.start()
        said = []
        for turn in range(10):
            door = rng.choice(["auto", *NAMES])
            room.window.choose(door)
            if rng.random() < 0.6 and door != "auto":
                room.window.uses(door)
            said.append(f"Said {turn}")
            room.window.say(said[-1])
        over.set()
        writer.join()

        room.window.choose("auto").uses("socket")
        room.hear("The end")
        room.is_whole([*written, *said, "The end"])

    def test_a_forced_door_that_is_blocked_is_not_left(self, room: Room):
        """Whoever forces a door wants to see what becomes of it; the reason is shown."""
        room.block("upgrades refused")

        room.enter("door=socket&" + SOON)

        expect(room.window["connection"]).to_have_attribute("data-state", "connecting")
        room.window["connection"].click()
        expect(room.window["connection-panel"]).to_contain_text("Next try in")
        expect(room.window["door-socket"]).to_have_attribute("aria-pressed", "true")
        room.window["door-auto"].click()
        room.window.uses("sse")


class TestOutbox:
    @pytest.mark.parametrize("network", ["gone", "answers nothing"])
    def test_what_was_written_offline_is_sent_once_in_order(self, room: Room, network: str):
        """Three messages, a reload, and only then a network again."""
        window, page = room.window, room.window.page
        room.enter().uses("socket")
        expect(window["composer"]).to_be_visible()

        if network == "gone":
            window.context.set_offline(True)
        else:
            room.block("upgrades refused")
            page.route("**/api/v1/**", lambda route: route.abort())
        room.proxy.cut("/")
        expect(window["connection"]).not_to_have_attribute("data-state", "live")
        window.say("One").say("Two").say("Three")
        expect(page.locator("[data-state=sending]")).to_have_count(3)

        if network == "gone":
            with pytest.raises(Error, match="ERR_INTERNET_DISCONNECTED"):
                page.reload()
            window.context.set_offline(False)
            page.goto(f"{window.url}/?{SOON}#/c/{room.slug}")
        else:
            page.reload()
            expect(window["connection"]).to_have_attribute("data-state", "connecting")
            assert room.logged() == []
            room.proxy.heal()
            page.unroute("**/api/v1/**")

        window.is_live().shows(["One", "Two", "Three"], timeout_ms=PATIENT_MS)
        assert room.logged() == ["One", "Two", "Three"]
        window.reload().shows(["One", "Two", "Three"])
