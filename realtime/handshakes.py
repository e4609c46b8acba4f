"""Which requests may begin a session of Engine.IO in this process, or go on with one.

A session lives in one process. So its id begins with the name of the node: a proxy may route by
it, and a node that is asked for another's session can say so. Refusals are JSON in the form of a
refused connect, which stock clients hand to their `connect_error`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from core import json
from core.errors import BadRequestError, DrainingError, FanfareError, NotFoundError
from realtime.websocket import judge_handshake

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
        error = _judge(asked, terms)
        if error is not None:
            return _refuse(error, start_response)
        refusal = judge_handshake(environ) if _transport(asked) == "websocket" else None
        if refusal is not None:
            start_response(refusal.status, [("Content-Type", "text/plain"), *refusal.headers])
            return [refusal.detail.encode()]
        return app(environ, start_response)

    return guarded


def _transport(asked: dict[str, list[str]]) -> str:
    # The first one, as Engine.IO takes it.
    return asked.get("transport", ["polling"])[0]


def _judge(asked: dict[str, list[str]], terms: Terms) -> FanfareError | None:
    if _transport(asked) == "polling" and not terms.serves_polling:
        return BadRequestError(_NO_POLLING)
    if "sid" not in asked:
        return DrainingError("The node is shutting down.") if terms.is_draining() else None
    if not asked["sid"][0].startswith(f"{terms.name}."):
        return BadRequestError(_ELSEWHERE)
    return None


def _refuse(error: FanfareError, start_response: Any) -> list[bytes]:
    headers = [("Content-Type", "application/json")]
    if error.retryable:
        headers.append(("Retry-After", "1"))
    start_response(_STATUS[error.code], headers)
    data = {"code": error.code, "detail": error.detail}
    return [json.dumps({"message": error.detail, "data": data})]
