"""Starts the real server with a leak in it: `python -m tests.soak.leaky serve`."""

import os
import sys
from typing import Any

KEPT: list[Any] = []
LEAK_BYTES = 100_000

if __name__ == "__main__":
    # As run.py does: what waits must let others run, before anything else is imported.
    from realtime import green

    green.patch()

    import commands
    from realtime.gateway import Gateway

    let_go = Gateway.on_gone

    def leak(self: Gateway, name: str) -> None:
        """Keep memory, a descriptor and a greenlet of each connection that ends."""
        let_go(self, name)
        KEPT.append(os.urandom(LEAK_BYTES))
        KEPT.append(os.dup(2))
        green.spawn(green.sleep, 3600)

    Gateway.on_gone = leak  # type: ignore[method-assign]
    sys.exit(commands.main(sys.argv[1:]))
