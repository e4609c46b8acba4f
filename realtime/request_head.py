"""The head of a usual request, read without the machinery that the standard library has for mail.

Only what is plain in every way is taken: HTTP/1.1, visible ASCII, no name twice, no folded lines,
no body in chunks. All else is left to the usual way, which reads it as before, and judges it.
"""

import re
from collections.abc import Callable
from typing import Any

from realtime.framing import LENGTH

_LINE = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/(?:[!-.0-~][!-~]*)?) HTTP/1\.1\r\n"
)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ -~\t]*[!-~])?)?\r\n")
# Whose meaning is not in the head alone.
_UNUSUAL = {"transfer-encoding", "expect", "upgrade"}
_MOST = 100
_MOST_BYTES = 65_536


class Head:
    """A request's headers, in the form that the HTTP server asks for them."""

    __slots__ = ("_found", "_headers")

    def __init__(self, headers: list[tuple[str, str]], found: dict[str, str]) -> None:
        self._headers = headers
        self._found = found

    def get(self, name: str, default: str | None = None) -> str | None:
        """Give a header by its name, in any case."""
        return self._found.get(name.lower(), default)

    def get_content_type(self) -> str:
        """Say what a body without a type is taken for."""
        return "text/plain"


class Again:
    """A file whose first lines were read already: they are given once more."""

    def __init__(self, lines: list[bytes], file: Any) -> None:
        self._lines = iter(lines)
        self._file = file

    def readline(self, size: int = -1) -> bytes:
        """Give a line."""
        line = next(self._lines, None)
        return bytes(self._file.readline(size)) if line is None else line


def is_usual_line(first: bytes) -> bool:
    """Tell whether a request begins in the usual way."""
    return _LINE.fullmatch(first) is not None


def read_lines(readline: Callable[[], bytes]) -> list[bytes]:
    """Read to the empty line after the headers, or as far as they make sense."""
    lines: list[bytes] = []
    size = 0
    while size <= _MOST_BYTES and len(lines) <= _MOST:
        line = readline()
        lines.append(line)
        size += len(line)
        if line in (b"\r\n", b"\n", b""):
            break
    return lines


def read_head(first: bytes, lines: list[bytes]) -> tuple[str, str, Head] | None:
    """Give method, address and headers of a usual request; None: it is to be looked at closer."""
    line = _LINE.fullmatch(first)
    if line is None or lines[-1] != b"\r\n":
        return None
    headers: list[tuple[str, str]] = []
    found: dict[str, str] = {}
    for text in lines[:-1]:
        header = _HEADER.fullmatch(text)
        if header is None:
            return None
        name, value = header[1].decode(), (header[2] or b"").decode()
        headers.append((name, value))
        found[name.lower()] = value
    if len(found) != len(headers) or not found.keys().isdisjoint(_UNUSUAL):
        return None
    if "content-length" in found and not LENGTH.fullmatch(found["content-length"]):
        return None
    return line[1].decode(), line[2].decode(), Head(headers, found)
