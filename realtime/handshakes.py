"""Which requests may begin a session of Engine.IO in this process, or go on with one.

A session lives in one process. So its id begins with the name of the node: a proxy may route by
it, and a node that is asked for another's session can say so. Refusals are JSON in the form of a
refused connect, which stock clients hand to their `connect_error`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import parse_qs

from core import json
from core.errors import BadRequestError, DrainingError, FanfareError, NotFoundError
from realtime.deflate import agree
from realtime.websocket import Refusal, answer_handshake, judge_handshake

_NO_POLLING = (
    "Engine.IO's polling is not served here: connect with the transport websocket alone. To have "
    "it served, set TRANSPORTS=websocket,polling and give each node a NODE_NAME of its own, and "
    "let the proxy route by the sid."
)
_ELSEWHERE = (
    "This session is another node's, or over: connect anew. If it happens again and again, the "
    "proxy does not route by the sid: connect with the transport websocket alone."
)
# Engine.IO takes all that begins so, and `/socket.io/../x` too: past the limits of a proxy.
_PATH = "/socket.io/"
_USUAL_START = b"GET /socket.io/?"
_USUAL_LINES = re.compile(rb"(?:[ -~]+\r\n)+\r\n")
_USUAL_NAME = re.compile(r"[A-Za-z0-9-]+")
_STATUS = {
    "bad_request": "400 Bad Request",
    "not_found": "404 Not Found",
    "draining": "503 Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What this process serves. `name` begins the id of each of its sessions."""

    name: str
    serves_polling: bool
    is_draining: Callable[[], bool]
    origins: Sequence[str]
    # Begins a session on the socket of a request, with this answer to its handshake.
    open: Callable[[dict[str, Any], bytes], None]
    # Whether to agree to permessage-deflate.
    compresses: bool = False


def name_sessions(engine: Any, name: str) -> None:
    """Let the id of each session begin with the name of its node."""
    make = engine.generate_id
    engine.generate_id = lambda: f"{name}.{make()}"


def guard_handshakes(app: Any, terms: Terms) -> Any:
    """Refuse what Engine.IO must not begin a session for."""

    def guarded(environ: dict[str, Any], start_response: Any) -> Any:
        if not environ["PATH_INFO"].startswith(_PATH):
            return app(environ, start_response)
        if environ["PATH_INFO"] != _PATH:
            return _refuse(NotFoundError("Engine.IO is served at /socket.io/."), start_response)
        asked = parse_qs(environ.get("QUERY_STRING", ""))
        error = _judge(asked, terms) or _judge_origin(environ, terms.origins)
        if error is not None:
            return _refuse(error, start_response)
        if _transport(asked) != "websocket":
            return app(environ, start_response)
        answer = _answer(environ, terms)
        if isinstance(answer, Refusal):
            start_response(answer.status, [("Content-Type", "text/plain"), *answer.headers])
            return [answer.detail.encode()]
        if "sid" in asked:
            return app(environ, start_response)
        terms.open(environ, answer)
        return ()

    return guarded


class Sessions(Protocol):
    """Who has left the HTTP server."""

    def __len__(self) -> int:
        """Count them."""

    def open(self, sock: Any, greeting: bytes) -> None:
        """Begin a session."""


class QuickHandshakes:
    """Handshakes that need no HTTP server: whole, usual in every way, and good.

    All others are left to `guard_handshakes`, which judges by the same rules and answers.
    """

    def __init__(
        self, terms: Terms, sessions: Sessions, behind_proxies: Callable[[Any], Any]
    ) -> None:
        self._terms = terms
        self._sessions = sessions
        self._judge = behind_proxies(self._judge_environ)

    def __len__(self) -> int:
        """Count who has left the HTTP server."""
        return len(self._sessions)

    def greet(self, head: bytes) -> bytes | None:
        """Judge the head of a request; give the answer, if it may leave right away."""
        environ = read_usual_head(head)
        greeting: bytes | None = None if environ is None else self._judge(environ, None)
        return greeting

    def _judge_environ(self, environ: dict[str, Any], _start_response: object) -> bytes | None:
        asked = _read_query(environ["QUERY_STRING"])
        if _transport(asked) != "websocket" or "sid" in asked:
            return None
        if _judge(asked, self._terms) or _judge_origin(environ, self._terms.origins):
            return None
        answer = _answer(environ, self._terms)
        return None if isinstance(answer, Refusal) else answer

    def welcome(self, sock: Any, greeting: bytes) -> None:
        """Begin a session on a connection whose request was read."""
        self._sessions.open(sock, greeting)


