"""Users, their logins and their channels, on any number of addresses of one installation."""

import time
from typing import Any, Self

import requests

from tests.conformance.wire import PASSWORD, Http, Json, Socket, code_of, unique


class Target:
    """What is under test: the addresses of one installation. A test may use any of them."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = [url.rstrip("/") for url in urls]
        self._http = [Http(url) for url in self.urls]

    def url(self, node: int) -> str:
        """Give an address; numbers beyond the last begin anew."""
        return self.urls[node % len(self.urls)]

    def http(self, node: int) -> Http:
        """Give what calls an address."""
        return self._http[node % len(self._http)]

    def register(self, name: str) -> "Login":
        """Make a user with a name like that, and log in."""
        body = {"username": unique(name), "password": PASSWORD}
        response = self.http(0).call("POST", "/auth/register", body)
        assert response.status_code == 201, response.text
        return Login(self, response.json())

    def close(self) -> None:
        """Close its connections."""
        for http in self._http:
            http.close()


class Login:
    """One session of one user. `node` says through which address a call goes."""

    def __init__(self, target: Target, body: Json) -> None:
        self.target = target
        self.user: Json = body["user"]
        self._keep(body)

    @property
    def id(self) -> str:
        """The user's id."""
        return str(self.user["id"])

    @property
    def stream(self) -> str:
        """The user's own stream."""
        return f"user:{self.id}"

    @property
    def token(self) -> str:
        """An access token with half its life before it, however long a run takes."""
        if time.monotonic() > self._fresh_until:
            self.refresh()
        return self._token

    def _keep(self, body: Json) -> None:
        self._token = str(body["access_token"])
        self.refresh_token = str(body["refresh_token"])
        self.expires_in = float(body["expires_in"])
        self._fresh_until = time.monotonic() + self.expires_in / 2

    def refresh(self) -> None:
        """Trade the refresh token for a new pair."""
        response = self.target.http(0).call("POST", "/auth/refresh", token=self.refresh_token)
        assert response.status_code == 200, response.text
        self._keep(response.json())

    def again(self) -> "Login":
        """Log in once more: another session of the same user."""
        body = {"username": self.user["username"], "password": PASSWORD}
        response = self.target.http(0).call("POST", "/auth/login", body)
        assert response.status_code == 200, response.text
        return Login(self.target, response.json())

    def call(
        self, method: str, path: str, body: Any = None, *, node: int = 0, **more: Any
    ) -> requests.Response:
        """Call and give the answer, whatever its status."""
        return self.target.http(node).call(method, path, body, token=self.token, **more)

    def ok(self, method: str, path: str, body: Any = None, *, node: int = 0, **more: Any) -> Any:
        """Call what has to succeed, and give the JSON of its answer."""
        response = self.call(method, path, body, node=node, **more)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text[:500]}"
        return response.json() if response.content else None

    def refusal(
        self, method: str, path: str, body: Any = None, *, node: int = 0, **more: Any
    ) -> tuple[int, str | None]:
        """Call what has to be refused, and give the status and the code."""
        response = self.call(method, path, body, node=node, **more)
        assert not response.ok, f"{method} {path} was accepted: {response.text[:500]}"
        return response.status_code, code_of(response)

    def socket(self, node: int = 0, **more: Any) -> Socket:
        """Connect."""
        return Socket(self.target.url(node), self.token, **more)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """End the session, if nothing has ended it before."""
        self.target.http(0).call("POST", "/auth/logout", token=self._token)


class Room:
    """A channel, and its owner."""

    def __init__(
        self, owner: Login, kind: str = "public", members: list[str] | None = None
    ) -> None:
        body: Json = {"name": "Conformance", "kind": kind}
        if members:
            body["members"] = members
        self.owner = owner
        self.channel: Json = owner.ok("POST", "/channels", body)
        self.id = str(self.channel["id"])
        self.path = f"/channels/{self.id}"
        self.stream = f"channel:{self.id}"

    def top(self) -> Json:
        """Where the log stands."""
        position: Json = self.owner.ok("GET", f"{self.path}/sync")["position"]
        return position

    def is_anybody_present(self) -> bool:
        """Tell whether anybody is shown here: who polls with `presence` is, while it waits."""
        return bool(self.owner.ok("GET", f"{self.path}/presence")["count"])

    def publish(self, count: int, first: int = 0, *, node: int = 0) -> list[Json]:
        """Publish events with numbers, one call each; give them as they were logged."""
        return [
            self.owner.ok("POST", f"{self.path}/events", numbered(number), node=node)["event"]
            for number in range(first, first + count)
        ]

    def publish_batch(self, events: list[Json]) -> Json:
        """Publish up to 100 events in one call; those that come too fast again, once allowed.

        Gives the last that was logged.
        """
        last: Json = {}
        while events:
            wanted = [{"stream": self.stream, **event} for event in events]
            outcomes = self.owner.ok("POST", "/publish", {"events": wanted})["outcomes"]
            last = ([outcome["event"] for outcome in outcomes if outcome["ok"]] or [last])[-1]
            pairs = zip(events, outcomes, strict=True)
            late = [(event, outcome["error"]) for event, outcome in pairs if not outcome["ok"]]
            assert {error["code"] for _, error in late} <= {"rate_limited"}, late
            events = [event for event, _ in late]
            time.sleep(max([error["retry_after"] for _, error in late], default=0))
        return last

    def log(self, after: int = 0) -> list[Json]:
        """Read the whole log after an offset, page by page."""
        found: list[Json] = []
        while True:
            page = self.owner.ok("GET", f"{self.path}/events?after={after}&limit=1000")
            found += page["items"]
            if not page["more"]:
                return found
            after = page["position"]["offset"]


def numbered(number: int, **more: Any) -> Json:
    """Give an event to publish."""
    return {"type": "test.number", "data": {"number": number}, **more}


def offsets(events: list[Json]) -> list[int]:
    """Give their offsets."""
    return [event["offset"] for event in events]


def numbers(events: list[Json]) -> list[int]:
    """Give the numbers of those that `numbered` made."""
    return [event["data"]["number"] for event in events if event["type"] == "test.number"]


def keys(events: list[Json]) -> list[str]:
    """Give their publishers' keys, without those that have none."""
    return [event["key"] for event in events if event["key"] is not None]
