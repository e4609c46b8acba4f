"""A snapshot and the events after it make a fresh snapshot: the test that proves the contract best.

Three people and an administrator do whatever they may, and much that they may not, through REST
and sockets mixed. What a client that looked long ago makes of the events since then has to be
what a client that looks now is given.
"""

from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.api.people import done, make_admin, make_channel, walk
from tests.support.client import RestClient, SocketClient, registered
from tests.support.wait import wait_until

JSON = dict[str, Any]
EXAMPLES = {"sqlite": 25, "postgres": 12}
STEPS = 30
# What a refused call may answer; anything else is a fault of its own.
REFUSALS = {403: "forbidden", 404: "not_found", 409: "conflict", 422: "invalid"}


class Person:
    """Somebody with both doors open."""

    def __init__(self, rest: RestClient) -> None:
        self.rest = rest
        self.id = rest.id
        self.socket = SocketClient(rest.url, rest.access_token).connect()

    def call(self, method: str, path: str, body: Any = None) -> JSON | None:
        """Call by REST; give the answer, or None for a refusal."""
        response = self.rest.call(method, path, body)
        if response.ok:
            return response.json() if response.content else {}
        assert response.json()["code"] == REFUSALS.get(response.status_code), response.text
        return None

    def send(self, packet: str, argument: JSON) -> JSON | None:
        """Call by socket; give the answer, or None for a refusal."""
        ack = self.patient(packet, argument)
        if ack["ok"]:
            return ack
        assert ack["error"]["code"] in REFUSALS.values(), ack
        return None

    def patient(self, packet: str, argument: JSON) -> JSON:
        """Send a packet again while the socket is too fast for its limit."""

        def ask() -> JSON | None:
            ack = self.socket.call(packet, argument, timeout_s=30)
            limited = not ack["ok"] and ack["error"]["code"] == "rate_limited"
            return None if limited else ack

        answer = wait_until(ask, deadline_s=60, every_s=0.05, what="a turn")
        assert answer is not None
        return answer

    def events_after(self, stream: str, position: JSON) -> list[JSON]:
        """Give what a stream has had since a position, in pages, as a client resumes."""
        events: list[JSON] = []
        while True:
            ack = self.patient("subscribe", {"stream": stream, "after": position, "limit": 7})
            assert ack["ok"], ack
            assert ack["reset"] is None
            events += ack["events"]
            position = ack["position"]
            if not ack["more"]:
                break
        self.patient("unsubscribe", {"stream": stream})
        return events

    def own_position(self) -> JSON:
        """Tell where one's own stream stands."""
        position: JSON = self.patient("subscribe", {"stream": "user:me"})["position"]
        return position


