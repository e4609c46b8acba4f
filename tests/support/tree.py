"""The project's own files and the imports in them, for the tests that hold its rules."""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A folder of packages of their own: what lies in it is named without it.
PACKAGES = ("clients", "python")
NOT_RUN = frozenset({"tests", "docs", "benchmarks"})


@dataclass(frozen=True, slots=True)
class Import:
    """One name that a module imports, under the fullest name that is a module of ours."""

    importer: str
    imported: str
    line: int

    @property
    def package(self) -> str:
        """The first part of the name: `sqlalchemy` of `sqlalchemy.orm`."""
        return self.imported.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def copy_program(folder: Path) -> Path:
    """Copy what a server runs from, for a test that changes it; gives the copy's root."""
    for path in files():
        name = path.relative_to(ROOT)
        if name.parts[0] not in NOT_RUN:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
    return folder


@cache
def files() -> tuple[Path, ...]:
    """Return every file that git tracks or would add, so that a new one is judged at once."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(sorted({path for path in paths if path.is_file()}))


def python_files() -> list[Path]:
    """Return the files of Python among them."""
    return [path for path in files() if path.suffix == ".py"]


def name_of(path: Path) -> str:
    """Return a file's name from the root, as messages show it: `core/events.py`."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """Return the module that a file is: `core.store` of `core/store/__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[: len(PACKAGES)] == PACKAGES:
        parts = parts[len(PACKAGES) :]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> frozenset[str]:
    """Return the names of all modules of ours."""
    return frozenset(module_of(path) for path in python_files())


@cache
def imports() -> tuple[Import, ...]:
    """Return every import of every module of ours, the nested and the type-only ones too."""
    return tuple(
        found
        for path in python_files()
        for found in imports_in(path.read_text(), module=module_of(path), known=modules())
    )


def imports_in(source: str, *, module: str, known: frozenset[str]) -> Iterator[Import]:
    """Find the imports in a source text; `from core import ids` imports `core.ids`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(module, name.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for name in node.names:
                full = f"{base}.{name.name}"
                yield Import(module, full if full in known else base, node.lineno)
