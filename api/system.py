"""Beside the API: health, metrics, the machine-readable description, and pages for people."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, send_from_directory
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.openapi import Json
from api.respond import ok, with_digest
from core.errors import UnavailableError

_SWAGGER = Path(str(find_spec("swagger_ui").origin)).parent / "static"  # type: ignore[union-attr]

_DOCS_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fanfare API</title>
<link rel="stylesheet" href="/docs/ui/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/ui/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_DOCS_START = """window.onload = () => SwaggerUIBundle({
  url: "/api/v1/openapi.json", dom_id: "#swagger-ui", validatorUrl: null, deepLinking: true,
});
"""


# What must hold before a node is sent clients, by name.
Checks = Mapping[str, Callable[[], bool]]


def blueprint(web: Path, openapi: Json, asyncapi: Json, checks: Checks) -> Blueprint:
    """Make the routes that are not calls of the API."""
    routes = Blueprint("system", __name__, static_folder=str(web), static_url_path="/static/web")

    @routes.get("/")
    def console() -> Response:
        return send_from_directory(web, "index.html")

    @routes.get("/api/v1/openapi.json")
    def openapi_json() -> Response:
        return with_digest(ok(openapi))

    @routes.get("/api/v1/asyncapi.json")
    def asyncapi_json() -> Response:
        return with_digest(ok(asyncapi))

    _add_docs(routes)
    _add_probes(routes, checks)
    return routes


def _add_docs(routes: Blueprint) -> None:
    @routes.get("/docs")
    @routes.get("/api/v1/docs")
    def docs() -> Response:
        return Response(_DOCS_PAGE, mimetype="text/html")

    @routes.get("/docs/start.js")
    def docs_start() -> Response:
        return Response(_DOCS_START, mimetype="text/javascript")

    @routes.get("/docs/ui/<path:name>")
    def docs_ui(name: str) -> Response:
        return send_from_directory(_SWAGGER, name)


def _add_probes(routes: Blueprint, checks: Checks) -> None:
    @routes.get("/healthz")
    def healthz() -> Response:
        return ok({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        failing = [name for name, holds in checks.items() if not holds()]
        if failing:
            raise UnavailableError(f"Not ready: {', '.join(failing)}.")
        return ok({"status": "ok"})

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), mimetype=CONTENT_TYPE_LATEST)
