"""Registering, logging in, refreshing, sessions, tickets and passwords."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.people import (
    NOBODYS_ID,
    TIME,
    UUID7,
    done,
    goodbye,
    own_events,
    problem,
    walk,
)
from tests.support.client import PASSWORD, RestClient, registered, unique


def again(client: RestClient) -> RestClient:
    """Log the same person in once more, as from another device."""
    other = RestClient(client.url)
    done(other.login(client.user["username"]))
    return other


class TestRegister:
    def test_it_gives_a_user_and_a_session(self, shared_server):
        name = unique()
        client = RestClient(shared_server.url)
        response = client.register(name, display_name="  Ada Lovelace ")
        body = done(response, 201)

        user = body["user"]
        assert UUID7.fullmatch(user["id"])
        assert (user["username"], user["display_name"]) == (name, "Ada Lovelace")
        assert (user["is_admin"], user["disabled"]) == (False, False)
        assert TIME.fullmatch(user["created_at"])
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
        assert response.headers["Location"] == f"/api/v1/users/{user['id']}"
        assert done(client.get("/me")) == user
        assert PASSWORD not in response.text

    def test_names_are_the_same_in_any_case(self, shared_server):
        """Ada and ada would be taken for one another."""
        name = unique("Ada")
        client = registered(shared_server.url, name)
        other = RestClient(shared_server.url)

        assert client.user["username"] == client.user["display_name"] == name.lower()
        problem(other.register(name.upper()), 409, "conflict")
        problem(other.register(name.lower()), 409, "conflict")
        assert other.login(name.upper()).status_code == 200


class TestLogin:
    def test_each_login_is_a_session_of_its_own(self, newcomer):
        other = again(newcomer)
        other.post("/auth/logout")

        problem(other.get("/me"), 401, "token_revoked")
        assert newcomer.get("/me").status_code == 200

    def test_a_wrong_name_and_a_wrong_password_look_alike(self, ada):
        """Or anybody could find out who has an account."""
        client = RestClient(ada.url)
        answers = [
            problem(client.login(name, password), 401, "unauthorized")
            for name, password in [
                (ada.user["username"], "not the password"),
                (unique("nobody"), PASSWORD),
            ]
        ]
        for answer in answers:
            del answer["request_id"]

        assert answers[0] == answers[1]

    def test_a_disabled_user_looks_the_same_too(self, newcomer, admin):
        client = RestClient(newcomer.url)
        name = newcomer.user["username"]
        wrong = problem(client.login(name, "not the password"), 401, "unauthorized")
        admin.delete(f"/users/{newcomer.id}")

        assert problem(client.login(name), 401, "unauthorized")["detail"] == wrong["detail"]

    def test_a_401_says_what_is_wanted(self, shared_server):
        response = RestClient(shared_server.url).get("/me")

        problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
    def test_the_scheme_is_bearer(self, ada, scheme):
        header = {"Authorization": f"{scheme} {ada.access_token}".strip()}

        problem(ada.raw("GET", "/api/v1/me", headers=header), 401, "unauthorized")

    def test_the_scheme_is_taken_in_any_case(self, ada):
        header = {"Authorization": f"bEARER {ada.access_token}"}

        done(ada.raw("GET", "/api/v1/me", headers=header))


class TestRefresh:
    def test_it_gives_a_new_pair_of_the_same_session(self, newcomer):
        used = newcomer.refresh_token
        body = done(newcomer.refresh())

        assert body["refresh_token"] != used
        assert body["user"]["id"] == newcomer.id
        assert len(walk(newcomer, "/auth/sessions")) == 1

    def test_a_used_token_ends_its_session(self, newcomer):
        """Whoever comes second may be a thief, or be stolen from: both must log in again."""
        bystander = again(newcomer)
        thief = RestClient(newcomer.url)
        thief.refresh_token = newcomer.refresh_token
        done(newcomer.refresh())
        problem(thief.refresh(), 401, "token_revoked")

        problem(newcomer.get("/me"), 401, "token_revoked")
        problem(newcomer.refresh(), 401, "token_revoked")
        assert bystander.get("/me").status_code == 200

    def test_of_many_at_once_at_most_one_gets_a_pair(self, newcomer):
        """Rotation is one statement of the database, not a look and then a leap."""

        def refresh(_number):
            client = RestClient(newcomer.url)
            client.refresh_token = newcomer.refresh_token
            return client.refresh().status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = sorted(pool.map(refresh, range(8)))

        assert statuses == [200] + [401] * 7
        problem(newcomer.get("/me"), 401, "token_revoked")

    def test_it_ends_with_the_session(self, newcomer):
        newcomer.post("/auth/logout")

        problem(newcomer.refresh(), 401, "token_revoked")

    def test_a_disabled_user_gets_no_more(self, newcomer, admin):
        admin.delete(f"/users/{newcomer.id}")

        problem(newcomer.refresh(), 401, "token_revoked")


class TestLogout:
    def test_it_ends_this_session_everywhere(self, newcomer, connect):
        """On open sockets as well, which are told why."""
        socket, other = connect(newcomer), again(newcomer)
        response = newcomer.post("/auth/logout")

        assert (response.status_code, response.content) == (204, b"")
        problem(newcomer.get("/me"), 401, "token_revoked")
        bye = goodbye(socket)
        assert (bye["code"], bye["retry"]) == ("token_revoked", "never")
        assert other.get("/me").status_code == 200


class TestSessions:
    def test_they_are_listed_newest_first(self, newcomer):
        other = again(newcomer)
        sessions = walk(other, "/auth/sessions")

        assert [session["current"] for session in sessions] == [True, False]
        assert all(TIME.fullmatch(session["expires_at"]) for session in sessions)
        assert all("python" in session["user_agent"] for session in sessions)

    def test_they_come_in_pages(self, newcomer):
        for _ in range(4):
            again(newcomer)

        whole = walk(newcomer, "/auth/sessions")
        assert walk(newcomer, "/auth/sessions", limit=2) == whole
        assert len({session["id"] for session in whole}) == 5

    def test_one_can_be_ended_from_another(self, newcomer, connect):
        lost = again(newcomer)
        socket = connect(lost)
        (session,) = (s for s in walk(newcomer, "/auth/sessions") if not s["current"])
        assert newcomer.delete(f"/auth/sessions/{session['id']}").status_code == 204

        problem(lost.get("/me"), 401, "token_revoked")
        socket.wait_for_disconnect()
        assert len(walk(newcomer, "/auth/sessions")) == 1
        problem(newcomer.delete(f"/auth/sessions/{session['id']}"), 404, "not_found")

    def test_its_end_is_an_event(self, newcomer, shared_server):
        other = again(newcomer)
        (session,) = (s for s in walk(newcomer, "/auth/sessions") if not s["current"])
        newcomer.delete(f"/auth/sessions/{session['id']}")
        events = own_events(newcomer, shared_server)

        assert other.get("/me").status_code == 401
        assert [event["type"] for event in events] == ["session.revoked"]
        assert events[0]["data"] == {"session_id": session["id"], "reason": "revoked"}

    def test_somebody_elses_is_not_found(self, newcomer, ada):
        (session,) = walk(newcomer, "/auth/sessions")
        problem(ada.delete(f"/auth/sessions/{session['id']}"), 404, "not_found")

        assert newcomer.get("/me").status_code == 200

    @pytest.mark.parametrize("session", [NOBODYS_ID, "nonsense", "%00", "x" * 300])
    def test_what_is_none_is_not_found(self, ada, session):
        problem(ada.delete(f"/auth/sessions/{session}"), 404, "not_found")


class TestTicket:
    def test_it_stands_in_for_the_token_once(self, ada):
        body = done(ada.post("/auth/ticket"), 201)
        stranger = RestClient(ada.url)

        assert body["expires_in"] == 30
        assert done(stranger.get("/me", params={"ticket": body["ticket"]}))["id"] == ada.id
        problem(stranger.get("/me", params={"ticket": body["ticket"]}), 401, "unauthorized")

    def test_of_many_at_once_one_gets_in(self, ada):
        ticket = done(ada.post("/auth/ticket"), 201)["ticket"]

        def get_me(_number):
            return RestClient(ada.url).get("/me", params={"ticket": ticket}).status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = sorted(pool.map(get_me, range(8)))

        assert statuses == [200] + [401] * 7

    def test_it_reads_only(self, ada):
        """What stands in an address may be prefetched, or be in somebody's history."""
        ticket = done(ada.post("/auth/ticket"), 201)["ticket"]
        body = {"name": "Written by ticket", "kind": "public"}
        response = RestClient(ada.url).post("/channels", body, params={"ticket": ticket})

        problem(response, 401, "unauthorized")

    def test_it_ends_with_its_session(self, newcomer):
        ticket = done(newcomer.post("/auth/ticket"), 201)["ticket"]
        newcomer.post("/auth/logout")
        response = RestClient(newcomer.url).get("/me", params={"ticket": ticket})

        problem(response, 401, "token_revoked")

    @pytest.mark.parametrize("ticket", ["x", "%00", "é", "x" * 5000])
    def test_what_is_none_is_refused(self, shared_server, ticket):
        response = RestClient(shared_server.url).raw("GET", f"/api/v1/me?ticket={ticket}")

        problem(response, 401, "unauthorized")


