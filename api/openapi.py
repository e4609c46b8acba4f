"""The OpenAPI 3.1 document, assembled from the endpoints' own declarations."""

import inspect
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import schemas
from api.errors import STATUS
from api.routing import Endpoint
from core.errors import (
    BadRequestError,
    FanfareError,
    InternalError,
    InvalidError,
    RateLimitedError,
    TokenExpiredError,
    TokenRevokedError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)

Json = dict[str, Any]
_REF = "#/components/schemas/{model}"
_HEADERS = {
    "Location": "Where the new thing is.",
    "Fanfare-Position": "Where the write was logged: `<stream>@<offset>/<epoch>`.",
    "Idempotent-Replay": "`true` where an earlier call with the same key had done it.",
    "ETag": "The version, for `If-Match` and `If-None-Match`.",
    "Retry-After": "Seconds to wait.",
}


def document(endpoints: Iterable[Endpoint], version: str) -> Json:
    """Describe the API."""
    listed = list(endpoints)
    models = _Models(listed)
    paths: dict[str, Json] = {}
    for endpoint in listed:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fanfare",
            "version": version,
            "description": "Events in order, never lost. See also the AsyncAPI document, "
            "`asyncapi.json`, for the socket.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api/v1"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(e.tag for e in listed)],
        "paths": paths,
        "components": {
            "schemas": models.definitions,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


class _Models:
    """The schemas of all models, and references to them."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        wanted: list[Any] = [(schemas.Problem, "serialization")]
        for endpoint in endpoints:
            wanted += [(model, "serialization") for model in endpoint.answers.values() if model]
            wanted += [(model, "validation") for model in (endpoint.body, endpoint.query) if model]
        self._refs, found = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REF)
        self.definitions: Json = found.get("$defs", {})

    def ref(self, model: type[BaseModel], mode: Any) -> Json:
        """Give a reference to a model's schema."""
        return dict(self._refs[model, mode])

    def parameters(self, query: type[BaseModel]) -> list[Json]:
        """Give a query model as parameters."""
        name = self.ref(query, "validation")["$ref"].rsplit("/", 1)[1]
        schema = self.definitions[name]
        return [
            {
                "name": field,
                "in": "query",
                "required": field in schema.get("required", []),
                "schema": _without_null(rule),
                "description": rule.get("description", ""),
            }
            for field, rule in schema["properties"].items()
        ]


def _without_null(rule: Json) -> Json:
    # In an address there is no null: leaving a parameter out is what means it.
    choices = [choice for choice in rule.get("anyOf", []) if choice != {"type": "null"}]
    kept = {name: value for name, value in rule.items() if name not in ("anyOf", "default")}
    if len(choices) == 1:
        return {**kept, **choices[0]}
    return {**kept, **({"default": rule["default"]} if rule.get("default") is not None else {})}


def _operation(endpoint: Endpoint, models: _Models) -> Json:
    summary, _, rest = inspect.cleandoc(endpoint.view.__doc__ or "").partition("\n")
    operation: Json = {
        "operationId": endpoint.view.__name__,
        "summary": summary,
        "description": rest.strip(),
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint, models),
        "responses": _responses(endpoint, models),
    }
    operation["security"] = [] if endpoint.is_open else [{"bearer": []}]
    if endpoint.view.__name__ == "refresh":
        operation["security"] = [{"bearer": []}]
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": not endpoint.body_may_miss,
            "content": {"application/json": {"schema": models.ref(endpoint.body, "validation")}},
        }
    return operation


def _parameters(endpoint: Endpoint, models: _Models) -> list[Json]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    if endpoint.query is not None:
        found += models.parameters(endpoint.query)
    if endpoint.is_conditional:
        name = "If-None-Match" if endpoint.method == "GET" else "If-Match"
        found.append({"name": name, "in": "header", "schema": {"type": "string"}})
    return found


def _responses(endpoint: Endpoint, models: _Models) -> Json:
    responses = {
        str(status): _success(endpoint, status, model, models)
        for status, model in endpoint.answers.items()
    }
    if endpoint.is_conditional and endpoint.method == "GET":
        responses["304"] = {"description": "Not modified: you have it."}
    by_status: dict[int, list[type[FanfareError]]] = {}
    for error in dict.fromkeys([*_common(endpoint), *endpoint.refuses]):
        by_status.setdefault(STATUS[error.code], []).append(error)
    for status, errors in sorted(by_status.items()):
        responses[str(status)] = _failure(status, errors, models)
    return responses


def _success(
    endpoint: Endpoint, status: int, model: type[BaseModel] | None, models: _Models
) -> Json:
    response: Json = {"description": HTTPStatus(status).phrase}
    names = list(endpoint.answer_headers)
    if endpoint.is_conditional and status != 204:
        names.append("ETag")
    if names:
        response["headers"] = {name: _header(name) for name in names}
    if endpoint.media:
        response["content"] = {endpoint.media: {"schema": {"type": "string"}}}
    if model is not None:
        response["content"] = {"application/json": {"schema": models.ref(model, "serialization")}}
    return response


def _header(name: str) -> Json:
    return {"description": _HEADERS[name], "schema": {"type": "string"}}


def _common(endpoint: Endpoint) -> list[type[FanfareError]]:
    # A body that is not even wanted is still measured.
    errors: list[type[FanfareError]] = [InternalError, UnavailableError, TooLargeError]
    if not endpoint.is_open:
        errors += [UnauthorizedError, TokenExpiredError, TokenRevokedError]
    if endpoint.body is not None:
        errors += [BadRequestError, InvalidError]
    if endpoint.query is not None:
        errors += [InvalidError]
    if endpoint.limit is not None:
        errors.append(RateLimitedError)
    return errors


def _failure(status: int, errors: list[type[FanfareError]], models: _Models) -> Json:
    codes = [error.code for error in errors]
    lines = [f"- `{error.code}`: {(error.__doc__ or '').strip()}" for error in errors]
    response: Json = {
        "description": "\n".join(lines),
        "content": {
            "application/problem+json": {
                "schema": models.ref(schemas.Problem, "serialization"),
                "examples": {code: {"value": _example(status, code)} for code in codes},
            }
        },
    }
    if status in (429, 503):
        response["headers"] = {"Retry-After": _header("Retry-After")}
    return response


def _example(status: int, code: str) -> Json:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": "What happened, in a sentence.",
        "code": code,
        "request_id": "0192f3a0-5b1c-7c3e-9d2a-3f4b5c6d7e8f",
    }
