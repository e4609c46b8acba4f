"""Two windows: talk, edit, delete, typing, unread, people, notifications, sessions."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenWindow
from tests.browser.console import Window
from tests.support.client import RestClient, registered, unique
from tests.support.server import Server

Pair = tuple[Window, Window, str]
HOSTILE = '<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script> & "q"'


@pytest.fixture(scope="module")
def admin(site: Server) -> RestClient:
    """An administrator of the module's server."""
    client = registered(site.url)
    assert site.run("create-admin", str(client.user["username"])).returncode == 0
    assert client.login(str(client.user["username"])).status_code == 200
    return client


class TestTalking:
    def test_messages_cross_live(self, open_window: OpenWindow, site: Server):
        """The first thing that a newcomer tries: register two users in two windows, and talk."""
        alice = open_window(site.url).go().register()
        bob = open_window(site.url).go().register()
        slug = unique("room")
        alice.create_channel("Meeting room", slug)
        bob.join(slug)

        alice.say("Hello, Bob")
        bob.shows(["Hello, Bob"]).say("Hello, Alice")

        alice.shows(["Hello, Bob", "Hello, Alice"])
        row = alice.message("Hello, Alice")
        expect(row.get_by_test_id("message-author")).to_have_text(bob.username)
        expect(row.get_by_test_id("message-time")).to_have_attribute("datetime", re.compile("Z$"))

    def test_an_edit_is_seen_by_the_other(self, pair: Pair):
        alice, bob, _ = pair
        alice.say("Helo")
        bob.shows(["Helo"])

        alice.act("Helo", "edit")["message-edit-input"].fill("Hello")
        alice["message-edit-save"].click()

        for window in (alice, bob):
            window.shows(["Hello"])
            expect(window["message-edited"]).to_have_count(1)

    def test_a_deletion_leaves_a_tombstone(self, pair: Pair):
        alice, bob, _ = pair
        alice.say("Secret").say("Open")
        bob.shows(["Secret", "Open"])

        alice.act("Secret", "delete")["confirm-yes"].click()

        for window in (alice, bob):
            window.shows(["Message deleted", "Open"])
            expect(window["message"].first).to_have_attribute("data-state", "deleted")

    def test_only_what_is_allowed_is_offered(self, pair: Pair):
        """A member edits and deletes what is its own; the channel's owner deletes anything."""
        alice, bob, _ = pair
        alice.say("From Alice")
        bob.shows(["From Alice"]).say("From Bob")
        alice.shows(["From Alice", "From Bob"])

        theirs, own = bob.message("From Alice"), alice.message("From Bob")

        expect(theirs.get_by_test_id("message-edit")).to_have_count(0)
        expect(theirs.get_by_test_id("message-delete")).to_have_count(0)
        expect(own.get_by_test_id("message-edit")).to_have_count(0)
        expect(own.get_by_test_id("message-delete")).to_have_count(1)

    def test_a_reply_quotes_its_parent(self, pair: Pair):
        alice, bob, _ = pair
        alice.say("Who brings the cake?")
        bob.shows(["Who brings the cake?"])

        bob.act("Who brings the cake?", "reply").say("I do")

        alice.shows(["Who brings the cake?", "I do"])
        expect(alice.message("I do")).to_contain_text("Who brings the cake?")

    def test_typing_is_shown_until_the_message_comes(self, pair: Pair):
        alice, bob, _ = pair

        bob["composer-input"].press_sequentially("Wait")
        expect(alice["typing"]).to_contain_text(f"{bob.username} is typing")
        bob["composer-input"].press("Enter")

        expect(alice["typing"]).to_be_empty()
        expect(bob["typing"]).to_be_empty()

    def test_a_message_that_is_too_long_is_not_sent(self, window: Window):
        """The page tells it before the server has to, counted in bytes."""
        window.create_channel("Harbour")

        window.say("é" * 32 * 1024 + "x")
        expect(window["composer-send"]).to_be_disabled()
        expect(window["composer"]).to_contain_text("1 bytes too long")
        window.say("é" * 100)

        window.shows(["é" * 100])

    def test_older_messages_come_by_scrolling_up(self, window: Window):
        """Pages join without a gap or a repeat, and the newest stay."""
        slug = unique("long")
        window.create_channel("Long", slug)
        bodies = [f"Message {n}" for n in range(1, 121)]
        for body in bodies:
            assert window.rest.post(f"/channels/{slug}/messages", {"body": body}).status_code == 201
        window.reload()
        expect(window["message"]).to_have_count(50)

        for count in (100, 120):
            window["scroller"].evaluate("node => { node.scrollTop = 0; }")
            expect(window["message"]).to_have_count(count)

        assert window.bodies() == bodies
        expect(window["beginning"]).to_be_visible()


