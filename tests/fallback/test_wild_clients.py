"""What comes to the doors over plain HTTP from those who are not written as we would like.

Bytes on a TCP connection, and whatever hypothesis makes up. Each leaves nobody waiting, and
nothing in the log.
"""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest
import requests
from hypothesis import strategies as st

from tests.delivery.world import Room
from tests.fallback.doors import DEADLINE_S, Poller, followers
from tests.support.client import API, RestClient
from tests.support.wait import wait_until

EXAMPLES = hypothesis.settings(max_examples=40)
DOORS = ("/events", "/events/stream")
HANG_S = 30.0
END = b"\r\n\r\n"


class Wire:
    """A connection on which one sends what one likes."""

    def __init__(self, who: RestClient) -> None:
        self._token = who.access_token
        host, port = who.url.removeprefix("http://").split(":")
        self.sock = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        self.read = b""

    def ask(self, path: str, *headers: str, method: str = "GET", version: str = "1.1") -> None:
        """Send the head of a request."""
        lines = [
            f"{method} {API}{path} HTTP/{version}",
            "Host: x",
            f"Authorization: Bearer {self._token}",
            *headers,
        ]
        self.sock.sendall("\r\n".join(lines).encode() + END)

    def read_until(self, wanted: bytes) -> bytes:
        """Read until some bytes came; give all up to them, and keep the rest."""
        while wanted not in self.read:
            part = self.sock.recv(65_536)
            assert part, f"it ended before {wanted!r}: {self.read[-300:]!r}"
            self.read += part
        found, _, self.read = self.read.partition(wanted)
        return found + wanted

    def read_answer(self) -> tuple[int, Any]:
        """Read one answer with a length."""
        head = self.read_until(END).decode()
        length = re.search(r"content-length: (\d+)", head.lower())
        assert length is not None, head
        while len(self.read) < int(length[1]):
            part = self.sock.recv(65_536)
            assert part, "it ended within its body"
            self.read += part
        body, self.read = self.read[: int(length[1])], self.read[int(length[1]) :]
        return int(head[9:12]), json.loads(body) if body else None

    def read_to_the_end(self) -> bytes:
        """Read until the server closes."""
        end_s = time.monotonic() + HANG_S
        with contextlib.suppress(ConnectionError):
            while part := self.sock.recv(65_536):
                self.read += part
                assert time.monotonic() < end_s, "it does not end"
        return self.read


@pytest.fixture
def wire(ada: RestClient) -> Iterator[Wire]:
    made = Wire(ada)
    with made.sock:
        yield made


@pytest.fixture
def cursor(ada: RestClient) -> str:
    return quote(Poller(ada, streams="user:me").cursor)


@pytest.fixture(autouse=True)
def nothing_is_left(ada: RestClient, busy_server: Any) -> Iterator[None]:
    """Nobody waits after a test, and nothing failed in it."""
    logged = len(busy_server.log)
    yield
    wait_until(lambda: followers(ada) == 0, deadline_s=30, what="nobody to wait")
    assert "Traceback" not in busy_server.log[logged:]


class TestHead:
    @pytest.mark.parametrize("door", DOORS)
    def test_it_has_no_body_and_its_connection_goes_on(self, ada, wire, door):
        """And nobody is left waiting for events that nobody will read."""
        wire.ask(f"{door}?streams=user:me", method="HEAD")
        head = wire.read_until(END)
        wire.ask("/me")
        status, body = wire.read_answer()

        assert head.startswith(b"HTTP/1.1 200 ")
        assert (status, body["id"]) == (200, ada.id)


class TestPipelined:
    def test_what_comes_behind_a_waiting_poll_is_answered_after_it(self, ada, wire, cursor):
        """In order, and the poll waits no less for it."""
        room = Room(ada)
        place = quote(Poller(ada, streams=room.stream).cursor)
        wire.ask(f"/events?cursor={place}&wait=60")
        wait_until(lambda: followers(ada) == 1, deadline_s=30, what="the poll to wait")
        for _ in range(3):
            wire.ask("/me")
        room.publish(1)
        status, told = wire.read_answer()
        others = [wire.read_answer() for _ in range(3)]

        assert (status, [event["offset"] for event in told["events"]]) == (200, [3])
        assert [(s, body["id"]) for s, body in others] == [(200, ada.id)] * 3

    def test_polls_in_one_piece_are_answered_one_after_the_other(self, ada, wire, cursor):
        for _ in range(4):
            wire.ask(f"/events?cursor={cursor}&wait=0.1")
        answers = [wire.read_answer() for _ in range(4)]

        assert [status for status, _told in answers] == [200] * 4


