"""Who has got an event reads nothing older than it, on whichever node; nor once access has ended.

Every reading is warm: what was asked for a moment ago is kept on each node, and clients hold tags.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.delivery.raw import RawSocket
from tests.delivery.reader import Reader
from tests.delivery.world import Room
from tests.support.client import RestClient, registered

TRIES = 50
JSON = dict[str, Any]


class Device:
    """Somebody at one node, who asks with the tags of what they have."""

    def __init__(self, url: str, token: str | None, room: Room) -> None:
        self._client = RestClient(url, token=token)
        self._path = f"/channels/{room.id}"
        self._held: dict[str, tuple[str, JSON]] = {}

    def read(self, what: str) -> JSON:
        """Read what is at an address of the channel; a 304 is believed."""
        tag, held = self._held.get(what, ("", {}))
        answer = self._client.get(f"{self._path}/{what}", headers={"If-None-Match": tag})
        if answer.status_code == 304:
            return held
        assert answer.status_code == 200, answer.text
        self._held[what] = (answer.headers.get("ETag", ""), answer.json())
        return self._held[what][1]

    def statuses(self) -> set[int]:
        """Ask for everything with the tags held, and without."""
        asked = [(what, {"If-None-Match": tag}) for what, (tag, _) in self._held.items()]
        asked += [(what, {}) for what in self._held]
        return {
            self._client.get(f"{self._path}/{what}", headers=headers).status_code
            for what, headers in asked
        }

    def warm(self) -> None:
        """Read all that is kept, so that it is."""
        for what in ("messages", "sync", "messages?limit=1"):
            self.read(what)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()


class Scene:
    """A room, somebody who watches it on the second node, and reads on the second and third."""

    def __init__(self, stack: ExitStack, trio: Any, owner: RestClient, member: RestClient) -> None:
        self.room = Room(owner, [member])
        self.connection = stack.enter_context(RawSocket(trio.urls[1], member.access_token))
        self.reader = Reader(self.room.stream)
        self.reader.subscribe(self.connection)
        self.devices = [Device(url, member.access_token, self.room) for url in trio.urls[1:]]
        for device in self.devices:
            stack.callback(device.close)

    def next_event(self) -> JSON:
        """Wait for the next event of the room."""
        self.reader.read_to(self.connection, self.reader.position["offset"] + 1)  # type: ignore[index]
        self.connection.packets.clear()
        return self.reader.seen[-1]


@pytest.fixture
def member(three_nodes) -> Iterator[RestClient]:
    with registered(three_nodes.urls[1]) as client:
        yield client


@pytest.fixture
def scene(three_nodes, ada, member) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack, three_nodes, ada, member)


class TestAfterAnEvent:
    def test_nothing_older_is_read(self, scene, ada):
        """A message is posted and edited on one node; who hears of it asks at the two others."""
        path = f"/channels/{scene.room.id}/messages"
        with ThreadPoolExecutor(1) as pool:
            for number in range(TRIES):
                for device in scene.devices:
                    device.warm()
                posted = pool.submit(ada.post, path, {"body": f"new {number}"})
                self._check(scene, scene.next_event())
                message = posted.result().json()["id"]
                edited = pool.submit(ada.patch, f"{path}/{message}", {"body": f"other {number}"})
                self._check(scene, scene.next_event())
                assert edited.result().status_code == 200

    def _check(self, scene, event):
        for device in scene.devices:
            sync = device.read("sync")
            pages = [device.read("messages"), device.read("messages?limit=1")]
            log = device.read(f"events?after={event['offset'] - 1}")

            assert sync["position"]["offset"] >= event["offset"]
            assert sync["messages"][-1] == event["data"]
            assert [page["items"][0] for page in pages] == [event["data"]] * 2
            assert log["items"][0] == event


class TestAfterAccessEnded:
    def test_nothing_is_read(self, scene, ada, member):
        """At once on the node that told of it, and on one that nobody told."""
        for device in scene.devices:
            device.warm()
            device.read("events?after=0")
        removed = ada.delete(f"/channels/{scene.room.id}/members/{member.id}")
        scene.connection.read_until(lambda packet: packet[0] == "unsubscribed")

        assert removed.status_code == 204
        assert [device.statuses() for device in scene.devices] == [{404}, {404}]
