"""Heads that are read quickly: taken for what the usual way takes them for, or left to it."""

import io
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime.green_server import _Protocol
from realtime.request_head import read_head, read_lines

PLAIN = (
    b"GET /api/v1/me?limit=50&q=a%20b HTTP/1.1\r\nHost: bench:80\r\nAuthorization: Bearer a.b-c\r\n"
    b'If-None-Match: "abc"\r\nAccept: */*\r\nX-Empty:\r\nX_Under: y\r\n\r\n'
)
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n{}"


class Quiet:
    """As much of a server and a connection as a head is read with."""

    environ: Any = None
    is_closed = False
    requests = 0

    @property
    def socket(self) -> "Quiet":
        return self

    def get_environ(self) -> dict[str, Any]:
        return {}

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 80)


class Reader(_Protocol):
    """The server's own reading of a head, without a network."""

    def __init__(self, text: bytes) -> None:
        file = io.BytesIO(text)
        self.raw_requestline = file.readline()
        self.rfile, self.wfile = file, io.BytesIO()
        self.server = Quiet()
        self.request = self.connection = Quiet()
        self.client_address = ("127.0.0.1", 9)
        self.conn_state = [None, None, None]
        self.protocol_version = "HTTP/1.1"
        self.close_connection = True

    def told(self, *, usual: bool) -> Any:
        """Say what the head is taken for; None: it was refused."""
        is_good = self.parse_request() if usual else self._parse_unusual([])
        if not is_good:
            return None
        environ = {k: v for k, v in self.get_environ().items() if isinstance(v, str | tuple)}
        connection = (self.headers.get("Connection") or "").lower()
        stays = not self.close_connection
        return environ, stays, connection, self.requestline, self.rfile.tell()


def is_taken(text: bytes) -> bool:
    file = io.BytesIO(text)
    return read_head(file.readline(), read_lines(file.readline)) is not None


LINES = [
    *(b"GET / HTTP/1.1", b"GET /a?b#c HTTP/1.1", b"POST /a%00 HTTP/1.1", b"GET //evil/ HTTP/1.1"),
    *(b"GET /a HTTP/1.0", b"GET /a", b"FOO /a HTTP/1.1", b"get /a HTTP/1.1", b"GET  /a HTTP/1.1"),
    *(b"GET /\xc3\xa9 HTTP/1.1", b"GET http://a/b HTTP/1.1", b"GET * HTTP/1.1", b""),
    *(b"GET /a HTTP/1.1 ", b"GET /a HTTP/2.0", b"GET /a HTTP/1.10", b" GET /a HTTP/1.1"),
]
NAMES = [
    *(b"Host", b"X-A", b"X_A", b"content-length", b"Content-Type", b"Connection", b"X A", b""),
    *(b"Transfer-Encoding", b"Expect", b" Folded", b"X-\xc3\xa9", b"X-A ", b"Authorization"),
]
VALUES = [
    *(b"a", b"", b"0", b"2", b"+2", b"2 ", b"-1", b"1" * 19, b"2, 2", b"close", b"Close"),
    *(b"chunked", b"100-continue", b"a b", b"a\tb", b"a:b", b"\xe9", b"a\x00b", b"a\rb", b'"x"'),
    *(b"keep-alive", b"close, x", b"\x7f", b"\x0b", b"a\x1cb", b"a\x85b", b"_"),
]
COLONS = [b":", b": ", b":\t ", b" : ", b"", b":  "]
ENDS = [b"\r\n", b"\n", b"\r\r\n", b" \r\n", b"\r"]
one_line = st.tuples(*map(st.sampled_from, (NAMES, COLONS, VALUES, ENDS))).map(b"".join)
odd = st.tuples(
    st.sampled_from(LINES),
    st.sampled_from(ENDS),
    st.lists(one_line, max_size=4).map(b"".join),
    st.sampled_from([b"\r\n", b"\n", b""]),
).map(b"".join)


def differs(text: bytes) -> bool:
    return bool(Reader(text).told(usual=True) != Reader(text).told(usual=False))


class TestAHead:
    @pytest.mark.parametrize("text", [PLAIN, POST])
    def test_that_is_plain_is_taken(self, text):
        """Else all that is said here would be said of nothing."""
        assert is_taken(text)

    @given(text=odd)
    @example(PLAIN)
    @example(POST)
    def test_is_what_the_usual_way_makes_of_it(self, text):
        """Every word of the environment, and whether the connection stays; refusals too."""
        assert not differs(text)

    def test_is_so_with_each_first_line(self):
        texts = [PLAIN.replace(PLAIN.split(b"\r\n")[0], line) for line in LINES]

        assert [text for text in texts if differs(text)] == []

    def test_is_so_with_each_odd_header_by_itself(self):
        """The others are plain: what is taken for plain by mistake shows."""
        found = map(b"".join, product(NAMES, COLONS, VALUES, ENDS))
        texts = (b"GET /a HTTP/1.1\r\nAccept: a\r\n" + line + b"\r\n" for line in found)

        assert [text for text in texts if differs(text)] == []

    @pytest.mark.parametrize(
        "line",
        [
            *(b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Upgrade: websocket"),
            *(b"Host: twice", b" folded", b"X: \xc3\xa9", b"X : a", b"X: a ", b"X", b"X: a\rb"),
        ],
    )
    def test_that_is_not_plain_is_looked_at_closer(self, line):
        assert not is_taken(PLAIN.replace(b"Accept: */*", line))

    def test_without_an_end_is_looked_at_closer(self):
        assert not is_taken(PLAIN[:-2])
        assert not is_taken(PLAIN[:-1] + b"x")

    def test_is_read_to_its_end_and_no_further(self):
        file = io.BytesIO(POST)
        first = file.readline()

        assert read_head(first, read_lines(file.readline)) is not None
        assert file.read() == b"{}"

    def test_of_too_many_lines_is_refused_by_the_usual_way(self):
        text = PLAIN[:-2] + b"".join(b"X-%d: a\r\n" % n for n in range(150)) + b"\r\n"
        reader = Reader(text)

        assert reader.told(usual=True) is None
        assert b" 431 " in reader.wfile.getvalue()
