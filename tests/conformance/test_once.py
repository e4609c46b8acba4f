"""Promise 5, once: a publish with a key takes effect once, through whichever door it is retried."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance.people import Room, keys, numbered
from tests.conformance.wire import unique


def by_rest(login, room, key, number):
    body = numbered(number, key=key)
    response = login.call("POST", f"{room.path}/events", body, node=1)
    if not response.ok:
        return response.json()["code"]
    replayed = response.headers.get("Idempotent-Replay") == "true"
    assert response.status_code == (200 if replayed else 201)
    return response.json()["event"]["offset"], replayed


def by_batch(login, room, key, number):
    event = {"stream": room.stream, **numbered(number, key=key)}
    (outcome,) = login.ok("POST", "/publish", {"events": [event]})["outcomes"]
    if not outcome["ok"]:
        return outcome["error"]["code"]
    return outcome["event"]["offset"], outcome["replayed"]


def by_socket(login, room, key, number):
    with login.socket() as socket:
        ack = socket.call("publish", {"stream": room.stream, **numbered(number, key=key)})
    if not ack["ok"]:
        return ack["error"]["code"]
    return ack["position"]["offset"], ack["replayed"]


def message_by_rest(login, room, key, number):
    body = {"body": f"Message {number}", "key": key}
    response = login.call("POST", f"{room.path}/messages", body, node=1)
    if not response.ok:
        return response.json()["code"]
    return response.json()["offset"], response.headers.get("Idempotent-Replay") == "true"


def message_by_socket(login, room, key, number):
    with login.socket() as socket:
        asked = {"channel": room.id, "body": f"Message {number}", "key": key}
        ack = socket.call("message.create", asked)
    if not ack["ok"]:
        return ack["error"]["code"]
    return ack["message"]["offset"], ack["replayed"]


EVENTS = [by_rest, by_batch, by_socket]
MESSAGES = [message_by_rest, message_by_socket]
PAIRS = [(a, b) for ways in (EVENTS, MESSAGES) for a in ways for b in ways]


def name_of(pair):
    return "_then_".join(way.__name__ for way in pair)


class TestOnce:
    @pytest.mark.parametrize("pair", PAIRS, ids=map(name_of, PAIRS))
    def test_a_retry_takes_no_effect_and_gets_the_first_result(self, ada, room, pair):
        """First by one door, then by the other: one event, and the answer names it."""
        first, again = pair
        offset, replayed = first(ada, room, "a-key", 1)
        room.publish(2)

        assert replayed is False
        assert again(ada, room, "a-key", 1) == (offset, True)
        assert keys(room.log()) == ["a-key"]

    @pytest.mark.parametrize("pair", PAIRS, ids=map(name_of, PAIRS))
    def test_the_same_key_for_something_else_is_a_conflict(self, ada, room, pair):
        first, again = pair
        first(ada, room, "a-key", 1)

        assert again(ada, room, "a-key", 2) == "conflict"
        assert keys(room.log()) == ["a-key"]

    def test_retries_at_the_same_moment_take_effect_once(self, ada, room):
        """As of a client that gave up waiting too early, through every address."""
        body = numbered(1, key="a-key")
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(
                    lambda node: ada.call("POST", f"{room.path}/events", body, node=node), range(8)
                )
            )

        assert {answer.json()["event"]["offset"] for answer in answers} == {3}
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        assert keys(room.log()) == ["a-key"]

    def test_a_retry_of_a_message_shows_it_as_it_was_then(self, ada, room):
        body = {"body": "Hello", "key": "a-key"}
        first = ada.ok("POST", f"{room.path}/messages", body)
        ada.ok("PATCH", f"{room.path}/messages/{first['id']}", {"body": "Hello, all"})

        assert ada.ok("POST", f"{room.path}/messages", body) == first

    def test_a_key_is_its_publishers_own(self, ada, bob, private):
        """Another person's event with the same key is another event."""
        private.publish(1)
        first, _ = by_rest(ada, private, "a-key", 1)

        assert by_rest(bob, private, "a-key", 1) == (first + 1, False)

    def test_a_key_is_its_streams_own(self, ada, room):
        other = Room(ada)
        by_rest(ada, room, "a-key", 1)

        assert by_rest(ada, other, "a-key", 2) == (3, False)

    def test_without_a_key_a_publish_is_done_each_time(self, ada, room):
        first, second = room.publish(1), room.publish(1)

        assert second[0]["offset"] == first[0]["offset"] + 1

    def test_the_watcher_knows_its_own_by_the_key(self, ada, room):
        key = unique("mine")
        with ada.socket() as socket:
            socket.ok("subscribe", {"stream": room.stream})
            socket.ok("message.create", {"channel": room.id, "body": "Hello", "key": key})
            if not socket.named("event"):
                socket.read_until("event")

        assert [event["key"] for event in socket.named("event")] == [key]

    def test_a_role_that_is_there_already_is_not_told_again(self, ada, bob, room):
        """A call that changes nothing logs nothing, and its answer names no place."""
        path = f"{room.path}/members/{bob.id}"
        first = ada.call("PUT", path, {"role": "member"})
        top = room.top()
        again = ada.call("PUT", path, {"role": "member"})

        assert "Fanfare-Position" in first.headers
        assert "Fanfare-Position" not in again.headers
        assert room.top() == top
