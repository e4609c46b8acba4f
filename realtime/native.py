"""The helper in C (`native.c`): built by `make native`, used where it was, needed nowhere.

Of the standard library alone: it is run before anything is installed.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")
_FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror")
_COMPILERS = ("cc", "gcc", "clang")
_SAID = 4000


class BuildError(RuntimeError):
    """The compiler refused the helper, or there is none."""


def library(folder: Path = _SOURCE.parent) -> Path:
    """Say where the helper is, once it is built: of this source, for this system."""
    mark = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    return folder / f"native-{platform.system()}-{platform.machine()}-{mark}.so".lower()


def is_built() -> bool:
    """Tell whether the helper can be used."""
    return library().exists()


def build(folder: Path = _SOURCE.parent) -> Path:
    """Build the helper, if it was not.

    Raises: BuildError.
    """
    wanted = library(folder)
    if wanted.exists():
        return wanted
    named = os.environ.get("CC")
    compiler = next(filter(None, map(shutil.which, [named] if named else _COMPILERS)), None)
    if compiler is None:
        raise BuildError("there is no C compiler (Debian: gcc libc6-dev)")
    # Another process may build it at the same time: the last one stays.
    mine = wanted.with_name(f"{wanted.name}.{os.getpid()}")
    done = subprocess.run(
        [compiler, *_FLAGS, "-o", mine, _SOURCE], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"the compiler said:\n{done.stderr[-_SAID:]}")
    for old in wanted.parent.glob("native-*.so"):
        old.unlink(missing_ok=True)
    return mine.replace(wanted)


def main() -> int:
    """Build it, and say where it is."""
    try:
        print(f"Built {build().name}. Fan-out uses it from the next start on.")
    except BuildError as error:
        print(f"Not built: {error}\nFanfare works without it.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
