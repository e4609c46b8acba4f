"""The head of a chunk was read to its end, so one that never ended filled the memory.

No limit on bodies saw it, and nobody had to sign in. Trailers after the last chunk alike.
"""

import pytest

from tests.regression.wires import call, dial

HEAD = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
# More than the buffers of both ends of a connection take.
MOST = 48 * 2**20


class TestEndlessLine:
    @pytest.mark.parametrize("start", [b"", b"0\r\n"], ids=["the size of a chunk", "a trailer"])
    def test_it_is_not_read_on(self, sturdy, start):
        sent = 0
        with dial(sturdy) as connection:
            connection.sendall(HEAD + start)
            try:
                while sent < MOST:
                    connection.sendall(b"1" * 65_536)
                    sent += 65_536
            except TimeoutError:
                raise
            except OSError:
                pass  # it was cut off

        assert sent < MOST
        assert call(sturdy, "GET", "/healthz").status_code == 200
