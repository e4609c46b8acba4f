"""As many idle connections as the process might open files ended the server, for everybody.

`accept` failed with EMFILE, eventlet's server raised that, and the process left with a traceback:
nobody had to sign in for it. The listener now waits until a descriptor is free again.
"""

import resource
from contextlib import ExitStack

from tests.regression.wires import call, descriptors, dial
from tests.support.wait import wait_until


class TestOutOfDescriptors:
    def test_the_server_lives_on_and_accepts_again(self, start_own):
        server = start_own()
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (descriptors(server) + 20, hard))
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(dial(server))
            wait_until(
                lambda: "accept failed" in server.log or not server.is_running(), deadline_s=30
            )

        assert server.is_running(), server.log
        assert call(server, "GET", "/healthz").status_code == 200
        assert "Traceback" not in server.log
