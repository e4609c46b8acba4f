"""The console as a person uses it: one window, and what can be done and seen in it.

A window listens for faults of the page (exceptions, refused resources, breaches of the content
security policy): a test in which one occurs fails, whatever else it looked at.
"""

import json
import re
import time
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.support.client import PASSWORD, RestClient, unique

PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
}
# A server that is down, and a call that is refused, are what some tests are about.
EXPECTED_FAULTS = re.compile(r"net::ERR_|WebSocket connection to|status of 4\d\d")
# A restart and the back-off of the page take their time on a busy machine.
PATIENT_MS = 60_000
expect.set_options(timeout=15_000)


def signed_in(user: RestClient) -> dict[str, Any]:
    """Return a profile's storage in which the page finds a user signed in, as after a login."""
    now_ms = int(time.time() * 1000)
    session = {
        "user": user.user,
        "access_token": user.access_token,
        "refresh_token": user.refresh_token,
        "obtained_at": now_ms,
    }
    kept = {f"fanfare.session.{user.id}": json.dumps(session), "fanfare.last_user": user.id}
    items = [{"name": name, "value": value} for name, value in kept.items()]
    return {"cookies": [], "origins": [{"origin": user.url, "localStorage": items}]}


class Window:
    """One tab of the console. `context` is the browser profile that it belongs to."""

    def __init__(self, context: BrowserContext, url: str, user: RestClient | None = None) -> None:
        self.context = context
        self.page: Page = context.new_page()
        self.url = url
        self.username = str(user.user["username"]) if user else ""
        self._rest = user
        self.faults: list[str] = []
        self.requested: set[str] = set()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._judge)
        self.page.on("request", lambda request: self.requested.add(request.url))

    def _judge(self, message: Any) -> None:
        if message.type == "error" and not EXPECTED_FAULTS.search(message.text):
            self.faults.append(message.text)

    def __getitem__(self, testid: str) -> Locator:
        return self.page.get_by_test_id(testid)

    @property
    def rest(self) -> RestClient:
        """REST calls of the window's user, to act while its page is away."""
        if self._rest is None:
            self._rest = RestClient(self.url)
            assert self._rest.login(self.username).status_code == 200
        return self._rest

    # Coming and going.

    def go(self, ref: str = "", query: str = "") -> "Window":
        """Open the page, at a channel if one is given; `query` is what it is told of doors."""
        address = f"{self.url}/?{query}" if query else f"{self.url}/"
        self.page.goto(f"{address}#/c/{ref}" if ref else address)
        return self

    def register(self, username: str | None = None) -> "Window":
        """Register a user by the form and wait until the page is live."""
        self.username = username or unique()
        self["auth-tab-register"].click()
        return self._sign_in()

    def log_in(self, username: str) -> "Window":
        """Log in by the form and wait until the page is live."""
        self.username = username
        self["auth-tab-login"].click()
        return self._sign_in()

    def _sign_in(self) -> "Window":
        self["auth-username"].fill(self.username)
        self["auth-password"].fill(PASSWORD)
        self["auth-submit"].click()
        return self.is_live()

    def is_live(self, timeout_ms: float = PATIENT_MS) -> "Window":
        """Wait until the page says that it is connected and level with the log."""
        expect(self["connection"]).to_have_attribute("data-state", "live", timeout=timeout_ms)
        return self

    def hurry(self) -> "Window":
        """Wait until the page is live, sooner than by itself where it waits between tries."""
        self["connection"].click()
        self["connection-retry"].click()
        self["connection"].click()
        expect(self["connection-panel"]).to_be_hidden()
        return self.is_live()

    def uses(self, door: str, timeout_ms: float = PATIENT_MS) -> "Window":
        """Wait until the page is live through this door: socket, sse or poll."""
        expect(self["connection"]).to_have_attribute("data-door", door, timeout=timeout_ms)
        return self.is_live()

    def choose(self, door: str) -> "Window":
        """Hold the page to a door, or let it choose (auto)."""
        self["connection"].click()
        self[f"door-{door}"].click()
        self["connection"].click()
        expect(self["connection-panel"]).to_be_hidden()
        return self

    def reload(self) -> "Window":
        """Load the page anew and wait until it is live."""
        self.page.reload()
        return self.is_live()

    # Channels.

    def create_channel(self, name: str, slug: str = "", *, kind: str = "public") -> str:
        """Create a channel by the dialog, which opens it; return its id."""
        self["new-channel"].click()
        self[f"create-kind-{kind}"].check(force=True)
        if kind == "direct":
            self["create-username"].fill(name)
        else:
            self["create-name"].fill(name)
            self["create-slug"].fill(slug)
        self["create-submit"].click()
        expect(self["create-dialog"]).to_be_hidden()
        expect(self["channel-title"]).to_have_text(name)
        current = self.page.locator("[data-testid=channel-item][aria-current=page]")
        return str(current.get_attribute("data-channel-id"))

    def join(self, slug: str) -> "Window":
        """Find a public channel by browsing, and join it."""
        self["browse-channels"].click()
        self.page.locator(f"[data-testid=browse-item][data-slug='{slug}']").get_by_test_id(
            "browse-join"
        ).click()
        expect(self["browse-dialog"]).to_be_hidden()
        expect(self["composer"]).to_be_visible()
        return self

    def channel(self, name: str) -> Locator:
        """Return the row of one of my channels."""
        return self["channel-item"].filter(has_text=name)

    def open(self, name: str) -> "Window":
        """Open one of my channels by the list."""
        self.channel(name).click()
        expect(self["channel-title"]).to_have_text(name)
        return self

    def unread(self, name: str) -> Locator:
        """Return the count beside one of my channels."""
        return self.channel(name).get_by_test_id("channel-unread")

    # Messages.

    def say(self, text: str) -> "Window":
        """Write a message and press Enter; it may still be on its way."""
        self["composer-input"].fill(text)
        self["composer-input"].press("Enter")
        return self

    def message(self, text: str) -> Locator:
        """Return the row of the message with exactly this text."""
        body = self.page.get_by_test_id("message-body").get_by_text(text, exact=True)
        body = body.or_(self.page.locator("[data-testid=message-body]", has_text=text))
        return self["message"].filter(has=body)

    def bodies(self) -> list[str]:
        """Return the text of every message that is shown, in order."""
        return self["message-body"].all_inner_texts()

    def shows(self, bodies: list[str], timeout_ms: float = 15_000) -> "Window":
        """Wait until exactly these messages are shown, in this order, and all are in the log."""
        expect(self["message-body"]).to_have_text(bodies, timeout=timeout_ms)
        expect(self.page.locator("[data-testid=message][data-state=sending]")).to_have_count(
            0, timeout=timeout_ms
        )
        return self

    def act(self, text: str, action: str) -> "Window":
        """Press a message's button: edit, delete or reply."""
        row = self.message(text)
        row.hover()
        row.get_by_test_id(f"message-{action}").click()
        return self

    # The strip.

    def offsets(self, channel_id: str) -> list[int]:
        """Return the offsets of a channel's events in the strip, in the order of arrival."""
        rows = self.page.locator(
            f"[data-testid=event-row][data-stream='channel:{channel_id}'][data-signal=false]"
        )
        found = rows.evaluate_all("rows => rows.map((row) => row.dataset.offset)")
        return [int(offset) for offset in reversed(found) if offset]
