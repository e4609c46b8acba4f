"""Reload, restart and a bad network: nothing is missing and nothing is doubled on the page."""

import re
from typing import Any

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.browser.conftest import OpenWindow, talk
from tests.browser.console import PATIENT_MS, Window
from tests.browser.wire import Frame, Wire, is_ack, is_event, let_in, pass_on, refuse
from tests.support.client import registered, unique
from tests.support.server import Server
from tests.support.wait import wait_until

Pair = tuple[Window, Window, str]


def write(window: Window, slug: str, *bodies: str) -> None:
    """Write messages past the window's page."""
    for body in bodies:
        assert window.rest.post(f"/channels/{slug}/messages", {"body": body}).status_code == 201


def watch_wire(
    open_window: OpenWindow, site: Server, query: str = "door=socket"
) -> tuple[Window, Wire, str]:
    """Open a window behind a wire, alone in a channel of its own; the third is its slug.

    The page is held to its socket, unless `query` says otherwise: what becomes of it behind another
    door is in test_doors.
    """
    window = open_window(site.url, user=registered(site.url))
    wire, slug = Wire(window.page), unique("wire")
    channel = {"kind": "public", "name": "Wire", "slug": slug}
    assert window.rest.post("/channels", channel).status_code == 201
    expect(window.go(slug, query).is_live()["composer"]).to_be_visible()
    return window, wire, slug


def is_away(window: Window) -> None:
    """Wait until the page has noticed that its connection is gone."""
    expect(window["connection"]).not_to_have_attribute("data-state", "live")


class TestReload:
    def test_nothing_is_doubled(self, pair: Pair):
        alice, bob, _ = pair
        alice.say("One")
        bob.shows(["One"]).say("Two")
        alice.shows(["One", "Two"])

        alice.reload().shows(["One", "Two"])
        alice.say("Three")

        for window in (alice, bob):
            window.shows(["One", "Two", "Three"])
            window.reload().shows(["One", "Two", "Three"])

    def test_what_was_not_sent_yet_is_sent_after_it_once(
        self, open_window: OpenWindow, site: Server
    ):
        """A message keeps its key through a reload, so trying again is safe."""
        window, wire, slug = watch_wire(open_window, site)
        wire.greet = refuse
        wire.cut()
        is_away(window)
        window.say("One").say("Two")
        expect(window.page.locator("[data-state=sending]")).to_have_count(2)

        wire.greet = let_in
        window.reload()

        window.shows(["One", "Two"])
        found = window.rest.get(f"/channels/{slug}/messages?sort=offset").json()["items"]
        assert [message["body"] for message in found] == ["One", "Two"]


class TestRestart:
    @pytest.mark.parametrize("kind", ["killed", "drained"])
    def test_nothing_is_missing_after_the_server_came_back(
        self, open_window: OpenWindow, fragile: Server, kind: str
    ):
        """Said before, during and after: each window shows all of it, once and in order."""
        alice, bob, slug = talk(open_window, fragile.url)
        alice.say("Before")
        bob.shows(["Before"])
        channel = alice.channel("Meeting room").get_attribute("data-channel-id") or ""

        fragile.kill() if kind == "killed" else fragile.stop()
        is_away(alice)
        alice.say("During 1").say("During 2")
        fragile.start()
        write(bob, slug, "After")

        expect(bob["message"]).to_have_count(4, timeout=PATIENT_MS)
        shown = bob.bodies()
        assert shown[0] == "Before"
        assert shown.index("During 1") < shown.index("During 2")
        for window in (alice, bob):
            window.is_live().shows(shown, timeout_ms=PATIENT_MS)
            offsets = window.offsets(channel)
            assert offsets == list(range(offsets[0], offsets[-1] + 1))

    def test_a_page_that_was_away_for_long_reads_all_it_missed(
        self, open_window: OpenWindow, site: Server
    ):
        """More events than one ack holds: the page reads on until it is level."""
        window, wire, slug = watch_wire(open_window, site)
        client, stream = window.rest, f"channel:{slug}"
        wire.greet = refuse
        wire.cut()
        is_away(window)

        batch = [{"stream": stream, "type": "load.added", "data": {"n": n}} for n in range(100)]
        for _ in range(12):
            assert client.post("/publish", {"events": batch}).status_code == 200
        write(window, slug, "At the end")
        wire.greet = let_in

        window.is_live().shows(["At the end"])
        channel = window.channel("Wire").get_attribute("data-channel-id") or ""
        top = client.get(f"/channels/{slug}/sync").json()["position"]["offset"]
        wait_until(lambda: window.offsets(channel)[-1:] == [top], what="the newest event")
        shown = window.offsets(channel)
        assert shown == list(range(top - len(shown) + 1, top + 1))

    def test_a_restored_backup_is_taken_as_it_is(self, open_window: OpenWindow, fragile: Server):
        """Another epoch: what the backup does not hold leaves the page, and it goes on."""
        alice, bob, _ = talk(open_window, fragile.url)
        alice.say("Before")
        bob.shows(["Before"])
        fragile.stop()
        backup = [(path, path.read_bytes()) for path in fragile.instance.glob("fanfare.db*")]
        fragile.start()
        alice.hurry().say("Not in the backup")
        bob.hurry().shows(["Before", "Not in the backup"], timeout_ms=PATIENT_MS)

        fragile.stop()
        is_away(bob)
        for path in fragile.instance.glob("fanfare.db*"):
            path.unlink()
        for path, content in backup:
            path.write_bytes(content)
        assert fragile.run("new-epoch").returncode == 0
        fragile.start()
        for window in (alice, bob):
            window.hurry().shows(["Before"], timeout_ms=PATIENT_MS)
        alice.say("After")

        for window in (alice, bob):
            window.shows(["Before", "After"])


