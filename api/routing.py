"""Endpoints: each declares what it takes, gives and refuses, once; that validates and documents.

A view gets its caller and its validated query and body as arguments, by the names `caller`,
`query` and `body`, and the parts of its path.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from flask import Blueprint, Response, request
from pydantic import BaseModel
from werkzeug.exceptions import RequestEntityTooLarge

from api.auth import address, get_caller
from api.parts import parts
from core import json
from core.errors import BadRequestError, FanfareError, NotFoundError
from core.validation import check

View = Callable[..., Response]
_MAX_PATH_PART = 100
_LONGEST_QUERY = 100


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of the API, as it is declared."""

    method: str
    path: str
    view: View
    answers: dict[int, type[BaseModel] | None]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_may_miss: bool = False
    refuses: Sequence[type[FanfareError]] = ()
    is_open: bool = False
    # Thousands of clients call at the same moment, after one event or the end of a node.
    may_storm: bool = False
    limit: str | None = None
    answer_headers: Sequence[str] = ()
    is_conditional: bool = False
    media: str = ""  # of an answer that is no JSON
    tag: str = ""
    example: Any = None


@dataclass
class Api:
    """A blueprint, and the endpoints declared on it."""

    tag: str
    endpoints: list[Endpoint] = field(default_factory=list)

    def route(
        self, method: str, path: str, answers: dict[int, type[BaseModel] | None], **more: Any
    ) -> Callable[[View], View]:
        """Declare an endpoint. `more` are the fields of Endpoint."""

        def declare(view: View) -> View:
            self.endpoints.append(Endpoint(method, path, view, answers, tag=self.tag, **more))
            return view

        return declare

    def blueprint(self) -> Blueprint:
        """Make the Flask blueprint."""
        blueprint = Blueprint(self.tag, __name__)
        for endpoint in self.endpoints:
            blueprint.add_url_rule(
                endpoint.path.replace("{", "<").replace("}", ">"),
                endpoint=endpoint.view.__name__,
                view_func=_handler(endpoint),
                methods=[endpoint.method],
            )
        return blueprint


def _handler(endpoint: Endpoint) -> View:
    @functools.wraps(endpoint.view)
    def handle(**values: Any) -> Response:
        # First who, then what: a stranger learns nothing of the schema, nor makes us parse.
        _check_path(values)
        if not endpoint.is_open:
            values["caller"] = get_caller(with_others=endpoint.may_storm)
        standing = _take_turn(endpoint, values)
        if endpoint.query is not None:
            values["query"] = _query(endpoint.query)
        if endpoint.body is not None:
            values["body"] = check(endpoint.body, _body(endpoint.body_may_miss))
        response = endpoint.view(**values)
        if standing is not None:
            response.headers["RateLimit-Limit"] = str(standing.limit)
            response.headers["RateLimit-Remaining"] = str(standing.remaining)
            response.headers["RateLimit-Reset"] = str(standing.reset_s)
        return response

    return handle


def _check_path(values: dict[str, str]) -> None:
    # No id or slug is like this, and PostgreSQL would choke on a NUL.
    if any("\x00" in value or len(value) > _MAX_PATH_PART for value in values.values()):
        raise NotFoundError("There is no such thing.")


def _take_turn(endpoint: Endpoint, values: dict[str, Any]) -> Any:
    if endpoint.limit is None:
        return None
    who = address() if endpoint.is_open else values["caller"].user_id
    return parts().limits.take(endpoint.limit, who)


def _query(model: type[BaseModel]) -> BaseModel:
    text = request.environ.get("QUERY_STRING", "")
    # Clients ask for the same again and again. A ticket is good for once, a cursor for one client.
    if len(text) > _LONGEST_QUERY or "ticket" in text or "cursor" in text:
        return _read_query(model, text)
    return _known_query(model, text)


def _read_query(model: type[BaseModel], _text: str) -> BaseModel:
    # Of this very text: Flask has it as the request's own.
    return check(model, {name: it for name, it in request.args.items() if name != "ticket"})


# Nobody changes a query once it is read.
_known_query = lru_cache(maxsize=1024)(_read_query)


def _body(may_miss: bool) -> Any:
    try:
        text = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise
    except OSError as error:
        raise BadRequestError("The body broke off.") from error
    _check_length(len(text))
    if not text and may_miss:
        return {}
    try:
        return json.loads(text)
    except json.JsonError as error:
        raise BadRequestError(f"The body is not JSON: {error}.") from None


def _check_length(length: int) -> None:
    announced = request.content_length
    if announced is not None and length < announced:
        raise BadRequestError("The body broke off.")
    if announced is None and length >= (request.max_content_length or length + 1):
        # Read to the limit, and cut there in silence.
        raise RequestEntityTooLarge


def changes(body: BaseModel) -> dict[str, Any]:
    """Give the fields that the client did send."""
    return body.model_dump(exclude_unset=True)
