"""Windows for tests of the page: each is closed afterwards, and must have had no fault."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.console import Window, signed_in
from tests.conftest import StartServer
from tests.support.client import RestClient, registered, unique
from tests.support.server import Server

OpenWindow = Callable[..., Window]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the windows of a module; its tests use users and channels of their own."""
    with Server(instance=tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def fragile(start_server: StartServer) -> Server:
    """A server of this test's own, to kill and start again."""
    return start_server()


@pytest.fixture
def open_window(browser: Any) -> Iterator[OpenWindow]:
    """`open_window(url)` opens a window with a profile of its own; `beside=` shares another's.

    With `user=` that user is signed in already.
    """
    contexts, windows = [], []

    def open_one(
        url: str,
        *,
        user: RestClient | None = None,
        beside: Window | None = None,
        **options: Any,
    ) -> Window:
        if beside is not None:
            windows.append(Window(beside.context, url))
            return windows[-1]
        contexts.append(
            browser.new_context(storage_state=signed_in(user) if user else None, **options)
        )
        windows.append(Window(contexts[-1], url, user))
        return windows[-1]

    yield open_one
    for context in contexts:
        context.close()
    assert [fault for window in windows for fault in window.faults] == []


@pytest.fixture
def pair(open_window: OpenWindow, site: Server) -> tuple[Window, Window, str]:
    """Two users in two windows with one channel open in both; the third is its slug."""
    return talk(open_window, site.url)


@pytest.fixture
def window(open_window: OpenWindow, site: Server) -> Window:
    """A user in a window, in no channel yet."""
    return open_window(site.url, user=registered(site.url)).go().is_live()


def talk(open_window: OpenWindow, url: str) -> tuple[Window, Window, str]:
    """Let two users meet in a channel, each in a window."""
    users = registered(url), registered(url)
    slug = unique("room")
    created = users[0].post("/channels", {"kind": "public", "name": "Meeting room", "slug": slug})
    assert created.status_code == 201, created.text
    assert users[1].put(f"/channels/{slug}/members/me", {}).ok
    alice, bob = (open_window(url, user=user).go(slug) for user in users)
    for window in (alice, bob):
        expect(window.is_live()["composer"]).to_be_visible()
    return alice, bob, slug