class TestWire:
    def test_a_repeated_event_is_shown_once(self, open_window: OpenWindow, site: Server):
        window, wire, slug = watch_wire(open_window, site)
        wire.down = lambda frame: [frame, frame] if is_event(frame) else [frame]

        write(window, slug, "One", "Two", "Three")

        window.shows(["One", "Two", "Three"])
        offsets = window.offsets(window.channel("Wire").get_attribute("data-channel-id") or "")
        assert len(offsets) == len(set(offsets))

    def test_a_gap_is_read_from_the_log(self, open_window: OpenWindow, site: Server):
        """A server that lost an event on the way is not believed: the offset tells."""
        window, wire, slug = watch_wire(open_window, site)
        lost: list[Frame] = []

        def lose(frame: Frame) -> list[Frame]:
            if not is_event(frame, "message.created"):
                return [frame]
            lost.append(frame)
            wire.down = pass_on
            return []

        wire.down = lose
        write(window, slug, "Lost")
        wait_until(lambda: window.page.title() and lost, what="the event to be lost")

        write(window, slug, "Found")

        window.shows(["Lost", "Found"])

    def test_a_lost_ack_does_not_double_a_message(self, open_window: OpenWindow, site: Server):
        """The connection ends after the commit and before the page hears of it."""
        window, wire, slug = watch_wire(open_window, site)

        def lose(frame: Frame) -> list[Frame]:
            if is_ack(frame) and "Once" in str(frame):
                wire.down = pass_on
                wire.cut()
                return []
            return [] if is_event(frame, "message.created") else [frame]

        wire.down = lose
        window.say("Once").shows(["Once"], timeout_ms=PATIENT_MS)

        found = window.rest.get(f"/channels/{slug}/messages").json()["items"]
        assert [message["body"] for message in found] == ["Once"]

    def test_a_lost_ack_sends_a_message_once_by_another_door(
        self, open_window: OpenWindow, site: Server
    ):
        """The server has it, and can't say so at the socket: by plain HTTP it has the same key."""
        window, wire, slug = watch_wire(open_window, site, query="")
        wire.down = lambda frame: [] if is_ack(frame) or is_event(frame) else [frame]

        window.say("Once").uses("sse").shows(["Once"], timeout_ms=PATIENT_MS)

        found = window.rest.get(f"/channels/{slug}/messages").json()["items"]
        assert [message["body"] for message in found] == ["Once"]

    def test_a_refused_message_is_kept_until_it_is_discarded(
        self, open_window: OpenWindow, site: Server
    ):
        """What the server will never take is not tried for ever, and not lost in silence."""
        window, wire, slug = watch_wire(open_window, site)
        other = registered(site.url)
        members = f"/channels/{slug}/members"
        assert window.rest.put(f"{members}/{other.id}", {"role": "owner"}).ok
        wire.greet = refuse
        wire.cut()
        is_away(window)
        window.say("Too late")
        assert other.put(f"{members}/{window.rest.id}", {"role": "guest"}).ok

        wire.greet = let_in
        window.hurry()
        expect(window["message"]).to_have_attribute("data-state", "failed")
        window["message-discard"].click()

        expect(window["message"]).to_have_count(0)
        assert window.reload()["message"].count() == 0

    def test_a_silent_server_is_left(self, open_window: OpenWindow, start_server: Any):
        """A dead network closes nothing: the missing pings tell."""
        site = start_server(PING_INTERVAL_S=1, PING_TIMEOUT_S=1)
        window, wire, slug = watch_wire(open_window, site)
        wire.greet = refuse
        wire.die()
        is_away(window)

        write(window, slug, "Meanwhile")
        wire.greet = let_in

        window.is_live().shows(["Meanwhile"])

    def test_nonsense_from_the_server_ends_the_connection_only(
        self, open_window: OpenWindow, site: Server
    ):
        window, wire, slug = watch_wire(open_window, site)

        wire.inject("42[not json")
        wait_until(lambda: window.page.title() and len(wire.opened_at) > 1, what="a new try")
        write(window, slug, "Still here")

        window.is_live().shows(["Still here"])