class TestOldClients:
    def test_http_1_0_gets_a_poll_and_the_end(self, ada, wire, cursor):
        wire.ask(f"/events?cursor={cursor}&wait=0.1", version="1.0")
        answer = wire.read_to_the_end()

        assert b" 200 " in answer.splitlines()[0]
        assert json.loads(answer.partition(END)[2])["bye"] is None

    def test_http_1_0_gets_a_stream_without_chunks(self, ada, wire):
        """It knows of none: the stream is its body as it is, until somebody hangs up."""
        room = Room(ada)
        wire.ask(f"/events/stream?streams={room.stream}", version="1.0")
        head = wire.read_until(END)
        greeting = wire.read_until(b"\n\n") + wire.read_until(b"\n\n")
        room.publish(1)
        event = wire.read_until(b"\n\n")

        assert b"chunked" not in head.lower()
        assert greeting.startswith(b"retry: 3000\n\nevent: ready\n")
        assert event.startswith(b"event: event\nid: ")


class TestHalfClosed:
    def test_a_poll_of_one_that_says_no_more_is_not_waited_for(self, ada, wire, cursor):
        """Its end can't be told from that of one who has gone: it is let go of."""
        wire.ask(f"/events?cursor={cursor}&wait=60")
        wait_until(lambda: followers(ada) == 1, deadline_s=30, what="the poll to wait")
        wire.sock.shutdown(socket.SHUT_WR)
        answer = wire.read_to_the_end()

        assert answer == b"" or json.loads(answer.partition(END)[2])["events"] == []

    def test_so_is_a_stream(self, ada, wire):
        wire.ask("/events/stream?streams=user:me")
        wire.read_until(b"event: ready\n")
        wire.sock.shutdown(socket.SHUT_WR)

        assert b"event: event" not in wire.read_to_the_end()


class TestHugeHeads:
    @pytest.mark.parametrize("size", [4_000, 16_000, 70_000])
    @pytest.mark.parametrize("name", ["Last-Event-ID", "X-Anything"])
    def test_are_answered_and_harm_nobody(self, ada, wire, name, size):
        """Refused by what they say, or by how long they are."""
        with contextlib.suppress(ConnectionError):
            wire.ask("/events/stream?streams=user:me", f"{name}: {'A' * size}")
        status = wire.sock.recv(12)[9:12]

        assert status in {b"200", b"400", b"414", b"422", b"431"}
        if name == "Last-Event-ID":
            assert status != b"200"

    def test_a_thousand_headers_are_refused(self, wire):
        with contextlib.suppress(ConnectionError):
            wire.ask("/events/stream?streams=user:me", *(f"X-{n}: x" for n in range(1000)))

        assert wire.sock.recv(12)[9:10] == b"4"


# What may stand in a header: no control characters but the tab.
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
ANY = st.one_of(
    HEADER,
    st.text(max_size=60),
    st.from_regex(r"(channel|user):[a-z@/,:.0-9-]{0,40}", fullmatch=True),
    st.sampled_from(["user:me", "user:me@0/00c0ffee", "user:me,user:me", "true", "0", "1e9", "-0"]),
)


class TestMadeUp:
    @EXAMPLES
    @hypothesis.given(said=HEADER.map(str.strip))
    def test_a_last_id_that_is_none_of_ours_is_refused(self, ada, said):
        """Whatever bytes it has; an empty one is none."""
        answer = self.get(ada, "/events/stream", {"streams": "user:me"}, said.encode("latin-1"))

        assert answer == ({(422, "invalid")} if said else {(200, "")})

    @EXAMPLES
    @hypothesis.given(
        query=st.dictionaries(
            st.sampled_from(["streams", "cursor", "history", "limit", "presence", "colour"]), ANY
        ),
        door=st.sampled_from(DOORS),
    )
    def test_no_query_is_more_than_refused(self, ada, query, door):
        """By its field, or it works; no answer is a fault of ours."""
        ((status, code),) = self.get(ada, door, query)

        assert status in (200, 404, 422)
        assert code in ("", "not_found", "invalid")

    @EXAMPLES
    @hypothesis.given(data=st.data())
    def test_a_cursor_with_one_byte_changed_is_refused(self, ada, data):
        """Any byte, and by any other of its alphabet."""
        good = Poller(ada, streams="user:me").cursor
        place = data.draw(st.integers(0, len(good) - 1), "place")
        byte = data.draw(st.sampled_from("ABCabc019-_.%~"), "byte")
        bad = good[:place] + byte + good[place + 1 :]
        hypothesis.assume(bad != good)

        for door in DOORS:
            assert self.get(ada, door, {"cursor": bad}) == {(422, "invalid")}

    @staticmethod
    def get(
        who: RestClient, door: str, query: dict[str, str], last_id: bytes = b""
    ) -> set[tuple[int, str]]:
        headers: dict[str, Any] = {"Authorization": f"Bearer {who.access_token}"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        answer = requests.get(
            f"{who.url}{API}{door}", params=query, headers=headers, stream=True, timeout=DEADLINE_S
        )
        with answer:
            code = "" if answer.status_code == 200 else str(answer.json()["code"])
            return {(answer.status_code, code)}