class View:
    """What a client knows of one channel and of its user's inbox: a snapshot, kept up to date."""

    def __init__(self, person: Person, channel_id: str) -> None:
        self.person = person
        self.channel_id = channel_id
        self.own_position = person.own_position()
        response = person.rest.get(f"/channels/{channel_id}/sync", params={"messages": 200})
        self.sees = response.status_code == 200
        # What a snapshot held that was taken while older events were still to be applied.
        self.known_read = 0
        self.inbox = {item["id"]: item for item in walk(person.rest, "/notifications", limit=200)}
        if self.sees:
            self._take(done(response))

    def _take(self, sync: JSON) -> None:
        self.position: JSON = sync["position"]
        self.channel = sync["channel"]
        self.members = {member["user_id"]: member for member in sync["members"]}
        self.messages = {message["id"]: message for message in sync["messages"]}
        self.read_offset = sync["read_offset"]
        self.told = {
            "membership": sync["membership"],
            "member_count": sync["member_count"],
            "unread": sync["unread"],
        }

    def catch_up(self) -> None:
        """Apply everything that both streams have had since, as a client would."""
        for event in self.person.events_after("user:me", self.own_position):
            self.own_position = {**self.own_position, "offset": event["offset"]}
            self._apply_own(event)
        if self.sees:
            for event in self.person.events_after(f"channel:{self.channel_id}", self.position):
                assert event["offset"] == self.position["offset"] + 1
                self.position = {**self.position, "offset": event["offset"]}
                self._apply(event)

    def _apply(self, event: JSON) -> None:
        kind, data = event["type"], event["data"]
        if kind in ("channel.created", "channel.updated"):
            self.channel = data
        elif kind in ("member.joined", "member.updated"):
            self.members[data["user_id"]] = data
        elif kind == "member.left":
            del self.members[data["user_id"]]
        elif kind in ("message.created", "message.updated", "message.deleted"):
            self.messages[data["id"]] = data

    def _apply_own(self, event: JSON) -> None:
        kind, data = event["type"], event["data"]
        if kind in ("notification.created", "notification.updated"):
            self.inbox[data["id"]] = data
        elif kind == "notification.deleted":
            del self.inbox[data["id"]]
        elif data.get("channel_id") == self.channel_id:
            self._apply_own_of_channel(kind, data)
        elif data.get("id") == self.channel_id and kind == "channel.deleted":
            self.sees = False

    def _apply_own_of_channel(self, kind: str, data: JSON) -> None:
        if kind == "read.moved":
            if data["offset"] > self.known_read:
                assert not self.sees or data["offset"] > self.read_offset
                self.read_offset = data["offset"]
        elif kind == "member.left":
            self.sees = self.sees and self.channel["kind"] == "public"
        elif kind == "member.joined" and not self.sees:
            # A channel shows up: a client takes its snapshot.
            sync = self.person.rest.get(f"/channels/{self.channel_id}/sync?messages=200")
            if sync.status_code == 200:
                self.sees = True
                self._take(done(sync))
                self.known_read = self.read_offset

    def state(self) -> JSON:
        """Give all of it in a form that can be compared."""
        inbox = sorted(self.inbox.values(), key=lambda item: item["id"])
        if not self.sees:
            return {"sees": False, "inbox": inbox}
        return {
            "sees": True,
            "inbox": inbox,
            "position": self.position,
            "channel": self.channel,
            "members": sorted(self.members.values(), key=lambda member: member["user_id"]),
            "messages": sorted(self.messages.values(), key=lambda message: message["offset"]),
            "read_offset": self.read_offset,
            "membership": self.members.get(self.person.id),
            "member_count": len(self.members),
            "unread": sum(
                message["author_id"] != self.person.id
                and message["deleted_at"] is None
                and message["offset"] > self.read_offset
                for message in self.messages.values()
            ),
        }

    def holds(self) -> bool:
        """Tell whether what the server counted for the snapshot is what is in it."""
        state = self.state()
        return not self.sees or all(state[name] == value for name, value in self.told.items())


people = st.integers(0, 2)
doors = st.sampled_from(["rest", "socket"])
picks = st.integers(0, 1000)
roles = st.sampled_from(["owner", "moderator", "member", "guest"])
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1)


