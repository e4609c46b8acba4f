"""Beside the API: health, metrics, the machine-readable description, and pages for people."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, send_from_directory
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from api.openapi import Json
from api.respond import ok, with_digest
from core.errors import DrainingError, UnavailableError

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


@dataclass(frozen=True, slots=True)
class Probes:
    """What is asked at `/readyz` and `/metrics`.

    `checks` must hold before a node is sent clients, by name. `measure` sets the gauges that are
    not kept up to date all the time.
    """

    checks: Mapping[str, Callable[[], bool]]
    is_draining: Callable[[], bool]
    measure: Callable[[], None]


def blueprint(root: Path, openapi: Json, asyncapi: Json, probes: Probes) -> Blueprint:
    """Make the routes that are not calls of the API. What they serve lies below `root`."""
    web, client = root / "web", root / "clients" / "js" / "dist"
    routes = Blueprint("system", __name__, static_folder=str(web), static_url_path="/static/web")

    @routes.get("/")
    def console() -> Response:
        return send_from_directory(web, "index.html")

    @routes.get("/static/client/<path:name>")
    def client_file(name: str) -> Response:
        return send_from_directory(client, name)

    @routes.get("/api/v1/openapi.json")
    def openapi_json() -> Response:
        return with_digest(ok(openapi))

    @routes.get("/api/v1/asyncapi.json")
    def asyncapi_json() -> Response:
        return with_digest(ok(asyncapi))

    _add_docs(routes)
    _add_probes(routes, probes)
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


def _add_probes(routes: Blueprint, probes: Probes) -> None:
    @routes.get("/healthz")
    def healthz() -> Response:
        return ok({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        if probes.is_draining():
            raise DrainingError("Not ready: draining.")
        failing = [name for name, holds in probes.checks.items() if not holds()]
        if failing:
            raise UnavailableError(f"Not ready: {', '.join(failing)}.")
        return ok({"status": "ok"})

    @routes.get("/metrics")
    def metrics() -> Response:
        probes.measure()
        return Response(_render_metrics(), mimetype=CONTENT_TYPE_LATEST)


def _render_metrics() -> bytes:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    # Each worker keeps its numbers in files: any of them tells the sums.
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
