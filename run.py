"""The command line of Fanfare, and `run:app` for a WSGI server that runs on eventlet."""

import sys

if __name__ == "__main__" and (len(sys.argv) < 2 or sys.argv[1] == "serve"):
    # Before anything else is imported: what waits must let others run from the start. Another
    # WSGI server does this itself, after its fork.
    from realtime import green

    green.patch()

import commands


def __getattr__(name: str) -> object:
    if name == "app":
        return commands.wsgi_app()
    raise AttributeError(name)


if __name__ == "__main__":
    sys.exit(commands.main(sys.argv[1:]))
