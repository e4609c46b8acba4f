"""A crowd at both doors: each is told each event, and none twice."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from benchmarks.readers import PollReader, Reader, SseReader
from benchmarks.swarm import Swarm
from tests.delivery.world import Room
from tests.fallback.doors import followers
from tests.support.client import RestClient

EACH = 500
AT_ONCE = 32


class Crowd:
    """Polls and streams of two people; a repeat, a gap or an error of theirs is raised."""

    def __init__(self, room: Room, people: list[RestClient]) -> None:
        tokens = [str(people[number % len(people)].access_token) for number in range(EACH)]
        self.polls = [PollReader(token, room.stream) for token in tokens]
        streams = [SseReader(token, room.stream) for token in tokens]
        self.swarm: Swarm[Reader] = Swarm([*self.polls, *streams])
        url = urlsplit(people[0].url)
        self.swarm.dial([(str(url.hostname), int(url.port or 0))], at_once=AT_ONCE)

    def go_on(self) -> None:
        """Have each poll ask for more."""
        for poll in self.polls:
            poll.go_on()

    def see(self, events: int) -> None:
        """Wait until everybody has seen so many."""
        self.swarm.wait(lambda: all(one.seen >= events for one in self.swarm.guests), "an event")

    def close(self) -> None:
        """Leave."""
        for reader in self.swarm.guests:
            self.swarm.hang_up(reader)


@pytest.fixture
def room(ada: RestClient, bob: RestClient) -> Room:
    """Where the crowd listens."""
    return Room(ada, [bob])


@pytest.fixture
def crowd(ada: RestClient, bob: RestClient, room: Room) -> Iterator[Crowd]:
    """Everybody is there, and no poll waits yet."""
    made = Crowd(room, [ada, bob])
    yield made
    made.close()


class TestEverybodyIsTold:
    def test_each_gets_each_event_once(self, ada: RestClient, room: Room, crowd: Crowd) -> None:
        """Also those who happen not to wait just then; a repeat would come before the next one."""
        before = followers(ada)
        crowd.go_on()
        crowd.swarm.wait(lambda: followers(ada) == before + EACH, "the polls to wait")

        for number in range(1, 4):
            room.publish(1)
            crowd.see(number)
            crowd.go_on()
        room.publish(1)
        crowd.see(4)

        assert {one.seen for one in crowd.swarm.guests} == {4}
        assert {one.at for one in crowd.swarm.guests} == {room.top}
