"""The page on a phone, and for those who use no mouse."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenWindow
from tests.browser.console import PHONE, Window
from tests.support.client import PASSWORD, registered, unique
from tests.support.server import Server

NAMELESS = """() => [...document.querySelectorAll("button, input, textarea, select, dialog")]
  .filter((node) => !node.labels?.length && !node.textContent.trim()
    && !node.ariaLabel && !node.getAttribute("aria-labelledby"))
  .map((node) => node.outerHTML)"""
HAS_RING = """() => {
  const ring = (node) => getComputedStyle(node).outlineStyle !== "none"
    || getComputedStyle(node).boxShadow !== "none";
  const node = document.activeElement;
  return ring(node) || ring(node.closest("form") ?? node) || ring(node.nextElementSibling ?? node);
}"""


def fits(page: Page) -> None:
    """Hold that nothing is wider than the screen."""
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1] == 360


class TestPhone:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_everything_is_in_reach_at_360_pixels(
        self, open_window: OpenWindow, site: Server, scheme: str
    ):
        window = open_window(site.url, color_scheme=scheme, **PHONE).go()
        fits(window.page)
        window.register()
        window["welcome-create"].tap()
        window["create-name"].fill("A channel with a rather long name")
        fits(window.page)
        window["create-submit"].tap()
        window["composer-input"].fill("word " * 40 + "x" * 200)
        window["composer-send"].tap()
        expect(window.page.locator("[data-testid=message][data-state=sent]")).to_have_count(1)
        fits(window.page)

        for name in ("people", "events", "inbox"):
            window["open-" + name if name != "inbox" else "bell"].tap()
            expect(window["panel"]).to_be_visible()
            fits(window.page)
            window["close-panel"].tap()
            expect(window["panel"]).to_be_hidden()

        expect(window["composer-input"]).to_be_in_viewport(ratio=1)
        expect(window["composer-send"]).to_be_in_viewport(ratio=1)

    def test_channels_are_in_a_drawer(self, open_window: OpenWindow, site: Server):
        window = open_window(site.url, user=registered(site.url), **PHONE).go().is_live()
        window["welcome-create"].tap()
        window["create-name"].fill("Harbour")
        window["create-submit"].tap()
        expect(window["channel-title"]).to_have_text("Harbour")

        expect(window["sidebar"]).not_to_be_in_viewport()
        window["open-sidebar"].tap()
        expect(window["sidebar"]).to_be_in_viewport()
        assert window.page.locator("#main").evaluate("node => node.inert")
        window.channel("Harbour").tap()

        expect(window["sidebar"]).not_to_be_in_viewport()
        expect(window["composer"]).to_be_visible()

    def test_a_message_is_edited_by_touch(self, open_window: OpenWindow, site: Server):
        window = open_window(site.url, user=registered(site.url), **PHONE).go().is_live()
        window["welcome-create"].tap()
        window["create-name"].fill("Harbour")
        window["create-submit"].tap()
        window["composer-input"].fill("Helo")
        window["composer-send"].tap()
        window.shows(["Helo"])

        window["message"].tap()
        window["message-edit"].tap()
        window["message-edit-input"].fill("Hello")
        window["message-edit-save"].tap()

        window.shows(["Hello"])


class TestKeyboard:
    def test_the_whole_way_without_a_mouse(self, open_window: OpenWindow, site: Server):
        """Register, create a channel, write, edit, delete: by keys, and the focus is seen."""
        window = open_window(site.url).go()
        page, keys = window.page, window.page.keyboard
        window.username = unique()

        expect(window["auth-username"]).to_be_focused()
        keys.press("Shift+Tab")
        keys.press("Enter")
        expect(window["auth-username"]).to_be_focused()
        keys.type(window.username)
        keys.press("Tab")
        keys.press("Tab")
        keys.type(PASSWORD)
        keys.press("Enter")
        window.is_live()
        tab_to(window, "new-channel")
        keys.press("Enter")
        expect(window["create-name"]).to_be_focused()
        keys.type("By keys")
        keys.press("Enter")
        expect(window["composer-input"]).to_be_focused()
        assert page.evaluate(HAS_RING)

        keys.type("One")
        keys.press("Shift+Enter")
        keys.type("two")
        keys.press("Enter")
        window.shows(["One\ntwo"])
        keys.press("ArrowUp")
        expect(window["message-edit-input"]).to_be_focused()
        keys.type(" three")
        keys.press("Enter")
        window.shows(["One\ntwo three"])

        expect(window["composer-input"]).to_be_focused()
        keys.press("Shift+Tab")
        expect(window["message"]).to_be_focused()
        assert page.evaluate(HAS_RING)
        keys.press("Delete")
        expect(window["confirm-yes"]).to_be_focused()
        keys.press("Enter")
        window.shows(["Message deleted"])

    def test_escape_closes_what_is_open_and_the_focus_goes_back(self, window: Window):
        window.create_channel("Harbour")
        keys = window.page.keyboard
        expect(window["composer-input"]).to_be_focused()

        keys.press("Control+k")
        expect(window["browse-query"]).to_be_focused()
        keys.press("Escape")
        expect(window["browse-dialog"]).to_be_hidden()
        expect(window["composer-input"]).to_be_focused()
        window.say("Helo").shows(["Helo"])
        keys.press("ArrowUp")
        keys.type("nonsense")
        keys.press("Escape")

        window.shows(["Helo"])
        expect(window["composer-input"]).to_be_focused()

    def test_messages_are_walked_with_the_arrows(self, window: Window):
        window.create_channel("Harbour")
        keys = window.page.keyboard
        for text in ("One", "Two", "Three"):
            window.say(text)
        window.shows(["One", "Two", "Three"])

        keys.press("Shift+Tab")
        expect(window.message("Three")).to_be_focused()
        keys.press("ArrowUp")
        expect(window.message("Two")).to_be_focused()
        keys.press("Home")
        expect(window.message("One")).to_be_focused()
        keys.press("Tab")
        expect(window.message("One").get_by_test_id("message-reply")).to_be_focused()
        keys.press("Escape")
        keys.press("Escape")

        expect(window["composer-input"]).to_be_focused()

    def test_channels_change_with_alt_and_an_arrow(self, window: Window):
        window.create_channel("Anchor")
        window.create_channel("Buoy")

        window.page.keyboard.press("Alt+ArrowUp")
        expect(window["channel-title"]).to_have_text("Anchor")
        window.page.keyboard.press("Alt+ArrowDown")

        expect(window["channel-title"]).to_have_text("Buoy")


class TestReaders:
    def test_everything_that_is_pressed_or_filled_has_a_name(self, window: Window):
        window.create_channel("Harbour")
        window.say("Hello").shows(["Hello"])

        assert window.page.evaluate(NAMELESS) == []

    def test_a_new_message_is_announced(self, pair: tuple[Window, Window, str]):
        alice, bob, _ = pair

        alice.say("Listen")

        expect(bob["announcer"]).to_have_text(f"{alice.username}: Listen")
        expect(bob["announcer"]).to_have_attribute("aria-live", "polite")

    def test_the_state_of_the_connection_is_told(self, window: Window):

        expect(window["connection"]).to_have_attribute(
            "aria-label", re.compile(r"^Connection: Live, by WebSocket, node \S+\. ")
        )


def tab_to(window: Window, testid: str, *, at_most: int = 12) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(at_most):
        window.page.keyboard.press("Tab")
        focused = window.page.evaluate("document.activeElement.dataset.testid")
        assert window.page.evaluate(HAS_RING)
        if focused == testid:
            return
    raise AssertionError(f"Tab does not lead to {testid}")
