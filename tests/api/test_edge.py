"""Around every answer: safety, other sites, health, counts, pages, and a log without secrets."""

import re

import pytest

from cluster.postgres import Postgres, find_binaries
from tests.api.people import done, make_channel, post, problem
from tests.support import needs
from tests.support.client import RefusedError, RestClient, SocketClient, registered, unique
from tests.support.server import Server
from tests.support.wait import wait_until

OURS = "https://app.example.com"
THEIRS = "https://evil.example.com"


@pytest.fixture(scope="module")
def open_server(tmp_path_factory):
    """A server that another site's pages may call, and that logs all it has to say."""
    folder = tmp_path_factory.mktemp("open")
    with Server(instance=folder, CORS_ORIGINS=OURS, LOG_LEVEL="debug") as server:
        yield server


class TestSafety:
    @pytest.mark.parametrize(
        "path", ["/", "/docs", "/healthz", "/api/v1/me", "/api/v1/openapi.json", "/nothing"]
    )
    def test_every_answer_has_its_headers(self, ada, path):
        headers = ada.raw("GET", path).headers
        policy = headers["Content-Security-Policy"]

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert re.search(r"script-src 'self'(;|$)", policy)
        assert "frame-ancestors 'none'" in policy

    def test_nothing_private_is_kept_on_the_way(self, ada):
        channel = make_channel(ada)

        assert "no-cache" in ada.get("/me").headers["Cache-Control"]
        assert "private" in ada.get(f"/channels/{channel['id']}/messages").headers["Cache-Control"]
        assert ada.post("/auth/ticket").headers["Cache-Control"] == "no-store"

    def test_no_cookie_is_set(self, ada):
        """Who calls is told by a token alone, so no other site can make a browser call."""
        assert "Set-Cookie" not in ada.get("/me").headers
        assert "Set-Cookie" not in ada.login(ada.user["username"]).headers


class TestOtherSites:
    def test_by_default_there_are_none(self, ada):
        response = ada.get("/me", headers={"Origin": OURS})

        assert not [name for name in response.headers if name.startswith("Access-Control")]

    def test_a_named_one_may_call(self, open_server):
        client = registered(open_server.url)
        ask = {
            "Origin": OURS,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization, content-type, if-match",
        }
        asked = client.raw("OPTIONS", "/api/v1/me", headers=ask)
        called = client.get("/me", headers={"Origin": OURS})
        exposed = called.headers["Access-Control-Expose-Headers"]

        assert asked.ok
        assert asked.headers["Access-Control-Allow-Origin"] == OURS
        assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
        allowed = asked.headers["Access-Control-Allow-Headers"].lower()
        assert {"authorization", "content-type", "if-match"} <= set(re.split(r",\s*", allowed))
        assert called.headers["Access-Control-Allow-Origin"] == OURS
        assert {"ETag", "Fanfare-Position", "Location", "Retry-After"} <= set(
            re.split(r",\s*", exposed)
        )

    def test_it_can_read_errors_as_well(self, open_server):
        response = RestClient(open_server.url).get("/me", headers={"Origin": OURS})

        problem(response, 401, "unauthorized")
        assert response.headers["Access-Control-Allow-Origin"] == OURS

    @pytest.mark.parametrize(
        "origin", [THEIRS, "null", OURS + ".evil.example.com", "http://app.example.com"]
    )
    def test_any_other_may_not(self, open_server, origin):
        response = registered(open_server.url).get("/me", headers={"Origin": origin})

        assert "Access-Control-Allow-Origin" not in response.headers

    def test_no_site_gets_credentials(self, open_server):
        response = registered(open_server.url).get("/me", headers={"Origin": OURS})

        assert "Access-Control-Allow-Credentials" not in response.headers


