"""Errors as problem+json (RFC 9457), whoever raised them. The only place of HTTP status codes."""

import math
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

from core import json
from core.errors import FanfareError, InternalError, describe

_log = structlog.get_logger(__name__)

STATUS = {
    "bad_request": 400,
    "unauthorized": 401,
    "token_expired": 401,
    "token_revoked": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "precondition_failed": 412,
    "too_large": 413,
    "invalid": 422,
    "rate_limited": 429,
    "too_many_connections": 429,
    "too_many_subscriptions": 429,
    "internal": 500,
    "draining": 503,
    "unavailable": 503,
}
_CODES = {404: "not_found", 413: "too_large", 429: "rate_limited"}


def problem(told: dict[str, Any], status: int = 0) -> Response:
    """Render what is told of an error; `status` where it is not its code's own."""
    status = status or STATUS[told["code"]]
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": told["detail"],
        "code": told["code"],
        "request_id": g.request_id,
    }
    if "errors" in told:
        body["errors"] = told["errors"]
    response = Response(json.dumps(body), status, mimetype="application/problem+json")
    if "retry_after" in told:
        response.headers["Retry-After"] = str(math.ceil(told["retry_after"]))
    elif status == 503:
        response.headers["Retry-After"] = "1"
    if status == 401:
        response.headers["WWW-Authenticate"] = f'Bearer error="{told["code"]}"'
    return response


def install(app: Flask) -> None:
    """Catch everything."""
    app.register_error_handler(FanfareError, lambda error: problem(describe(error)))
    app.register_error_handler(HTTPException, _of_framework)
    app.register_error_handler(Exception, _unexpected)


def _of_framework(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return Response(status=status, headers=error.get_headers())
    code = _CODES.get(status, "bad_request" if status < 500 else "internal")
    detail = error.description or HTTPStatus(status).phrase
    response = problem({"code": code, "detail": detail}, status)
    for name, value in error.get_headers():
        if name in ("Allow", "Location"):
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    _log.error("request failed", request_id=g.request_id, exc_info=error)
    return problem(describe(InternalError("The server failed. The log has the story.")))
