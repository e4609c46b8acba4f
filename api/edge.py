"""What happens to every request and response: an id, headers of safety, CORS, the count."""

from functools import lru_cache
from typing import Any

from flask import Flask, Request, Response, g, request
from flask.sessions import SessionInterface, SessionMixin
from flask_cors import CORS

from core.ids import new_id
from core.metrics import REQUESTS

_SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_CONTENT = (
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
    "style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'"
)
# Swagger UI sets styles from its script.
_DOCS_CONTENT = _CONTENT.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_EXPOSED = [
    "ETag",
    "Fanfare-Position",
    "Idempotent-Replay",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-Id",
]


class _NoSessions(SessionInterface):
    """No cookies: who calls is told by the token alone."""

    def open_session(self, _app: Flask, _request: Request) -> None:
        """Open nothing."""

    def save_session(self, _app: Flask, _session: SessionMixin, _response: Response) -> None:
        """Keep nothing."""


def add_safety(app: Any) -> Any:
    """Add the headers of safety to every answer of a WSGI application, whoever gives it."""
    usual = [*_SAFETY.items(), ("Content-Security-Policy", _CONTENT)]
    docs = [*_SAFETY.items(), ("Content-Security-Policy", _DOCS_CONTENT)]

    def safe(environ: dict[str, Any], start_response: Any) -> Any:
        is_docs = environ["PATH_INFO"].startswith(("/docs", "/api/v1/docs"))
        added = docs if is_docs else usual

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, headers + added, *error)

        return app(environ, start)

    return safe


def install(app: Flask, origins: list[str]) -> None:
    """Put these around all views."""
    app.session_interface = _NoSessions()
    app.before_request(_begin)
    app.after_request(_finish)
    if origins:
        CORS(app, origins=origins, expose_headers=_EXPOSED, max_age=600)


def _begin() -> None:
    g.request_id = new_id()


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    # Nothing that a caller may see is anybody else's to keep.
    if "Cache-Control" not in response.headers and request.path.startswith("/api/"):
        response.headers["Cache-Control"] = "no-store"
    # A method is whatever a client makes up: a label must not be.
    method = request.method if request.method in _METHODS else "other"
    _count(method, response.status_code).inc()
    return response


# Few and bounded, as labels are: each is looked up once.
@lru_cache(maxsize=1024)
def _count(method: str, status: int) -> Any:
    return REQUESTS.labels(method, status)
