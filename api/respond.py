"""Responses: JSON, ETags and conditions, positions, pages."""

import hashlib
from typing import Any

from flask import Response, request

from api.cursors import name_listing
from api.parts import parts
from api.web import Answer
from core import json
from core.errors import PreconditionFailedError
from core.events import Event
from core.pages import Page, PageRequest


def ok(body: object, status: int = 200) -> Response:
    """Answer with JSON."""
    return Response(json.dumps(body), status, mimetype="application/json")


def empty(status: int = 204) -> Response:
    """Answer with nothing to say."""
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response


def created(body: object, location: str) -> Response:
    """Answer that something is new, and where it is."""
    response = ok(body, 201)
    response.headers["Location"] = location
    return response


def with_position(response: Response, event: Event | None) -> Response:
    """Add where in its stream the write was logged."""
    if event is not None:
        at = f"{event.stream}@{event.offset}/{event.epoch}"
        response.headers["Fanfare-Position"] = at
    return response


def with_version(response: Response, version: int) -> Response:
    """Add the ETag of a single thing; a GET whose client has it already is answered 304."""
    response.set_etag(f"v{version}")
    return _conditional(response)


def with_digest(response: Response) -> Response:
    """Add an ETag made from the body itself."""
    response.set_etag(hashlib.blake2b(response.get_data(), digest_size=12).hexdigest())
    return _conditional(response)


def _conditional(response: Response) -> Response:
    if request.method == "GET":
        response.make_conditional(request)
        response.headers["Cache-Control"] = "private, no-cache"
    return response


def expect(version: int) -> None:
    """Hold the request to its `If-Match`.

    Raises:
        PreconditionFailedError: the thing is at another version.
    """
    if request.if_match and not request.if_match.contains(f"v{version}"):
        raise PreconditionFailedError("This was changed meanwhile: read it again.")


def page_request(query: Any) -> PageRequest:
    """Read which page is asked for.

    Raises:
        InvalidError: the cursor is not one of this list.
    """
    if query.cursor is None:
        return PageRequest(query.limit)
    return PageRequest(query.limit, parts().cursors.read(_listing(query), query.cursor))


def page(found: Page, query: Any) -> Response:
    """Answer with a page and the cursor of the next."""
    return with_digest(Response(page_body(found, query), mimetype="application/json"))


def page_body(found: Page, query: Any) -> bytes:
    """Render a page and the cursor of the next."""
    after = found.next_after
    cursor = None if after is None else parts().cursors.write(_listing(query), after)
    return json.dumps({"items": found.items, "next_cursor": cursor})


def name_page(owner: str, query: Any) -> str:
    """Name one page of a list of `owner`: where in it, by which filters, how long.

    By its address as well: a cursor is good only at the address that gave it.
    """
    return f"{owner} {request.path} {query.model_dump_json(exclude_defaults=True)}"


def is_first_page(query: Any) -> bool:
    """Tell whether it is the page that everybody asks for: from the start, and unfiltered."""
    return bool(query.model_fields_set <= {"limit", "sort"})


def tag_of(*told: str) -> str:
    """Make the ETag of what these texts tell apart from all else."""
    return hashlib.blake2b("\n".join(told).encode(), digest_size=12).hexdigest()


def has_tag(tag: str) -> bool:
    """Tell whether the client has what has this tag already."""
    return request.if_none_match.contains_weak(tag)


def not_modified(tag: str) -> Response:
    """Answer that the client has it already."""
    answer = Answer(status=304, headers=_headers(tag))
    del answer.headers["Content-Type"]
    return answer


def tagged(body: bytes, tag: str) -> Response:
    """Answer with JSON that has an ETag."""
    return Answer(body, mimetype="application/json", headers=_headers(tag))


def _headers(tag: str) -> dict[str, str]:
    return {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}


def _listing(query: Any) -> str:
    return name_listing(request.path, query.model_dump())
