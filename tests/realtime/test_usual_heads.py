"""Handshakes that are read without an HTTP server: only what can be read in one way."""

import random
from email.parser import BytesParser

import pytest

from realtime.handshakes import read_usual_head

HEADERS = (
    b"Host: 127.0.0.1:5000\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Cookie: a=b: c\r\nAccept-Language:  en-US,en;q=0.9  \r\nX-Empty:\r\n"
)
START = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
HEAD = START + HEADERS + b"\r\n"


class TestAUsualHead:
    def test_it_is_read_as_a_server_would(self):
        assert read_usual_head(HEAD) == {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/socket.io/",
            "QUERY_STRING": "EIO=4&transport=websocket",
            "wsgi.url_scheme": "http",
            "HTTP_HOST": "127.0.0.1:5000",
            "HTTP_UPGRADE": "websocket",
            "HTTP_CONNECTION": "keep-alive, Upgrade",
            "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
            "HTTP_COOKIE": "a=b: c",
            "HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.9",
            "HTTP_X_EMPTY": "",
        }

    @pytest.mark.parametrize(
        "header",
        [
            b"Host: other",  # twice
            b"HOST: other",
            b" folded: value",
            b"\tfolded: value",
            b"Name : value",
            b"Under_Score: value",
            b"no colon",
            b": no name",
            b"X: \xc3\xa9",
            b"X: a\x00b",
            b"X: a\tb",
            b"X: a\rb",
            b"X: a\nY: b",
            b"Content-Length: 0",
            b"",
        ],
    )
    def test_what_is_unusual_is_left_to_the_server(self, header):
        assert read_usual_head(START + HEADERS + header + b"\r\n\r\n") is None

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            HEAD[:-2],
            HEAD + b"GET",
            HEAD + HEAD,
            HEAD.replace(b"\r\n", b"\n"),
            HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
            HEAD.replace(b"GET", b"POST"),
            HEAD.replace(b"/socket.io/?", b"/socket.io/../?"),
            HEAD.replace(b"Host:", b"Ghost:"),
            START + b"\r\n",
            START + b"\r\n" + HEADERS + b"\r\n",
        ],
    )
    def test_so_is_what_is_no_whole_request_of_ours(self, head):
        assert read_usual_head(head) is None

    def test_whatever_is_read_is_what_a_parser_reads(self, rng: random.Random):
        """Bytes are changed, dropped and doubled at random: what passes has one meaning."""
        passed = 0
        for _ in range(20_000):
            head = bytearray(HEAD)
            for _ in range(rng.choice([1, 1, 2, 3])):
                at = rng.randrange(len(START), len(head))
                head[at : at + rng.choice([0, 1, 1, 2])] = rng.choice(
                    [b"", b"\r\n", b":", b" ", b"A", bytes((rng.randrange(256),))]
                )
            found = read_usual_head(bytes(head))
            if found is None:
                continue
            passed += 1
            parsed = BytesParser().parsebytes(bytes(head).partition(b"\r\n")[2])
            names = {
                "HTTP_" + name.upper().replace("-", "_"): value for name, value in parsed.items()
            }
            assert not parsed.defects
            assert not parsed.get_payload()
            assert {n: v.strip() for n, v in names.items()} == {
                name: value for name, value in found.items() if name.startswith("HTTP_")
            }
        assert passed > 1000
