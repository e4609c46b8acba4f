"""Errors that nobody wrote a line for: the framework's, and those that should never happen."""

import pytest

import app
import config
from core.errors import RateLimitedError, UnavailableError
from tests.api.people import make_channel, problem
from tests.support.client import RestClient


@pytest.fixture
def fanfare(tmp_path):
    """A whole node in this process, with nobody listening, to plant a broken view into."""
    environment = {"ENVIRONMENT": "testing", "INSTANCE_PATH": str(tmp_path)}
    made = app.create_app(config.load(environment, dotenv=None))
    yield made
    made.db.close()


def answer_to(fanfare, error):
    """Plant a view that raises, and call it."""

    def broken():
        raise error

    fanfare.flask.add_url_rule("/api/v1/broken", view_func=broken)
    return fanfare.flask.test_client().get("/api/v1/broken")


class TestTheFrameworks:
    @pytest.mark.parametrize(
        "path",
        [
            *("/nothing", "/api", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v2/me"),
            *("/api/v1/me/", "/static/web/nothing.js", "/docs/ui/nothing.js", "/metrics/x"),
            "/static/client/nothing.js",
            *("/%00", "/%FF"),
        ],
    )
    def test_404(self, ada, path):
        problem(ada.raw("GET", path), 404, "not_found")

    @pytest.mark.parametrize(
        "path",
        ["/static/web/%2e%2e/config.py", "/static/client/..%2fLICENSE", "/docs/ui/..%2f..%2fx"],
    )
    def test_no_path_leads_out_of_a_folder(self, ada, path):
        problem(ada.raw("GET", path), 404, "not_found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", "/api/v1/me", {"GET", "HEAD", "OPTIONS", "PATCH"}),
            ("GET", "/api/v1/auth/login", {"OPTIONS", "POST"}),
            ("DELETE", "/api/v1/channels", {"GET", "HEAD", "OPTIONS", "POST"}),
            ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
            ("BREW", "/api/v1/me", {"GET", "HEAD", "OPTIONS", "PATCH"}),
        ],
    )
    def test_405_tells_what_is_allowed(self, ada, method, path, allowed):
        response = ada.raw(method, path)

        problem(response, 405, "bad_request")
        assert set(response.headers["Allow"].split(", ")) == allowed

    def test_400(self, ada):
        response = ada.call("POST", "/channels", data=b"{", headers={"Content-Type": "text/plain"})

        problem(response, 400, "bad_request")

    def test_413(self, ada):
        response = ada.call("POST", "/channels", data=b'"' + b"x" * 1_048_576)

        problem(response, 413, "too_large")

    def test_a_head_has_no_body(self, ada):
        for path, status in (("/me", 200), ("/nothing", 404)):
            response = ada.call("HEAD", path)
            assert (response.status_code, response.content) == (status, b"")


class TestTheUnexpected:
    @pytest.mark.parametrize(
        "error",
        [
            *(RuntimeError("the secret of the house"), KeyError("x"), RecursionError()),
            *(MemoryError(), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no surrogates")),
        ],
    )
    def test_it_tells_nothing_but_where_to_look(self, fanfare, error):
        response = answer_to(fanfare, error)

        assert response.status_code == 500
        assert response.content_type == "application/problem+json"
        told = response.json
        assert (told["code"], told["status"]) == ("internal", 500)
        assert told["request_id"] == response.headers["X-Request-Id"]
        assert "secret" not in response.text
        assert response.headers["X-Content-Type-Options"] == "nosniff"

    def test_a_part_that_is_away_says_when_to_come_back(self, fanfare):
        response = answer_to(fanfare, UnavailableError("Away."))

        assert (response.status_code, response.json["code"]) == (503, "unavailable")
        assert int(response.headers["Retry-After"]) >= 1

    def test_waiting_is_told_in_whole_seconds(self, fanfare):
        """Rounded up: who comes back as told must not be too early."""
        response = answer_to(fanfare, RateLimitedError("Slower.", 1.2))

        assert (response.status_code, response.headers["Retry-After"]) == (429, "2")

    def test_a_broken_statement_is_logged_without_its_values(self, fanfare):
        """They may be anything: what somebody wrote, or the hash of a password."""
        assert fanfare.db.engine.hide_parameters


class TestRequestIds:
    def test_each_request_has_one(self, ada):
        made = {ada.get("/me").headers["X-Request-Id"] for _ in range(3)}

        assert len(made) == 3

    def test_a_stranger_learns_nothing_of_the_schema(self, ada):
        """Who may come in is asked before what was sent is read."""
        client = RestClient(ada.url)
        channel = make_channel(ada)

        for path in ("/channels", f"/channels/{channel['id']}/messages", "/notifications"):
            problem(client.call("POST", path, data=b"{"), 401, "unauthorized")
            problem(client.post(path, {"unknown": 1}), 401, "unauthorized")
