"""A polling POST that Engine.IO refused was never answered, and kept its descriptor for ever.

The library closed the session by waiting until its queue was empty; nobody reads the queue of a
closed session. A stranger with a thousand such requests ended the server.
"""

import pytest

from tests.regression.wires import Polling, call, descriptors, dial, read_all, statuses
from tests.support.wait import wait_until

HEAD = "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"


class TestRefusedPost:
    @pytest.mark.parametrize(("length", "body"), [(10_000_000, ""), (1, "9")], ids=["long", "odd"])
    def test_it_is_answered_and_leaves_nothing(self, sturdy, length, body):
        call(sturdy, "GET", "/healthz")
        before = descriptors(sturdy)
        answers = []
        for _ in range(5):
            request = HEAD.format(path=Polling(sturdy).path, length=length) + body
            with dial(sturdy) as connection:
                connection.sendall(request.encode())
                answers.append(statuses(read_all(connection)))

        assert all(len(answer) == 1 and 400 <= answer[0] < 500 for answer in answers), answers
        wait_until(lambda: descriptors(sturdy) <= before, deadline_s=30, what="the descriptors")
