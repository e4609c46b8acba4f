"""The doors, each as something that follows streams from given positions and can be read.

What a test says of all doors it says once, and runs by each of them.
"""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from tests.conformance.fallback import CallRefusedError, Poll, Sse, wish
from tests.conformance.people import Login
from tests.conformance.wire import Json, deadline

Wishes = Mapping[str, Json | None]


class Follower(Protocol):
    """Somebody who follows streams by one door.

    `resets` are `(stream, reason)`, `lost` are `(stream, code)`, `positions` by full name.
    """

    events: list[Json]
    resets: list[tuple[str, str]]
    lost: list[tuple[str, str]]
    positions: dict[str, Json]

    def read_more(self) -> None:
        """Read whatever comes next; wait for it."""

    def close(self) -> None:
        """Go away, without a goodbye."""


def read_to(follower: Follower, stream: str, offset: int) -> list[Json]:
    """Read until a stream stands there, and give all of its events that this follower saw."""
    end = deadline()
    while follower.positions[stream]["offset"] < offset:
        assert time.monotonic() < end, (
            f"waited for {stream}@{offset}, got as far as {follower.positions[stream]}"
        )
        follower.read_more()
    return [event for event in follower.events if event["stream"] == stream]


def read_to_loss(follower: Follower) -> list[tuple[str, str]]:
    """Read until the access to a stream is lost; give what was lost, with the codes."""
    end = deadline()
    while not follower.lost:
        assert time.monotonic() < end, "no word of lost access"
        follower.read_more()
    return follower.lost


def read_to_reset(follower: Follower) -> list[tuple[str, str]]:
    """Read until a stream is reset; give what was, with the reasons."""
    end = deadline()
    while not follower.resets:
        assert time.monotonic() < end, "no word of a reset"
        follower.read_more()
    return follower.resets


class _Memory:
    def __init__(self, login: Login, node: int) -> None:
        self.login = login
        self.node = node
        self.events: list[Json] = []
        self.resets: list[tuple[str, str]] = []
        self.lost: list[tuple[str, str]] = []
        self.positions: dict[str, Json] = {}

    def _take(self, event: Json) -> None:
        assert event["stream"] in self.positions, f"before the answer to its subscribe: {event}"
        self.events.append(event)
        self.positions[event["stream"]]["offset"] = event["offset"]


class SocketFollower(_Memory):
    """By `subscribe` for each stream, and `event` from then on."""

    def __init__(self, login: Login, wishes: Wishes, node: int = 0) -> None:
        super().__init__(login, node)
        self.socket = login.socket(node)
        self.positions[login.stream] = dict(self.socket.ready["position"])
        for stream, after in wishes.items():
            self._subscribe(stream, after)

    def _subscribe(self, stream: str, after: Json | None) -> None:
        more = True
        while more:
            wish = {"stream": stream} if after is None else {"stream": stream, "after": after}
            ack = self._ack_of(wish)
            if ack["reset"] is not None:
                self.resets.append((ack["stream"], ack["reset"]["reason"]))
            self.events += ack["events"]
            after = self.positions[ack["stream"]] = dict(ack["position"])
            more = ack["more"]

    def _ack_of(self, wish: Json) -> Json:
        """Subscribe; what comes meanwhile of other streams is not lost."""
        ack_id = self.socket.send("subscribe", wish)
        while True:
            name, data = self.socket.read()
            if name == "ack" and data[0] == ack_id:
                assert data[1]["ok"] is True, data[1]
                ack: Json = data[1]
                return ack
            self._take_packet(name, data)

    def read_more(self) -> None:
        """Read one packet."""
        self._take_packet(*self.socket.read())

    def _take_packet(self, name: str, data: Json) -> None:
        if name == "event":
            self._take(data)
        elif name == "reset":
            self.resets.append((data["stream"], data["reason"]))
            self.positions[data["stream"]] = dict(data["position"])
        elif name == "unsubscribed":
            self.lost.append((data["stream"], data["code"]))

    def close(self) -> None:
        """Cut the connection."""
        self.socket.cut()


class PagesFollower(_Memory):
    """By pages of the log over REST, asked for again and again. It follows channels alone."""

    def __init__(self, login: Login, wishes: Wishes, node: int = 0) -> None:
        super().__init__(login, node)
        for stream, after in wishes.items():
            path = f"/channels/{stream.removeprefix('channel:')}/sync"
            start = after or login.ok("GET", path, node=node)["position"]
            self.positions[stream] = dict(start)
            self._read_page(stream)

    def read_more(self) -> None:
        """Ask for the next page of each stream, or wait a moment where there is none."""
        before = len(self.events)
        for stream in list(self.positions):
            self._read_page(stream)
        if len(self.events) == before:
            time.sleep(0.02)

    def _read_page(self, stream: str) -> None:
        at = self.positions[stream]
        path = f"/channels/{stream.removeprefix('channel:')}/events"
        query = f"?after={at['offset']}&epoch={at['epoch']}"
        response = self.login.call("GET", path + query, node=self.node)
        if response.status_code in (403, 404):
            self.lost.append((stream, response.json()["code"]))
            del self.positions[stream]
            return
        page = response.json()
        if page["reset"] is not None:
            self.resets.append((stream, page["reset"]["reason"]))
        self.events += page["items"]
        self.positions[stream] = dict(page["position"])

    def close(self) -> None:
        """Nothing is open."""


class SseFollower(_Memory):
    """By Server-Sent Events."""

    def __init__(self, login: Login, wishes: Wishes, node: int = 0) -> None:
        super().__init__(login, node)
        self.sse = Sse(login, streams=[wish(*pair) for pair in wishes.items()], node=node)
        self.positions = self.sse.ready()["positions"]

    def read_more(self) -> None:
        """Read one note."""
        name, _, data = self.sse.read()
        assert name != "end", f"it ended: {self.sse.notes[-5:]}"
        if name == "event":
            self._take(data)
        elif name == "reset":
            self.resets.append((data["stream"], data["reason"]))
            self.positions[data["stream"]] = dict(data["position"])
        elif name == "unsubscribed":
            self.lost.append((data["stream"], data["code"]))

    def close(self) -> None:
        """Cut the connection."""
        self.sse.close()


class PollFollower(_Memory):
    """By long-polls, one after the other, each at the next address."""

    def __init__(self, login: Login, wishes: Wishes, node: int = 0) -> None:
        super().__init__(login, node)
        streams = [wish(*pair) for pair in wishes.items()]
        self.cursor = self._take_answer(Poll(login, streams=streams, node=node).answer())

    def read_more(self) -> None:
        """Wait for the next answer."""
        self.node += 1
        poll = Poll(self.login, cursor=self.cursor, wait=5, node=self.node)
        try:
            self.cursor = self._take_answer(poll.answer())
        except CallRefusedError as refused:
            # None of its streams may be read any more.
            self.lost += [(stream, str(refused.code)) for stream in self.positions]

    def _take_answer(self, answer: Json) -> str:
        self.events += answer["events"]
        self.resets += [(reset["stream"], reset["reason"]) for reset in answer["resets"]]
        self.lost += [(lost["stream"], lost["code"]) for lost in answer["unsubscribed"]]
        self.positions.update(answer["positions"])
        return str(answer["cursor"])

    def close(self) -> None:
        """Nothing is open."""


DOORS: dict[str, Callable[..., Follower]] = {
    "socket": SocketFollower,
    "sse": SseFollower,
    "poll": PollFollower,
    "pages": PagesFollower,
}
