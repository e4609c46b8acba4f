"""Promise 4, sync: a snapshot, and the position that it is true at."""

from concurrent.futures import ThreadPoolExecutor

from tests.conformance.doors import read_to
from tests.conformance.people import Room


def fold(messages, events):
    """Apply events to the messages of a snapshot, as a client does."""
    held = {message["id"]: message for message in messages}
    for event in events:
        if event["type"].startswith("message."):
            message = event["data"]
            if message["version"] > held.get(message["id"], {"version": 0})["version"]:
                held[message["id"]] = message
    return sorted(held.values(), key=lambda message: message["offset"])


def write(ada, room, rng, count):
    """Write, edit and delete at random."""
    ids: list[str] = []
    for number in range(count):
        if ids and rng.random() < 0.3:
            path = f"{room.path}/messages/{rng.choice(ids)}"
            ada.call(*rng.choice([("PATCH", path, {"body": f"Edit {number}"}), ("DELETE", path)]))
        else:
            body = {"body": f"Message {number}"}
            ids.append(ada.ok("POST", f"{room.path}/messages", body)["id"])


class TestSync:
    def test_an_old_snapshot_and_what_came_after_is_a_new_snapshot(self, ada, room, follow, rng):
        """Whatever was done in between, through each door."""
        write(ada, room, rng, 8)
        old = ada.ok("GET", f"{room.path}/sync?messages=200")
        follower = follow(ada, {room.stream: old["position"]})
        write(ada, room, rng, 12)
        new = ada.ok("GET", f"{room.path}/sync?messages=200", node=1)

        events = read_to(follower, room.stream, new["position"]["offset"])
        assert fold(old["messages"], events) == new["messages"]

    def test_it_is_true_at_its_position_while_others_write(self, ada, room, rng):
        """Each snapshot, with the log up to its position and no further, gives its messages."""
        seed = rng.random()
        with ThreadPoolExecutor(2) as pool:
            writing = pool.submit(write, ada, room, rng, 25)
            taken = []
            while not writing.done():
                taken.append(ada.ok("GET", f"{room.path}/sync?messages=200"))
            writing.result()
        log = room.log()

        assert taken, seed
        for snapshot in taken:
            at = snapshot["position"]["offset"]
            assert fold([], log[:at]) == snapshot["messages"]

    def test_it_tells_who_is_there_and_who_asks(self, ada, bob):
        room = Room(ada, "private", [bob.id])
        snapshot = bob.ok("GET", f"{room.path}/sync")

        assert snapshot["channel"] == room.channel
        assert snapshot["membership"]["user_id"] == bob.id
        assert {one["user_id"] for one in snapshot["members"]} == {ada.id, bob.id}
        assert snapshot["unread"] == 0

    def test_it_counts_what_is_unread(self, ada, bob):
        room = Room(ada, "private", [bob.id])
        for _ in range(3):
            last = ada.ok("POST", f"{room.path}/messages", {"body": "Hello"})
        before = bob.ok("GET", f"{room.path}/sync")["unread"]
        bob.ok("PUT", f"{room.path}/read", {"offset": last["offset"]})

        assert (before, bob.ok("GET", f"{room.path}/sync", node=1)["unread"]) == (3, 0)

    def test_messages_come_oldest_first_and_as_many_as_were_asked_for(self, ada, room):
        made = [
            ada.ok("POST", f"{room.path}/messages", {"body": str(number)})["id"]
            for number in range(5)
        ]
        got = ada.ok("GET", f"{room.path}/sync?messages=3")["messages"]

        assert [message["id"] for message in got] == made[-3:]

    def test_it_is_not_sent_again_while_nothing_changes(self, ada, room):
        tag = ada.call("GET", f"{room.path}/sync").headers["ETag"]
        unchanged = ada.call("GET", f"{room.path}/sync", headers={"If-None-Match": tag})
        room.publish(1)
        changed = ada.call("GET", f"{room.path}/sync", headers={"If-None-Match": tag})

        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert changed.status_code == 200