class TestMarkup:
    def test_what_users_write_is_shown_as_text(self, pair: Pair):
        """A body, a channel's name and topic, and the JSON of an event hold no live markup."""
        alice, bob, _ = pair

        alice.say(HOSTILE)
        bob.shows([HOSTILE])
        alice["channel-settings"].click()
        alice["settings-name"].fill(HOSTILE)
        alice["settings-topic"].fill(HOSTILE)
        alice["settings-save"].click()

        expect(bob["channel-title"]).to_have_text(HOSTILE)
        expect(bob["channel-topic"]).to_have_text(HOSTILE)
        bob.page.locator("[data-testid=event-row][data-type='message.created']").first.click()
        expect(bob["event-json"].filter(has_text="onerror")).to_have_count(1)
        assert bob.page.locator("img, body script").count() == 0
        assert bob.page.evaluate("window.hacked") is None

    def test_an_address_becomes_a_link_and_nothing_else_does(self, pair: Pair):
        alice, bob, _ = pair

        alice.say("See https://example.org/a?b=c. Not javascript:alert(1)")
        bob.shows(["See https://example.org/a?b=c. Not javascript:alert(1)"])

        links = bob.page.locator("[data-testid=message-body] a")
        expect(links).to_have_count(1)
        expect(links).to_have_attribute("href", "https://example.org/a?b=c")
        expect(links).to_have_attribute("rel", re.compile("noopener"))


class TestUnread:
    def test_unread_messages_are_counted_until_they_are_seen(self, pair: Pair):
        alice, bob, _ = pair
        bob.create_channel("Elsewhere")

        alice.say("One").say("Two")
        expect(bob.unread("Meeting room")).to_have_text("2")
        expect(bob.page).to_have_title(re.compile(r"^\(2\) "))
        bob.open("Meeting room")

        expect(bob.unread("Meeting room")).to_be_hidden()
        expect(bob.page).not_to_have_title(re.compile(r"^\("))
        bob.reload()
        expect(bob.unread("Meeting room")).to_be_hidden()

    def test_read_in_one_window_is_read_in_the_other(self, pair: Pair, open_window: OpenWindow):
        alice, bob, _ = pair
        other = open_window(bob.url, beside=bob).go().is_live()
        other.create_channel("Aside")
        bob.open("Aside")
        alice.say("One")
        expect(other.unread("Meeting room")).to_have_text("1")

        bob.open("Meeting room")

        expect(other.unread("Meeting room")).to_be_hidden()

    def test_a_deleted_message_is_no_longer_counted(self, pair: Pair):
        alice, bob, _ = pair
        bob.create_channel("Elsewhere")
        alice.say("One").say("Two")
        expect(bob.unread("Meeting room")).to_have_text("2")

        alice.act("One", "delete")["confirm-yes"].click()

        expect(bob.unread("Meeting room")).to_have_text("1")

    def test_a_line_shows_where_the_new_ones_begin(self, pair: Pair):
        alice, bob, _ = pair
        alice.say("Old")
        bob.shows(["Old"])
        expect(bob.unread("Meeting room")).to_be_hidden()
        bob.create_channel("Elsewhere")
        alice.say("New one")
        expect(bob.unread("Meeting room")).to_have_text("1")

        bob.open("Meeting room").shows(["Old", "New one"])

        expect(bob.page.locator("[data-testid=new-divider] + li")).to_contain_text("New one")


