"""The end of a request could be read in two ways, so its body was carried out as the next one.

A proxy in front that reads `Content-Length: +0` or a doubled header otherwise would have let one
user's body become another's request. Such a request is now refused, and its connection closed.
"""

import pytest

from tests.regression.wires import ask, statuses

HEAD = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
FRAMINGS = {
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "two codings": b"Transfer-Encoding: gzip, chunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "chunked and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 40\r\n",
    "a sign": b"Content-Length: +0\r\n",
    "an underscore": b"Content-Length: 0_0\r\n",
    "a list": b"Content-Length: 0, 40\r\n",
    "no number": b"Content-Length:\r\n",
    "a space before the colon": b"Content-Length : 40\r\n",
    "a folded line": b"X-A: a\r\n Content-Length: 40\r\n",
}


class TestFraming:
    @pytest.mark.parametrize("header", FRAMINGS.values(), ids=FRAMINGS.keys())
    def test_what_does_not_end_in_one_clear_way_gets_one_refusal(self, sturdy, header):
        answer = ask(sturdy, HEAD + header + b"\r\n" + SMUGGLED)

        assert statuses(answer) == [400]
        assert b'"code":"bad_request"' in answer
