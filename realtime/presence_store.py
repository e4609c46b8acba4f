"""Who is where, over all nodes: what a store of it keeps and answers. Twins: memory and Redis.

A person is in a stream as long as one of their connections is, on any node. What a node wrote
lasts as long as its lease: a node that is gone is noticed, and swept away, by the others. All
that is pure about it stands here, so that the twins can't differ.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from core.times import to_rfc3339

What = Literal["joined", "left", "updated"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One connection in one stream."""

    stream: str
    user_id: str
    connection_id: str
    session_id: str
    status: str
    since_ms: int
    # When the status was set: of a user's connections the latest one's shows.
    at_ms: int


@dataclass(frozen=True, slots=True)
class Write:
    """A connection comes, changes, or `leaves`; doing it twice does no harm.

    `is_last`: this node has no other connection of the user in the stream.
    """

    entry: Entry
    leaves: bool = False
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What one write made of a person in a stream; `what` is None where nobody sees a change."""

    stream: str
    user_id: str
    what: What | None
    status: str | None
    since_ms: int
    count: int
    at_ms: int
    connection_id: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is in a stream."""

    user_id: str
    status: str
    since_ms: int
    devices: int
    connections: int

    def as_json(self) -> dict[str, Any]:
        """Give it as clients get it."""
        return {
            "user_id": self.user_id,
            "status": self.status,
            "since": to_rfc3339(self.since_ms),
            "devices": self.devices,
            "connections": self.connections,
        }


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is in a stream; `people` is None where they are more than are listed."""

    count: int
    people: list[Person] | None

    def as_json(self) -> dict[str, Any]:
        """Give it as clients get it: who came first is first."""
        if self.people is None:
            return {"count": self.count, "people": None}
        in_order = sorted(self.people, key=lambda person: (person.since_ms, person.user_id))
        return {"count": self.count, "people": [person.as_json() for person in in_order]}


@dataclass(frozen=True, slots=True)
class Renewed:
    """`is_new`: the lease had ended, all has to be written again. `dead`: whose else has ended."""

    is_new: bool
    dead: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seat:
    """One connection as a record holds it. `node` names the lease that it lasts with."""

    node: str
    session_id: str
    status: str
    at_ms: int


@dataclass(slots=True)
class Record:
    """A user's connections in one stream, by id."""

    since_ms: int
    seats: dict[str, Seat] = field(default_factory=dict)
    # Whose status shows, where that is known: to look at all at each change takes long.
    latest: str | None = field(default=None, compare=False)

    @property
    def status(self) -> str | None:
        """The status that shows; None: nobody is here."""
        if not self.seats:
            return None
        if self.latest is None:
            self.latest = max(self.seats, key=lambda name: (self.seats[name].at_ms, name))
        return self.seats[self.latest].status

    def put(self, name: str, seat: Seat) -> None:
        """Have a connection be here as it is now."""
        latest = self.latest
        if latest is None or latest == name:
            self.latest = None
        elif (seat.at_ms, name) > (self.seats[latest].at_ms, latest):
            self.latest = name
        self.seats[name] = seat

    def take(self, name: str) -> None:
        """Have a connection be here no more."""
        self.seats.pop(name, None)
        if self.latest == name:
            self.latest = None

    def person(self, user_id: str) -> Person:
        """Give it as it is shown."""
        devices = {seat.session_id for seat in self.seats.values()}
        return Person(user_id, self.status or "", self.since_ms, len(devices), len(self.seats))


def transition(before: str | None, after: str | None) -> What | None:
    """Say what others see of a change from one status to another; None: is not here."""
    if before == after:
        return None
    if before is None:
        return "joined"
    return "left" if after is None else "updated"


class PresenceStore(Protocol):
    """Keeps who is where. Every call may raise UnavailableError, and waits for 2 seconds at most.

    Calls that write are made one at a time; `sweep`, of another node's things, may run beside.
    """

    def write(self, writes: Sequence[Write]) -> list[Change]:
        """Do all of them, in order, and say what became of each."""

    def rosters(self, streams: Sequence[str], most: int) -> list[Roster]:
        """Give who is in each of the streams; those with more than `most` people by number."""

    def counts(self, streams: Sequence[str]) -> list[int]:
        """Count the people of each of the streams."""

    def find(self, stream_users: Iterable[tuple[str, str]]) -> list[Person | None]:
        """Look for one user in each of some streams."""

    def renew(self, *, afresh: bool = False) -> Renewed:
        """Renew this node's lease; `afresh` gives up what was written under the old one."""

    def sweep(self, name: str) -> Iterator[list[Change]]:
        """Remove all that was written under a lease that ended, a part at a time."""

    def leave_soon(self, seconds: float) -> None:
        """Have this node's lease end so soon, and renew it no more."""
