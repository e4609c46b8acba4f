"""Starts the real server with one fault in it: `python -m tests.faulty.server FAULT serve`."""

import sys

if __name__ == "__main__":
    # As run.py does: what waits must let others run, before anything else is imported.
    from realtime import green

    green.patch()

    import commands
    from tests.faulty.faults import FAULTS

    name, *arguments = sys.argv[1:]
    FAULTS[name].plant()
    sys.exit(commands.main(arguments))