class TestBye:
    def test_later_is_obeyed(self, open_window: OpenWindow, site: Server):
        window, wire, _ = watch_wire(open_window, site)
        opened = len(wire.opened_at)

        wire.inject('42["bye",{"code":"draining","detail":"","retry":"later","retry_after":2}]')
        wire.cut()
        is_away(window)
        window.is_live()

        assert wire.opened_at[opened] - wire.opened_at[opened - 1] >= 2

    def test_never_is_obeyed_until_the_user_asks(self, open_window: OpenWindow, site: Server):
        window, wire, _ = watch_wire(open_window, site)
        opened = len(wire.opened_at)

        wire.inject('42["bye",{"code":"forbidden","detail":"Go away","retry":"never"}]')
        wire.cut()
        expect(window["connection"]).to_have_attribute("data-state", "offline")
        assert len(wire.opened_at) == opened

        window.hurry()

    def test_a_refused_connection_is_tried_again(self, open_window: OpenWindow, site: Server):
        """With a new token where the old one was refused, after a wait in any case."""
        window, wire, _ = watch_wire(open_window, site)
        codes = iter(["token_expired", "too_many_connections"])

        def greet(route: WebSocketRoute) -> bool:
            code = next(codes, None)
            if code is None:
                return False
            refusal = f'44{{"message":"no","data":{{"code":"{code}","detail":"no"}}}}'
            route.on_message(lambda _frame: route.send(refusal))
            route.send('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}')
            return True

        wire.greet = greet
        with window.page.expect_response(re.compile("/auth/refresh$")) as refreshed:
            wire.cut()

        assert refreshed.value.status == 200
        window.is_live()


class TestTokens:
    @pytest.mark.parametrize("locks", ["web locks", "storage"])
    def test_two_tabs_renew_their_session_without_ending_it(
        self, open_window: OpenWindow, start_server: Any, locks: str
    ):
        """A refresh token that is used twice ends the session: of all tabs only one refreshes."""
        site = start_server(ACCESS_TOKEN_TTL_S=4)
        window = open_window(site.url)
        if locks == "storage":
            window.context.add_init_script(
                "Object.defineProperty(navigator, 'locks', { value: undefined })"
            )
        window.go().register()
        slug = unique("tabs")
        window.create_channel("Tabs", slug)
        tabs = [window, *(open_window(window.url, beside=window).go(slug) for _ in range(2))]
        answers: list[int] = []
        for tab in tabs:
            tab.is_live()
            tab.page.on("response", lambda response: note_refresh(response, answers))

        wait_until(
            lambda: window.page.title() and len(answers) >= 3, deadline_s=60, what="three renewals"
        )
        window.say("Still signed in")

        for tab in tabs:
            tab.is_live().shows(["Still signed in"])
        assert set(answers) == {200}


def note_refresh(response: Any, answers: list[int]) -> None:
    if response.url.endswith("/auth/refresh"):
        answers.append(response.status)
