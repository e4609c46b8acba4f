"""The wire between a page and its server, where a test decides what becomes of each frame."""

import re
import time
from collections.abc import Callable

from playwright.sync_api import Page, WebSocketRoute

Frame = str | bytes
Rule = Callable[[Frame], list[Frame]]


def pass_on(frame: Frame) -> list[Frame]:
    """Let a frame through as it is."""
    return [frame]


class Wire:
    """Stands between a page and its server from the next connection on.

    `down` and `up` are given each frame that the server or the page sends, and return what is
    passed on instead. `greet`, given a connection, may answer it in the server's place (True).
    """

    def __init__(self, page: Page) -> None:
        self.down: Rule = pass_on
        self.up: Rule = pass_on
        self._dead: WebSocketRoute | None = None
        self.greet: Callable[[WebSocketRoute], bool] = let_in
        self.opened_at: list[float] = []
        self.current: WebSocketRoute | None = None
        page.route_web_socket(re.compile(r"/socket\.io/"), self._open)

    def die(self) -> None:
        """Carry nothing more over the connection that stands, not even a farewell."""
        self._dead = self.current

    def cut(self) -> None:
        """End the connection that stands."""
        assert self.current is not None
        self.current.close()

    def inject(self, frame: str) -> None:
        """Say something in the server's place."""
        assert self.current is not None
        self.current.send(frame)

    def _open(self, route: WebSocketRoute) -> None:
        self.opened_at.append(time.monotonic())
        self.current = route
        if self.greet(route):
            return
        server = route.connect_to_server()

        def lives() -> bool:
            return route is not self._dead

        route.on_message(lambda frame: send(server, self.up(frame) if lives() else []))
        server.on_message(lambda frame: send(route, self.down(frame) if lives() else []))
        server.on_close(lambda _code, _reason: route.close() if lives() else None)


def send(route: WebSocketRoute, frames: list[Frame]) -> None:
    for frame in frames:
        route.send(frame)


def refuse(route: WebSocketRoute) -> bool:
    """Greet as a server that is down: end the connection at once."""
    route.close()
    return True


def let_in(_route: WebSocketRoute) -> bool:
    """Leave the greeting to the server."""
    return False


def is_event(frame: Frame, kind: str = "") -> bool:
    """Tell whether a frame carries an event (of a type)."""
    return isinstance(frame, str) and frame.startswith('42["event"') and kind in frame


def is_ack(frame: Frame) -> bool:
    """Tell whether a frame answers a request of the page."""
    return isinstance(frame, str) and frame.startswith("43")