class TestPassword:
    def test_changing_it_ends_every_other_session(self, newcomer, connect, shared_server):
        other = again(newcomer)
        socket = connect(other)
        body = {"current_password": PASSWORD, "new_password": "a different horse"}
        assert newcomer.put("/me/password", body).status_code == 204

        problem(other.get("/me"), 401, "token_revoked")
        problem(other.refresh(), 401, "token_revoked")
        socket.wait_for_disconnect()
        assert newcomer.get("/me").status_code == 200
        assert newcomer.refresh().status_code == 200
        assert [e["data"]["reason"] for e in own_events(newcomer, shared_server)] == [
            "password_changed"
        ]

    def test_the_new_one_is_good_and_the_old_is_not(self, newcomer):
        body = {"current_password": PASSWORD, "new_password": "a different horse"}
        newcomer.put("/me/password", body)
        client, name = RestClient(newcomer.url), newcomer.user["username"]

        problem(client.login(name), 401, "unauthorized")
        assert client.login(name, "a different horse").status_code == 200

    def test_a_wrong_present_one_changes_nothing(self, newcomer):
        other = again(newcomer)
        body = {"current_password": "a guess, no more", "new_password": "a different horse"}

        problem(newcomer.put("/me/password", body), 403, "forbidden")
        assert other.get("/me").status_code == 200
        assert again(newcomer).get("/me").status_code == 200
