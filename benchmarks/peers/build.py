"""Programs in C, built by the system's compiler when they are first wanted, and kept."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
KEPT = HERE.parent / ".peers"
LOAD = HERE.parent / "load"
FLAGS = ("-std=gnu11", "-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")
COMPILERS = ("cc", "gcc", "clang")


class BuildError(RuntimeError):
    """The compiler refused a program, or there is none."""


def find_compiler() -> str | None:
    """Return the path of a C compiler that makes programs."""
    found = filter(None, map(shutil.which, COMPILERS))
    return next((path for path in found if _compiles(path)), None)


def _compiles(path: str) -> bool:
    # A compiler without the headers of the C library is of no use.
    source = b'#include <stdio.h>\nint main(void) { return puts("") < 0; }\n'
    command = [path, "-x", "c", "-o", os.devnull, "-"]
    done = subprocess.run(command, input=source, capture_output=True, check=False)
    return done.returncode == 0


def state_of(paths: Iterable[Path]) -> str:
    """Name what these files hold now: what was made of another state is made again."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def load_generator() -> Path:
    """Return the load generator, built.

    Raises: BuildError.
    """
    return built("load", sorted(LOAD.glob("*.c")), sorted(LOAD.glob("*.h")))


def send_loop() -> Path:
    """Return the loop of send(), built.

    Raises: BuildError.
    """
    return built("sendloop", [HERE / "programs" / "sendloop.c"])


def built(name: str, sources: list[Path], headers: list[Path] | None = None) -> Path:
    """Return the program made of these sources; it is built where they have changed.

    Raises: BuildError, with what the compiler said.
    """
    program = KEPT / "bin" / f"{name}-{state_of([*sources, *(headers or [])])}"
    if program.exists():
        return program
    compiler = find_compiler()
    if compiler is None:
        raise BuildError(f"no C compiler for {name} (Debian: apt-get install gcc libc6-dev)")
    program.parent.mkdir(parents=True, exist_ok=True)
    # Another process may build the same: each writes a file of its own, and the last one stays.
    mine = program.with_name(f"{program.name}.{os.getpid()}")
    done = subprocess.run(
        [compiler, *FLAGS, "-o", mine, *sources], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"{name} was not built:\n{done.stderr[-4000:]}")
    return mine.replace(program)