class TestHealth:
    def test_it_is_alive_and_ready(self, ada):
        assert done(ada.raw("GET", "/healthz")) == {"status": "ok"}
        assert done(ada.raw("GET", "/readyz")) == {"status": "ok"}

    def test_without_its_database_it_is_alive_and_not_ready(self, tmp_path):
        """A restart would mend nothing, so liveness stays green; and it comes back by itself."""
        needs.require(find_binaries(), "no PostgreSQL on PATH nor as a wheel")
        with Postgres(fsync=False) as postgres:
            url = postgres.create_database()
            with Server(url, instance=tmp_path) as server:
                ada = registered(server.url)
                channel = make_channel(ada)
                postgres.stop()
                unready = ada.raw("GET", "/readyz")
                alive = ada.raw("GET", "/healthz")
                write = ada.post(f"/channels/{channel['id']}/messages", {"body": "lost?"})
                postgres.start()
                wait_until(lambda: ada.raw("GET", "/readyz").ok, deadline_s=30)
                message = post(ada, channel, "not lost")

                problem(unready, 503, "unavailable")
                assert int(unready.headers["Retry-After"]) >= 1
                assert done(alive) == {"status": "ok"}
                problem(write, 503, "unavailable")
                assert (message["body"], message["offset"]) == ("not lost", 3)

    def test_metrics_count(self, ada, connect):
        def read():
            response = ada.raw("GET", "/metrics")
            assert response.headers["Content-Type"].startswith("text/plain")
            lines = [line for line in response.text.splitlines() if not line.startswith("#")]
            return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

        before = read()
        channel = make_channel(ada)
        socket = connect(ada)
        socket.ok("subscribe", {"stream": f"channel:{channel['id']}"})
        post(ada, channel)
        socket.wait_for_event("message.created")
        after = read()

        def grew(name):
            return after[name] - before.get(name, 0)

        assert grew("fanfare_events_total") == 4
        assert grew("fanfare_deliveries_total") >= 1
        assert grew("fanfare_connections") == 1
        assert grew('fanfare_packets_total{event="subscribe",outcome="ok"}') == 1
        assert grew('fanfare_http_requests_total{method="POST",status="201"}') == 2

    def test_no_client_makes_up_a_series(self, ada):
        """A label is a series for ever: names that clients choose would fill the memory."""
        for _ in range(3):
            ada.raw(unique("X").upper().replace("-", ""), "/api/v1/me")
            ada.get(f"/{unique()}")
        text = ada.raw("GET", "/metrics").text

        assert set(re.findall(r'method="(\w+)"', text)) <= {
            *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
        }


class TestPages:
    @pytest.mark.parametrize("path", ["/docs", "/api/v1/docs"])
    def test_the_docs_load_all_they_need_from_here(self, ada, path):
        """Offline too: nothing is fetched from another host."""
        page = ada.raw("GET", path)
        assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        kinds = {name: ada.raw("GET", name).headers["Content-Type"] for name in assets}

        assert page.headers["Content-Type"].startswith("text/html")
        assert len(assets) >= 3
        assert all(name.startswith("/docs/") for name in assets)
        assert all(
            kind.startswith("text/css" if name.endswith(".css") else "text/javascript")
            for name, kind in kinds.items()
        )
        assert '"/api/v1/openapi.json"' in ada.raw("GET", "/docs/start.js").text

    def test_the_console_is_at_the_root(self, ada):
        page = ada.raw("GET", "/")

        assert page.status_code == 200
        assert page.headers["Content-Type"].startswith("text/html")
        assert "<script>" not in page.text


class TestTheLog:
    def test_it_holds_no_secret(self, open_server):
        """Whatever goes well or wrong: no password, token, ticket or payload is written down."""
        password, guess = unique("password"), unique("guess")
        body, data, search = unique("body"), unique("data"), unique("search")
        ada = registered(open_server.url, password=password)
        tokens = [ada.access_token, ada.refresh_token]
        ada.login(ada.user["username"], guess)
        ada.refresh()
        tokens += [ada.access_token, ada.refresh_token]
        ticket = done(ada.post("/auth/ticket"), 201)["ticket"]
        for _ in range(2):
            RestClient(ada.url).get("/me", params={"ticket": ticket})
        channel = make_channel(ada)
        path = f"/channels/{channel['id']}"
        post(ada, channel, body, data={"x": data}, key=unique("key"))
        ada.post(f"{path}/messages", {"body": 1, "data": data})
        ada.call("POST", f"{path}/messages", data=f'{{"{body}'.encode())
        ada.post(f"{path}/events", {"type": "a.b", "data": data})
        ada.get(f"{path}/messages", params={"q": search, "cursor": search})
        ada.put("/me/password", {"current_password": guess, "new_password": password + "2"})
        with SocketClient(ada.url, ada.access_token) as socket:
            socket.ok("message.create", {"channel": channel["id"], "body": body})
            socket.refusal("message.create", {"channel": channel["id"], "body": 1, "data": data})
            socket.refusal("auth.refresh", {"token": tokens[1]})
        with pytest.raises(RefusedError):
            SocketClient(ada.url, tokens[1]).connect()
        ada.post("/auth/logout")
        wait_until(lambda: "disconnected" in open_server.log)
        log = open_server.log
        secret = (open_server.instance / "secret_key").read_text().strip()

        words = [password, guess, ticket, body, data, search, secret, *tokens]
        assert "event='connected'" in log
        assert [word for word in words if str(word) in log] == []
        assert not re.search(r"eyJ[\w-]+\.[\w-]+\.|\$argon2", log)
