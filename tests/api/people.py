"""People at a running server and what they do there, for the tests of its edges."""

import re
from typing import Any

from tests.support.client import RestClient, SocketClient, registered
from tests.support.server import Server

JSON = dict[str, Any]
NOBODYS_ID = "0192f3a0-5b1c-7c3e-9d2a-3f4b5c6d7e8f"
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
POSITION = re.compile(r"((?:channel|user):[0-9a-f-]{36})@(\d+)/([0-9a-f]{8})")


def make_admin(server: Server) -> RestClient:
    """Register somebody, and make an administrator of them as one does: from the command line."""
    client = registered(server.url)
    done = server.run("create-admin", client.user["username"])
    assert done.returncode == 0, done.stderr
    client.user = client.get("/me").json()
    return client


def make_channel(owner: RestClient, kind: str = "public", **more: Any) -> JSON:
    """Make a channel; `members` may be clients."""
    members = [getattr(member, "id", member) for member in more.pop("members", [])]
    body = {"name": "A channel", "kind": kind, "members": members, **more}
    return done(owner.post("/channels", body), 201)


def post(author: RestClient, channel: JSON, body: str = "hello", **more: Any) -> JSON:
    """Post a message."""
    return done(author.post(f"/channels/{channel['id']}/messages", {"body": body, **more}), 201)


def done(response: Any, status: int = 200) -> JSON:
    """Return the body of a response that has this status."""
    assert response.status_code == status, f"{response.status_code}: {response.text}"
    assert response.headers["Content-Type"] == "application/json"
    body: JSON = response.json()
    return body


def problem(response: Any, status: int, code: str) -> JSON:
    """Return the body of a refusal, which has to be problem+json with this code."""
    assert response.status_code == status, f"{response.status_code}: {response.text}"
    assert response.headers["Content-Type"] == "application/problem+json"
    told: JSON = response.json()
    assert (told["code"], told["status"]) == (code, status)
    assert told.keys() >= {"type", "title", "status", "detail", "code", "request_id"}
    assert told["request_id"] == response.headers["X-Request-Id"]
    return told


def faults(response: Any) -> set[str]:
    """Return the names of the fields that a 422 finds fault with."""
    return {fault["field"] for fault in problem(response, 422, "invalid")["errors"]}


def position(response: Any) -> tuple[str, int, str]:
    """Return the stream, offset and epoch of the header Fanfare-Position."""
    found = POSITION.fullmatch(response.headers["Fanfare-Position"])
    assert found, response.headers["Fanfare-Position"]
    return found[1], int(found[2]), found[3]


def log_of(reader: RestClient, channel: JSON, after: int = 0) -> list[JSON]:
    """Return the events of a channel after an offset, all pages of them."""
    events: list[JSON] = []
    cursor: JSON = {"after": after}
    while cursor:
        page = done(reader.get(f"/channels/{channel['id']}/events", params=cursor))
        events += page["items"]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
    return events


def walk(client: RestClient, path: str, **query: Any) -> list[JSON]:
    """Return the items of a list, page by page, and hold the pages to their limit."""
    items: list[JSON] = []
    more: JSON = {}
    while True:
        page = done(client.get(path, params={**query, **more}))
        assert len(page["items"]) <= int(query.get("limit", 50))
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        more = {"cursor": page["next_cursor"]}


def own_events(client: RestClient, server: Server, after: int = 0) -> list[JSON]:
    """Return the events of somebody's own stream after an offset."""
    with SocketClient(server.url, client.access_token) as socket:
        position = {"offset": after, "epoch": socket.ready["position"]["epoch"]}
        ack = socket.ok("subscribe", {"stream": "user:me", "after": position, "limit": 1000})
    assert not ack["more"]
    events: list[JSON] = ack["events"]
    return events


def own_top(client: RestClient, server: Server) -> int:
    """Return the newest offset of somebody's own stream."""
    with SocketClient(server.url, client.access_token) as socket:
        return int(socket.ready["position"]["offset"])


def goodbye(socket: SocketClient) -> JSON:
    """Return what the server said before it closed the connection."""
    # The stock client may tell of the end before the last packet: each has its own thread.
    bye: JSON = socket.wait_for(lambda it: it.byes, what="bye")[0]
    socket.wait_for_disconnect()
    return bye