class Life(RuleBasedStateMachine):
    """What may happen in a channel and around it. `cast` is set by the test."""

    cast: ClassVar[list[Person]]
    admin: ClassVar[RestClient]

    @initialize(kind=st.sampled_from(["public", "private"]), members=st.sets(st.integers(1, 2)))
    def begin(self, kind, members):
        chosen = [self.cast[member] for member in members]
        self.channel = make_channel(self.cast[0].rest, kind, members=chosen)
        self.id = self.channel["id"]
        self.path = f"/channels/{self.id}"
        self.messages: list[str] = []
        self.keyed: list[tuple[int, JSON]] = []
        self.views = [View(person, self.id) for person in self.cast]

    @rule(
        who=people,
        door=doors,
        body=texts,
        data=st.none() | st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False)),
        pick=picks,
        reply=st.booleans(),
        key=st.booleans(),
    )
    def write(self, who, door, body, data, pick, reply, key):
        sent: JSON = {"body": body, "data": data}
        if reply and self.messages:
            sent["reply_to"] = self.messages[pick % len(self.messages)]
        if key:
            sent["key"] = f"{self.id} {len(self.keyed)}"
        self._write(who, sent, door)
        if key:
            self.keyed.append((who, sent))

    @rule(pick=picks, door=doors)
    def write_again(self, pick, door):
        if self.keyed:
            who, sent = self.keyed[pick % len(self.keyed)]
            self._write(who, sent, door)

    def _write(self, who, sent, door):
        person = self.cast[who]
        if door == "rest":
            message = person.call("POST", f"{self.path}/messages", sent)
        else:
            ack = person.send("message.create", {"channel": self.id, **sent})
            message = ack and ack["message"]
        if message and message["id"] not in self.messages:
            self.messages.append(message["id"])

    @rule(who=people, door=doors, pick=picks, body=texts)
    def edit(self, who, door, pick, body):
        if self.messages:
            message = self.messages[pick % len(self.messages)]
            if door == "rest":
                self.cast[who].call("PATCH", f"{self.path}/messages/{message}", {"body": body})
            else:
                packet = {"channel": self.id, "id": message, "body": body}
                self.cast[who].send("message.update", packet)

    @rule(who=people, door=doors, pick=picks)
    def delete(self, who, door, pick):
        if self.messages:
            message = self.messages[pick % len(self.messages)]
            if door == "rest":
                self.cast[who].call("DELETE", f"{self.path}/messages/{message}")
            else:
                self.cast[who].send("message.delete", {"channel": self.id, "id": message})

    @rule(who=people, whom=people, role=st.none() | roles)
    def put_member(self, who, whom, role):
        body = {} if role is None else {"role": role}
        self.cast[who].call("PUT", f"{self.path}/members/{self.cast[whom].id}", body)

    @rule(who=people, whom=people)
    def remove_member(self, who, whom):
        self.cast[who].call("DELETE", f"{self.path}/members/{self.cast[whom].id}")

    @rule(
        who=people,
        change=st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["One", "Two"]),
                "topic": st.sampled_from(["", "Topic"]),
            },
        ),
    )
    def change_channel(self, who, change):
        self.cast[who].call("PATCH", self.path, change)

    @rule(who=people, door=doors, offset=st.integers(0, 40))
    def read(self, who, door, offset):
        if door == "rest":
            self.cast[who].call("PUT", f"{self.path}/read", {"offset": offset})
        else:
            self.cast[who].send("read", {"channel": self.id, "offset": offset})

    @rule(who=people, door=doors)
    def publish(self, who, door):
        event = {"type": "order.paid", "data": {"order": 1}}
        if door == "rest":
            self.cast[who].call("POST", f"{self.path}/events", event)
        else:
            self.cast[who].send("publish", {"stream": f"channel:{self.id}", **event})

    @rule(
        whom=st.sets(people, min_size=1),
        collapse=st.none() | st.sampled_from("ab"),
        key=st.none() | st.sampled_from("xy"),
        title=st.sampled_from(["One", "Two"]),
    )
    def notify(self, whom, collapse, key, title):
        body = {"user_ids": [self.cast[who].id for who in whom], "kind": "a", "title": title}
        body |= {"collapse": collapse and f"{self.id} {collapse}"}
        response = self.admin.post("/notifications", {**body, "key": key and f"{self.id} {key}"})
        assert response.status_code in (202, 409), response.text

    @rule(who=people, pick=picks, deed=st.sampled_from(["read", "unread", "delete", "all", "some"]))
    def tend_inbox(self, who, pick, deed):
        person = self.cast[who]
        ids = sorted(self.views[who].inbox)[-5:]
        if deed == "all":
            person.call("POST", "/notifications/read", {})
        elif deed == "some":
            person.call("POST", "/notifications/read", {"ids": ids[:2]})
        elif ids and deed == "delete":
            person.call("DELETE", f"/notifications/{ids[pick % len(ids)]}")
        elif ids:
            body = {"read": deed == "read"}
            person.call("PATCH", f"/notifications/{ids[pick % len(ids)]}", body)

    @rule(who=people, anew=st.booleans())
    def look(self, who, anew):
        """Somebody's old view, brought up to date, is a new view."""
        view = self.views[who]
        view.catch_up()
        fresh = View(self.cast[who], self.id)

        assert view.state() == fresh.state()
        assert fresh.holds()
        if anew:
            self.views[who] = fresh

    @invariant()
    def alive(self):
        for person in self.cast:
            assert person.socket.connected, person.socket.byes

    def teardown(self):
        if hasattr(self, "views"):
            for who in range(3):
                self.look(who, False)


@pytest.fixture
def cast(shared_server):
    """Three people with sockets, and an administrator."""
    found = [Person(registered(shared_server.url)) for _ in range(3)]
    yield found, make_admin(shared_server)
    for person in found:
        person.socket.close()


class TestSnapshotPlusEvents:
    def test_is_a_fresh_snapshot(self, cast, backend):
        """Whatever happens, in whatever order, through whichever door."""
        found, admin = cast
        machine = type("Life", (Life,), {"cast": found, "admin": admin})

        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES[backend],
                stateful_step_count=STEPS,
                suppress_health_check=list(HealthCheck),
                # Making a failure smaller would take minutes: each try is a life at a server.
                phases=[Phase.reuse, Phase.generate],
            ),
        )
