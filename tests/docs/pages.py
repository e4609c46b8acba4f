"""Reading the project's Markdown: its fenced examples, its tables, its links.

Enough for our own pages; no Markdown library is asked.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.tree import ROOT, files

_FENCE = re.compile(r"^```(\S*)(?: (.*))?$")
_HEADING = re.compile(r"^#{1,6} (.+?)\s*$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, the rest of its first line, its text and where it begins."""

    page: str
    line: int
    language: str
    about: str
    text: str

    @property
    def place(self) -> str:
        """Where to look when it is wrong."""
        return f"{self.page}:{self.line}"


def read(name: str) -> str:
    """Return the text of a page, named from the root."""
    return (ROOT / name).read_text()


def markdown_pages() -> list[Path]:
    """Return every Markdown file of the project."""
    return [path for path in files() if path.suffix == ".md"]


def blocks(name: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found: list[Block] = []
    start: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(read(name).splitlines(), 1):
        fence = _FENCE.match(line)
        if start is None and fence:
            start, lines = (number, fence[1], fence[2] or ""), []
        elif start is not None and line == "```":
            found.append(Block(name, *start, "\n".join(lines)))
            start = None
        elif start is not None:
            lines.append(line)
    return found


def prose(text: str) -> Iterator[str]:
    """Give the lines of a page that are not inside a fence."""
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield line


def section(name: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above.

    Raises: AssertionError where the page has no such heading.
    """
    level = len(heading) - len(heading.lstrip("#"))
    found: list[str] = []
    inside, fenced = False, False
    for line in read(name).splitlines():
        fenced ^= line.startswith("```")
        title = None if fenced else re.match(r"(#{1,6}) ", line)
        if title and len(title[1]) <= level:
            inside = line == heading
        elif inside:
            found.append(line)
    assert found, f"{name} has no heading {heading!r}"
    return "\n".join(found)


def rows(text: str, *first: str) -> list[list[str]]:
    """Return the rows of every table whose header begins with these cells."""
    found: list[list[str]] = []
    inside = False
    for line in prose(text):
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
        if cells[: len(first)] == list(first):
            inside = True
        elif inside and not set(line) <= set("|-: "):
            found.append(cells)
    assert found, f"there is no table that begins with {first}"
    return found


def codes(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return _CODE.findall(cell)


def links(text: str) -> list[str]:
    """Return the targets of all links and pictures outside fences."""
    plain = (re.sub(r"`[^`]*`", "", line) for line in prose(text))
    return [a or b for line in plain for a, b in _LINK.findall(line)]


def anchors(text: str) -> set[str]:
    """Return the anchors that the headings of a page make."""
    titles = (_HEADING.match(line) for line in prose(text))
    return {_anchor(title[1]) for title in titles if title}


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
