"""How often one may call, on a server that minds. What is counted is in the server's memory."""

import pytest

from tests.api.people import done, log_of, make_channel, problem
from tests.support.client import PASSWORD, RestClient, registered, unique
from tests.support.server import Server

WRITES = 10  # of one user in ten seconds, by MAX_EVENTS_PER_S=1


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server with its limits on, and low."""
    folder = tmp_path_factory.mktemp("strict")
    with Server(instance=folder, RATE_LIMITS="on", MAX_EVENTS_PER_S=1) as server:
        yield server


@pytest.fixture(scope="module")
def people(strict):
    """Enough people for these tests, registered before the limit on that is reached."""
    return iter([registered(strict.url) for _ in range(8)])


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    """A server behind a proxy, which says where a caller is."""
    folder = tmp_path_factory.mktemp("behind")
    with Server(instance=folder, RATE_LIMITS="on", TRUSTED_PROXIES=1) as server:
        yield server


def wait_of(response) -> int:
    problem(response, 429, "rate_limited")
    return int(response.headers["Retry-After"])


class TestWrites:
    def test_the_headers_tell_what_is_left(self, people):
        writer = next(people)
        body = {"name": "x", "kind": "private"}
        responses = [writer.post("/channels", body) for _ in range(WRITES)]
        left = [int(response.headers["RateLimit-Remaining"]) for response in responses]

        assert [response.status_code for response in responses] == [201] * WRITES
        assert left == list(range(WRITES - 1, -1, -1))
        assert {response.headers["RateLimit-Limit"] for response in responses} == {str(WRITES)}
        assert all(1 <= int(r.headers["RateLimit-Reset"]) <= 11 for r in responses)
        assert 1 <= wait_of(writer.post("/channels", body)) <= 10
        assert len(done(writer.get("/channels?member=me"))["items"]) == WRITES

    def test_reading_is_free_and_others_are_too(self, people):
        writer, other = next(people), next(people)
        for _ in range(WRITES + 1):
            last = writer.post("/channels", {"name": "x", "kind": "private"})
        reads = [writer.get("/me").status_code for _ in range(WRITES * 2)]

        wait_of(last)
        assert set(reads) == {200}
        done(other.post("/channels", {"name": "x", "kind": "private"}), 201)

    def test_a_session_more_is_no_way_round(self, people):
        writer = next(people)
        for _ in range(WRITES):
            writer.post("/channels", {"name": "x", "kind": "private"})
        again = RestClient(writer.url)
        again.login(writer.user["username"])

        wait_of(again.post("/channels", {"name": "x", "kind": "private"}))

    def test_each_of_a_batch_counts(self, people):
        writer = next(people)
        channel = make_channel(writer)
        event = {"stream": f"channel:{channel['id']}", "type": "a.b", "data": 1}
        outcomes = done(writer.post("/publish", {"events": [event] * (WRITES + 2)}))["outcomes"]
        errors = [outcome["error"] for outcome in outcomes if not outcome["ok"]]

        assert [outcome["ok"] for outcome in outcomes] == [True] * (WRITES - 1) + [False] * 3
        assert {error["code"] for error in errors} == {"rate_limited"}
        assert all(error["retryable"] and error["retry_after"] > 0 for error in errors)
        assert len(log_of(writer, channel)) == 2 + WRITES - 1


class TestLogin:
    def test_guessing_is_slow(self, people):
        """Ten tries a minute; then even the right password waits. Other names are let be."""
        victim, other = next(people), next(people)
        guesser, name = RestClient(victim.url), victim.user["username"]
        statuses = [guesser.login(name, f"guess {n}").status_code for n in range(10)]

        assert statuses == [401] * 10
        assert 1 <= wait_of(guesser.login(name, PASSWORD)) <= 60
        assert guesser.login(other.user["username"]).status_code == 200

    def test_a_forwarded_address_is_not_believed(self, people):
        """No proxy was named in the settings, so the header is the client's own invention."""
        victim = next(people)
        statuses = []
        for number in range(11):
            body = {"username": victim.user["username"], "password": "a guess"}
            header = {"X-Forwarded-For": f"10.0.0.{number}"}
            response = victim.raw("POST", "/api/v1/auth/login", json=body, headers=header)
            statuses.append(response.status_code)

        assert statuses == [401] * 10 + [429]


class TestRegister:
    def test_making_accounts_is_slow(self, strict, people):
        client = RestClient(strict.url)
        for _ in range(21):
            response = client.register(unique(), "short")
            if response.status_code == 429:
                break

        assert 1 <= wait_of(response) <= 60


class TestIPv6:
    """Whoever has one address has all of its network: sixteen billion billion of them."""

    @pytest.mark.parametrize(
        ("form", "is_one"),
        [
            ("2001:db8:1:1::{:x}", True),
            ("2001:db8:1:2:{:x}::1", True),
            ("2001:db8:2:{:x}::1", False),
            ("::ffff:198.51.100.{}", False),
            ("203.0.113.{}", False),
        ],
    )
    def test_a_network_guesses_as_one(self, behind, form, is_one):
        wrong = {"username": unique(), "password": "wrong password"}
        with RestClient(behind.url) as client:
            answers = [
                client.raw(
                    "POST",
                    "/api/v1/auth/login",
                    json=wrong,
                    headers={"X-Forwarded-For": form.format(number)},
                )
                for number in range(1, 13)
            ]

        codes = [answer.status_code for answer in answers]
        assert codes == [401] * 10 + [429] * 2 if is_one else codes == [401] * 12