class TestPeople:
    def test_a_private_channel_appears_for_whom_it_is_opened_and_vanishes(
        self, window: Window, open_window: OpenWindow, site: Server
    ):
        alice, bob = window, open_window(site.url, user=registered(site.url)).go().is_live()
        alice.create_channel("Board", kind="private")
        alice.say("Minutes")

        alice["open-people"].click()
        alice["member-username"].fill(bob.username)
        alice["member-add"].click()
        bob.open("Board").shows(["Minutes"])
        alice.page.get_by_role("button", name=f"Remove {bob.username}").click()

        expect(bob.channel("Board")).to_have_count(0)
        expect(bob["welcome"]).to_be_visible()
        expect(alice["member"]).to_have_count(1)

    def test_a_visitor_reads_along_and_joins_to_write(self, pair: Pair, open_window: OpenWindow):
        alice, _, slug = pair
        visitor = open_window(alice.url, user=registered(alice.url)).go(slug).is_live()
        expect(visitor["join-bar"]).to_be_visible()

        alice.say("Come in")
        visitor.shows(["Come in"])
        visitor["join-channel"].click()
        expect(visitor["composer"]).to_be_visible()
        visitor.say("Thank you")

        alice.shows(["Come in", "Thank you"])
        expect(visitor.channel("Meeting room")).to_have_count(1)

    def test_a_guest_reads_only(self, pair: Pair):
        alice, bob, _ = pair

        alice["open-people"].click()
        alice["member-role"].select_option("guest")

        expect(bob["composer"]).to_be_hidden()
        expect(bob["join-bar"]).to_contain_text("guest")

    def test_a_direct_channel_is_named_after_the_other_one(
        self, window: Window, open_window: OpenWindow, site: Server
    ):
        alice, bob = window, open_window(site.url, user=registered(site.url)).go().is_live()

        alice.create_channel(bob.username, kind="direct")
        alice.say("Psst")
        bob.open(alice.username)

        bob.shows(["Psst"])

    def test_who_leaves_a_channel_no_longer_has_it(self, pair: Pair):
        alice, bob, _ = pair
        alice["open-people"].click()
        expect(alice["member"]).to_have_count(2)

        bob["channel-settings"].click()
        bob["settings-leave"].click()
        bob["confirm-yes"].click()

        expect(bob.channel("Meeting room")).to_have_count(0)
        expect(alice["member"]).to_have_count(1)

    def test_a_deleted_channel_is_gone_for_all(self, pair: Pair):
        alice, bob, _ = pair

        alice["channel-settings"].click()
        alice["settings-delete"].click()
        alice["confirm-yes"].click()

        for window in (alice, bob):
            expect(window.channel("Meeting room")).to_have_count(0)
            expect(window["welcome"]).to_be_visible()


class TestStrip:
    def test_each_event_is_shown_with_stream_offset_and_json(self, pair: Pair):
        alice, bob, slug = pair

        alice.say("Shown")
        row = bob.page.locator("[data-testid=event-row][data-type='message.created']").first
        expect(row.get_by_test_id("event-offset")).to_have_text(re.compile(r"^\d+$"))
        expect(row).to_contain_text(f"#{slug}")
        row.locator("summary").click()

        expect(row.get_by_test_id("event-json")).to_contain_text('"body": "Shown"')

    def test_signals_are_marked(self, pair: Pair):
        alice, bob, _ = pair

        alice["composer-input"].press_sequentially("Hm")

        row = bob.page.locator("[data-testid=event-row][data-type=typing]").first
        expect(row).to_have_attribute("data-signal", "true")
        expect(row).to_contain_text("signal")