def read_usual_head(head: bytes) -> dict[str, Any] | None:
    """Read a request for a WebSocket of Engine.IO that is just a head; None: look closer."""
    if not head.startswith(_USUAL_START) or not _USUAL_LINES.fullmatch(head):
        return None
    target, *lines = head[4:-4].decode("ascii").split("\r\n")
    address, _, version = target.partition(" ")
    path, _, query = address.partition("?")
    if path != _PATH or version != "HTTP/1.1":
        return None
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.url_scheme": "http",
    }
    for line in lines:
        name, colon, value = line.partition(":")
        key = _environ_name(name)
        if not key or not colon or key in environ:
            return None
        environ[key] = value.strip(" ")
    if "HTTP_HOST" not in environ or "HTTP_CONTENT_LENGTH" in environ:
        return None
    return environ


# Clients of one kind ask alike: each address and name is read once, as long as it is remembered.
_remembered = lru_cache(maxsize=64)(parse_qs)
_USUAL_QUERY_CHARS = 200


def _read_query(query: str) -> dict[str, list[str]]:
    # What a stranger makes long is not kept.
    return _remembered(query) if len(query) <= _USUAL_QUERY_CHARS else parse_qs(query)


@lru_cache(maxsize=256)
def _environ_name(header: str) -> str:
    """Give a header's name as WSGI has it; empty where it is no usual one."""
    if not _USUAL_NAME.fullmatch(header):
        return ""
    return "HTTP_" + header.upper().replace("-", "_")


def _transport(asked: dict[str, list[str]]) -> str:
    # The first one, as Engine.IO takes it.
    return asked.get("transport", ["polling"])[0]


def _judge(asked: dict[str, list[str]], terms: Terms) -> FanfareError | None:
    if _transport(asked) == "polling" and not terms.serves_polling:
        return BadRequestError(_NO_POLLING)
    if "sid" not in asked:
        if asked.get("EIO") != ["4"]:
            return BadRequestError("Only version 4 of Engine.IO is spoken: say EIO=4.")
        return DrainingError("The node is shutting down.") if terms.is_draining() else None
    if not asked["sid"][0].startswith(f"{terms.name}."):
        return BadRequestError(_ELSEWHERE)
    return None


def _answer(environ: dict[str, Any], terms: Terms) -> bytes | Refusal:
    refusal = judge_handshake(environ)
    if refusal is not None:
        return refusal
    key = environ["HTTP_SEC_WEBSOCKET_KEY"]
    if not terms.compresses:
        return answer_handshake(key)
    agreed = agree(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""))
    if agreed is None:
        return Refusal("400 Bad Request", "Sec-WebSocket-Extensions is malformed")
    return answer_handshake(key, agreed)


def _judge_origin(environ: dict[str, Any], origins: Sequence[str]) -> FanfareError | None:
    origin = environ.get("HTTP_ORIGIN")
    if origin is None or is_own_or_allowed(origin, environ, origins):
        return None
    return BadRequestError("Pages of this origin may not connect: see CORS_ORIGINS.")


def is_own_or_allowed(origin: str, environ: dict[str, Any], origins: Sequence[str]) -> bool:
    """Judge where a page comes from: the address that it calls, or one of `origins`."""
    scheme, host = environ.get("wsgi.url_scheme"), environ.get("HTTP_HOST")
    return origin == f"{scheme}://{host}" or origin in origins


def _refuse(error: FanfareError, start_response: Any) -> list[bytes]:
    headers = [("Content-Type", "application/json")]
    if error.retryable:
        headers.append(("Retry-After", "1"))
    start_response(_STATUS[error.code], headers)
    data = {"code": error.code, "detail": error.detail}
    return [json.dumps({"message": error.detail, "data": data})]
