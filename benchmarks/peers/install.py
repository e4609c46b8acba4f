"""The peers' packages, at the versions of the lock files, in a folder that git does not know.

They are installed once for each state of a lock, by npm and pip as they are set up here, so any
mirror serves. Fanfare's own environment never sees them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers.build import HERE, KEPT, state_of

PACKAGES = (HERE / "package.json", HERE / "package-lock.json")
REQUIREMENTS = HERE / "requirements.txt"
PROGRAMS = HERE / "programs"
_DONE = ".installed"


class InstallError(RuntimeError):
    """npm or pip failed."""


def node_folder() -> Path:
    """Return the folder with the programs for Node.js beside their packages.

    Raises: InstallError.
    """
    return _kept("node", _install_node)


def python() -> Path:
    """Return the interpreter that has the packages of the peers in Python.

    Raises: InstallError.
    """
    return _kept("python", _install_python) / "bin" / "python"


def has_node() -> bool:
    """Whether Node.js and npm are here."""
    return bool(shutil.which("node") and shutil.which("npm"))


def is_there(kind: str) -> bool:
    """Whether the peers of `kind`, "node" or "python", are installed as the locks say now."""
    return (_folder(kind) / _DONE).exists()


def _folder(kind: str) -> Path:
    programs = sorted(PROGRAMS.glob("*.js"))
    wanted = [*PACKAGES, *programs] if kind == "node" else [REQUIREMENTS]
    return KEPT / f"{kind}-{state_of(wanted)}"


def _kept(kind: str, install: Callable[[Path], None]) -> Path:
    folder = _folder(kind)
    if not is_there(kind):
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted install left
        folder.mkdir(parents=True)
        print(f"Installing the peers of {kind} …", file=sys.stderr, flush=True)
        install(folder)
        (folder / _DONE).touch()
    return folder


def _install_node(folder: Path) -> None:
    for path in [*PACKAGES, *PROGRAMS.glob("*.js")]:
        shutil.copy(path, folder)
    _run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], folder)


def _install_python(folder: Path) -> None:
    _run([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    inside = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", inside, "install", *quiet]
    _run([*pip, "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)], folder)


def _run(command: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise InstallError(f"{command[0]}: {(done.stdout + done.stderr)[-4000:]}")
