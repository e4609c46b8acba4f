"""Flask and its responses, without what every request would pay for and none of ours needs.

What is left out is looked for at each request by the frameworks: coroutines among the functions,
subdomains, names of hosts in other alphabets, addresses to correct, a view that was found for the
same address a moment ago. Where a request is not plain they do it as ever.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Request, Response
from werkzeug.routing import MapAdapter
from werkzeug.wsgi import get_host

_HOST = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*(?::[0-9]{1,5})?")
_MOST_FOUND = 4096
_LONGEST = 200


class Web(Flask):
    """The application. It has no coroutines and no subdomains, and any host will do."""

    def __init__(self, *names: Any, **more: Any) -> None:
        super().__init__(*names, **more)
        self._found: dict[tuple[str, str], Any] = {}

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Give a function as it is."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Prepare to find the view of a request."""
        if request is None or not is_plain(request.environ):
            return super().create_url_adapter(request)
        environ = request.environ
        request.host = get_host(environ)
        return _Finder(
            self._found,
            self.url_map,
            request.host.lower(),
            "/",
            "",
            environ["wsgi.url_scheme"],
            environ["PATH_INFO"],
            environ["REQUEST_METHOD"],
            environ.get("QUERY_STRING", ""),
        )


def is_plain(environ: dict[str, Any]) -> bool:
    """Tell whether a request is for a usual host and address, and stays with HTTP."""
    return (
        "HTTP_UPGRADE" not in environ
        and environ["PATH_INFO"].isascii()
        and environ.get("QUERY_STRING", "").isascii()
        and not environ["SCRIPT_NAME"]
        and _HOST.fullmatch(environ.get("HTTP_HOST", "")) is not None
    )


class _Finder(MapAdapter):
    """Finds the view of a request, and remembers what it found."""

    def __init__(self, found: dict[tuple[str, str], Any], *request: Any) -> None:
        super().__init__(*request)
        self._found = found

    def match(self, *asked: Any, **more: Any) -> Any:
        """Give the rule of a request, and what its address names."""
        if asked or more != {"return_rule": True}:
            return super().match(*asked, **more)
        key = (self.default_method, self.path_info)
        known = self._found.get(key)
        if known is None:
            known = super().match(return_rule=True)
            self._remember(key, known)
        rule, values = known
        return rule, dict(values)

    def _remember(self, key: tuple[str, str], known: Any) -> None:
        if len(self.path_info) > _LONGEST:
            return
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        self._found[key] = known


class Answer(Response):
    """A response that is given whole, as bytes or as nothing: its headers are right as they are."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        start_response(self.status, self.headers.to_wsgi_list())
        body: list[bytes] = self.response  # type: ignore[assignment]
        return [] if environ["REQUEST_METHOD"] == "HEAD" else body
