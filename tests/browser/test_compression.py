"""A page over compressed WebSockets: browsers offer permessage-deflate by themselves."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import OpenWindow
from tests.browser.console import Window
from tests.support.client import registered, unique
from tests.support.server import Server

LONG = "The same again and again, so that it is worth compressing. " * 30


@pytest.fixture(scope="module")
def compressing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that compresses."""
    folder = tmp_path_factory.mktemp("compressing")
    with Server(instance=folder, WS_COMPRESSION_LEVEL=6) as running:
        yield running


def hear_handshakes(window: Window) -> list[str]:
    """Keep what the browser was answered to its offers, from now on."""
    heard: list[str] = []

    def keep(told: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in told["response"]["headers"].items()}
        heard.append(headers.get("sec-websocket-extensions", ""))

    session = window.context.new_cdp_session(window.page)
    session.on("Network.webSocketHandshakeResponseReceived", keep)
    session.send("Network.enable")
    return heard


class TestThePage:
    def test_two_people_talk_and_a_late_one_reads_it_all(
        self, open_window: OpenWindow, compressing: Server
    ):
        """Long messages and short ones, live and as history."""
        users = registered(compressing.url), registered(compressing.url)
        slug = unique("room")
        body = {"kind": "public", "name": "Meeting room", "slug": slug}
        assert users[0].post("/channels", body).status_code == 201
        assert users[1].put(f"/channels/{slug}/members/me", {}).ok
        alice, bob = (open_window(compressing.url, user=user) for user in users)
        heard = [*map(hear_handshakes, (alice, bob))]
        for window in (alice, bob):
            window.go(slug).uses("socket")
        alice.say(LONG.strip())
        bob.shows([LONG.strip()]).say("Short")
        alice.shows([LONG.strip(), "Short"])
        bob.page.reload()
        bob.is_live().shows([LONG.strip(), "Short"])

        answers = [answer for each in heard for answer in each]
        assert len(answers) >= 3
        assert all(answer.startswith("permessage-deflate; server_no_") for answer in answers)
