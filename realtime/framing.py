"""Whether a request says in one clear way where it ends (RFC 9112, 6).

A server and the proxy in front of it that read it differently could be made to take the body of
one user's request for a request of another's.
"""

import re
from email.message import Message
from http import HTTPStatus
from typing import Any

from core import json
from core.ids import new_id

LENGTH = re.compile(r"[0-9]{1,18}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LONGEST_CHUNK_HEAD = 1024


def find_fault(headers: Message) -> str | None:
    """Say what is wrong with the headers of a request; None: nothing."""
    if headers.defects:
        return "The headers can't be read."
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or "\n" in value or "\r" in value:
            return "A header is malformed."
    lengths = headers.get_all("Content-Length", [])
    codings = headers.get_all("Transfer-Encoding", [])
    if len(lengths) > 1 or (lengths and not LENGTH.fullmatch(lengths[0])):
        return "Content-Length is not one number."
    if codings and (lengths or [coding.strip().lower() for coding in codings] != ["chunked"]):
        return "Transfer-Encoding is not just 'chunked'."
    return None


def refuse_request(status: int, detail: str) -> bytes:
    """Write the whole answer to what is no request."""
    phrase = HTTPStatus(status).phrase
    problem = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": detail,
        "code": "bad_request",
        "request_id": new_id(),
    }
    body = json.dumps(problem)
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class ShortLines:
    """A file whose lines have a bound: the head of a chunk could go on for ever."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.read = file.read

    def readline(self, size: int | None = None) -> bytes:
        """Read a line.

        Raises:
            OSError: it is too long.
        """
        bound = _LONGEST_CHUNK_HEAD if size is None or size < 0 else size
        line: bytes = self._file.readline(bound)
        if size is None and len(line) >= bound and not line.endswith(b"\n"):
            raise OSError("the head of a chunk is too long")
        return line