class TestNotifications:
    def notify(self, admin: RestClient, window: Window, *titles: str) -> None:
        for title in titles:
            body = {"users": [window.username], "kind": "test", "title": title}
            assert admin.post("/notifications", body).status_code == 202

    def test_they_arrive_live_and_are_read_everywhere(
        self, admin: RestClient, window: Window, open_window: OpenWindow
    ):
        other = open_window(window.url, beside=window).go().is_live()

        self.notify(admin, window, "First", "Second")
        expect(other["bell-count"]).to_have_text("2")
        window["bell"].click()
        window["notification"].filter(has_text="First").get_by_test_id("notification-read").click()

        expect(other["bell-count"]).to_have_text("1")
        other["bell"].click()
        other["notifications-read-all"].click()
        expect(window["bell-count"]).to_be_hidden()

    def test_they_are_deleted_and_survive_a_reload(self, admin: RestClient, window: Window):
        self.notify(admin, window, "First", "Second", HOSTILE)
        window["bell"].click()
        expect(window["notification"]).to_have_count(3)
        expect(window["notification"].first).to_contain_text(HOSTILE)

        window["notification"].filter(has_text="Second").get_by_test_id(
            "notification-delete"
        ).click()
        expect(window["notification"]).to_have_count(2)
        window.reload()

        expect(window["bell-count"]).to_have_text("2")
        window["bell"].click()
        expect(window["notification"]).to_have_count(2)


class TestSessions:
    def test_a_wrong_password_is_told(self, open_window: OpenWindow, site: Server):
        window = open_window(site.url).go()

        window["auth-username"].fill(unique())
        window["auth-password"].fill("not the password")
        window["auth-submit"].click()

        expect(window["auth-error"]).not_to_be_empty()
        expect(window["auth-view"]).to_be_visible()

    def test_a_fault_is_shown_beside_its_field(self, open_window: OpenWindow, site: Server):
        window = open_window(site.url).go()
        window["auth-tab-register"].click()

        window["auth-username"].fill(unique())
        window["auth-password"].fill("short")
        window["auth-submit"].click()

        expect(window["auth-password"]).to_have_attribute("aria-invalid", "true")
        expect(window["auth-password"]).to_be_focused()
        expect(window.page.locator("#auth-password-fault")).not_to_be_empty()

    def test_logging_out_ends_every_tab_of_the_session(
        self, window: Window, open_window: OpenWindow
    ):
        other = open_window(window.url, beside=window).go().is_live()

        window["account-button"].click()
        expect(window["who-am-i"]).to_contain_text(window.username)
        window["log-out"].click()

        for tab in (window, other):
            expect(tab["auth-view"]).to_be_visible()
            assert "fanfare.session" not in tab.page.evaluate("JSON.stringify(localStorage)")

    def test_a_revoked_session_is_shut_out_at_once(self, window: Window, open_window: OpenWindow):
        elsewhere = open_window(window.url).go().log_in(window.username)

        window["account-button"].click()
        expect(window["session-item"]).to_have_count(2)
        window["session-revoke"].click()
        window["confirm-yes"].click()

        expect(elsewhere["auth-view"]).to_be_visible(timeout=2_000)
        expect(window["session-item"]).to_have_count(1)

    def test_two_windows_of_one_browser_can_be_two_users(
        self, window: Window, open_window: OpenWindow
    ):
        """Signing in as somebody else leaves the other window alone, also after a reload."""
        alice, bob = window, open_window(window.url, beside=window).go().is_live()

        bob["account-button"].click()
        bob["add-account"].click()
        bob.register()
        for window in (alice, bob):
            window.reload()

        expect(alice["account-button"]).to_have_attribute("data-username", alice.username)
        expect(bob["account-button"]).to_have_attribute("data-username", bob.username)


class TestOffline:
    def test_nothing_is_loaded_from_anywhere_else(self, pair: Pair):
        """The page works without the internet, and no other site learns of it."""
        alice, bob, _ = pair
        alice.say("Here")
        bob.shows(["Here"])

        asked = {url for url in alice.requested if not url.startswith("data:")}

        assert asked
        assert {url for url in asked if not url.startswith(f"{alice.url}/")} == set()
