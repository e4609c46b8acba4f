"""`python -m tests.soak`: a real server under mixed load; fails where it grows or fails anybody."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from cluster.process import die_with_us
from tests.soak.load import SETTINGS
from tests.soak.soak import soak
from tests.support.server import Server


def main() -> int:
    """Run, and tell by the status how it went."""
    wanted = _parser().parse_args()
    die_with_us()
    print(f"seed {wanted.seed}, {wanted.seconds} s", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="fanfare-soak-") as folder,
        Server(None, instance=Path(folder), **SETTINGS) as server,
    ):
        outcome = soak(server, wanted.seconds, wanted.seed, lambda line: print(line, flush=True))
        tracebacks = server.log.count("Traceback")
        if tracebacks:
            print(server.log[-4000:])
    good = outcome.is_good and not tracebacks
    print("The server ended as it began." if good else "The server did NOT stay as it was.")
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    made.add_argument("--seconds", type=float, default=600, help="how long (600)")
    made.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    return made


if __name__ == "__main__":
    sys.exit(main())
