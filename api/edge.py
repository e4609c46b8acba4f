"""What happens to every request and response: an id, headers of safety, CORS, the count."""

from flask import Flask, Response, g, request
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


def install(app: Flask, origins: list[str]) -> None:
    """Put these around all views."""
    app.before_request(_begin)
    app.after_request(_finish)
    if origins:
        CORS(app, origins=origins, expose_headers=_EXPOSED, max_age=600)


def _begin() -> None:
    g.request_id = new_id()


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    for name, value in _SAFETY.items():
        response.headers[name] = value
    is_docs = request.path.startswith(("/docs", "/api/v1/docs"))
    response.headers["Content-Security-Policy"] = _DOCS_CONTENT if is_docs else _CONTENT
    # Nothing that a caller may see is anybody else's to keep.
    if "Cache-Control" not in response.headers and request.path.startswith("/api/"):
        response.headers["Cache-Control"] = "no-store"
    REQUESTS.labels(request.method, response.status_code).inc()
    return response
