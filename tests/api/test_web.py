"""What is left out of Flask changes no answer: it is compared with Flask as it comes."""

import io
from typing import Any

import pytest
from flask import Flask, Response
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request

import app
from api import routing, schemas, web
from api.web import Answer, Web
from core.errors import InvalidError

ID = "0192f3a0-5b1c-7c3e-9d2a-3f4b5c6d7e8f"


@pytest.fixture(scope="module")
def ours() -> Web:
    """The application with all its addresses, and nothing behind them."""
    made = Web("ours", static_folder=None)
    for api in app._APIS:
        made.register_blueprint(api.blueprint(), url_prefix="/api/v1")
    return made


def environ(path: str, method: str = "GET", **more: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "a=1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "bench:5000",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        **more,
    }


def found(make: Any, asked: dict[str, Any]) -> Any:
    """Give what an address is found to be, or how it is refused."""
    request: Any = Request(dict(asked))
    try:
        rule, values = make(request).match(return_rule=True)
    except HTTPException as error:
        # Where a redirect leads, and which methods there are, is told by headers.
        return type(error), sorted(error.get_headers(asked)), getattr(error, "new_url", "")
    return rule, values, request.host


paths = st.sampled_from(
    [
        *("/api/v1/me", "/api/v1/me/", "/api/v1/channels", f"/api/v1/channels/{ID}", "/api/v1"),
        *(f"/api/v1/channels/{ID}/messages", "//api/v1/me", "/api//v1/me", "/nothing", "/", ""),
        *("/api/v1/channels/\xc3\xa9/sync", "/api/v1/channels/\xff", "/api/v1/channels/a\x00b"),
        *("/api/v1/channels/" + "x" * 300, "/api/v1/channels/a b", "/api/v1/channels/a%2Fb"),
    ]
)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FOO", "get"])
more = st.fixed_dictionaries(
    {},
    optional={
        "HTTP_HOST": st.sampled_from(
            ["a.b:80", "A.B", "é", "a b", "", "[::1]:5", "x" * 300, "a..b", "127.0.0.1:9"]
        ),
        "HTTP_UPGRADE": st.just("websocket"),
        "HTTP_CONNECTION": st.sampled_from(["upgrade", "keep-alive, Upgrade"]),
        "wsgi.url_scheme": st.just("https"),
        "SCRIPT_NAME": st.just("/base"),
    },
)


class TestAddresses:
    @given(path=paths, method=methods, more=more)
    def test_are_found_as_flask_finds_them(self, ours, path, method, more):
        """The first time, and from memory; refusals and redirects too."""
        asked = environ(path, method, **more)
        wanted = found(lambda request: Flask.create_url_adapter(ours, request), asked)

        assert found(ours.create_url_adapter, asked) == wanted
        assert found(ours.create_url_adapter, asked) == wanted

    @pytest.mark.parametrize(
        ("path", "more"),
        [
            ("/api/v1/me", {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"}),
            ("/api/v1/channels/\xc3\xa9", {}),
            ("/api/v1/channels/\xff", {}),
            ("/api//v1/me", {"HTTP_HOST": "A.B:80"}),
            ("/api/v1/me", {"HTTP_HOST": "a..b"}),
            ("/api/v1/me", {"HTTP_HOST": "x" * 64}),
            ("/api/v1/me", {"SCRIPT_NAME": "/base"}),
        ],
    )
    def test_that_are_odd_are_found_so_too(self, ours, path, more):
        asked = environ(path, **more)
        wanted = found(lambda request: Flask.create_url_adapter(ours, request), asked)

        assert found(ours.create_url_adapter, asked) == wanted

    def test_of_one_request_are_not_those_of_the_next(self, ours):
        """A view may do with the parts of its address what it likes."""
        asked = environ(f"/api/v1/channels/{ID}")
        for _ in range(2):
            _, values, _ = found(ours.create_url_adapter, asked)
            assert values == {"channel": ID}
            values.clear()

    def test_that_are_remembered_are_bounded(self, ours):
        for number in range(web._MOST_FOUND + 10):
            found(ours.create_url_adapter, environ(f"/api/v1/channels/{number}"))
            found(ours.create_url_adapter, environ(f"/nothing/{number}"))
        found(ours.create_url_adapter, environ("/api/v1/channels/" + "x" * 300))

        assert 0 < len(ours._found) <= web._MOST_FOUND
        assert max(len(path) for _, path in ours._found) <= web._LONGEST


class TestAnswers:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize(
        ("status", "body"), [(200, b'{"a":1}'), (201, b'{"a":1}'), (200, b""), (304, None)]
    )
    def test_are_sent_as_flask_sends_them(self, method, status, body):
        def sent(kind: type[Response]) -> Any:
            told: list[Any] = []
            headers = {"ETag": '"a"', "Cache-Control": "no-cache"}
            response = kind(body, status, headers=headers, mimetype="application/json")
            if status == 304:
                del response.headers["Content-Type"]

            def start(*head: Any) -> Any:
                told.extend(head)

            parts = response(environ("/", method), start)
            return told[0], sorted(told[1]), b"".join(parts)

        assert sent(Answer) == sent(Response)


class TestQueries:
    @given(
        text=st.lists(
            st.sampled_from(["limit=5", "limit=0", "q=a+b", "q=%C3%A9", "sort=-offset", "x=1", ""])
            | st.sampled_from(
                ["limit=5&limit=6", "before=9", "ticket=t", "cursor=c", "q=" + "a" * 99]
            )
        ).map("&".join)
    )
    def test_are_read_as_if_for_the_first_time(self, ours, text):
        """Also what was refused: it is judged again."""

        def read(how: Any) -> Any:
            with ours.test_request_context(environ_overrides={"QUERY_STRING": text}):
                try:
                    return how()
                except InvalidError as error:
                    return error.faults

        first = read(lambda: routing._read_query(schemas.MessageQuery, text))

        assert read(lambda: routing._query(schemas.MessageQuery)) == first
        assert read(lambda: routing._query(schemas.MessageQuery)) == first

    def test_leave_out_a_ticket(self, ours):
        """It says who calls, not what is asked for."""
        with ours.test_request_context("/?limit=5&ticket=secret"):
            assert routing._query(schemas.MessageQuery) == schemas.MessageQuery(limit=5)

    def test_of_one_call_are_not_those_of_another(self, ours):
        """The same words may mean two things."""
        with ours.test_request_context("/?limit=5"):
            kinds = [type(routing._query(m)) for m in (schemas.MessageQuery, schemas.UserQuery)]

        assert kinds == [schemas.MessageQuery, schemas.UserQuery]

    def test_that_were_read_can_not_be_changed(self, ours):
        with ours.test_request_context("/?limit=5"):
            query: Any = routing._query(schemas.MessageQuery)
        with pytest.raises(ValueError, match="frozen"):
            query.limit = 6
