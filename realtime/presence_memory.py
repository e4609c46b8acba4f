"""Presence inside one process: for the embedded mode, where there is one node, and for tests."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from core.ids import new_id
from core.times import now_ms
from realtime.presence_store import (
    Change,
    Person,
    Record,
    Renewed,
    Roster,
    Seat,
    Write,
    transition,
)

_SWEPT_AT_ONCE = 200


class MemoryPeople:
    """What the nodes of one process share."""

    def __init__(self, clock: Callable[[], int] = now_ms) -> None:
        self.clock = clock
        self.streams: dict[str, dict[str, Record]] = {}
        self.leases: dict[str, int] = {}


class MemoryPresence:
    """One node's end."""

    def __init__(
        self, people: MemoryPeople | None = None, node_id: str = "", lease_s: float = 15
    ) -> None:
        self._people = people or MemoryPeople()
        self._node_id = node_id
        self._lease_ms = int(lease_s * 1000)
        self._name = ""

    def write(self, writes: Sequence[Write]) -> list[Change]:
        """Do all of them, in order, and say what became of each."""
        if not self._name:
            self.renew()
        return [self._write(one) for one in writes]

    def _write(self, write: Write) -> Change:
        entry = write.entry
        here = self._people.streams.setdefault(entry.stream, {})
        record = here.get(entry.user_id) or Record(entry.since_ms)
        before = record.status
        if write.leaves:
            record.take(entry.connection_id)
        else:
            seat = Seat(self._name, entry.session_id, entry.status, entry.at_ms)
            record.put(entry.connection_id, seat)
            record.since_ms = min(record.since_ms, entry.since_ms)
        return self._keep(entry.stream, entry.user_id, record, before, entry.connection_id)

    def _keep(
        self, stream: str, user_id: str, record: Record, before: str | None, connection: str = ""
    ) -> Change:
        here, after = self._people.streams[stream], record.status
        if after is None:
            here.pop(user_id, None)
        else:
            here[user_id] = record
        count = len(here)
        if not here:
            del self._people.streams[stream]
        what, at_ms = transition(before, after), self._people.clock()
        return Change(stream, user_id, what, after, record.since_ms, count, at_ms, connection)

    def rosters(self, streams: Sequence[str], most: int) -> list[Roster]:
        """Give who is in each of the streams; those with more than `most` people by number."""
        return [self._roster(self._people.streams.get(stream, {}), most) for stream in streams]

    @staticmethod
    def _roster(here: dict[str, Record], most: int) -> Roster:
        if len(here) > most:
            return Roster(len(here), None)
        return Roster(len(here), [record.person(user_id) for user_id, record in here.items()])

    def counts(self, streams: Sequence[str]) -> list[int]:
        """Count the people of each of the streams."""
        return [len(self._people.streams.get(stream, ())) for stream in streams]

    def find(self, stream_users: Iterable[tuple[str, str]]) -> list[Person | None]:
        """Look for one user in each of some streams."""
        found = []
        for stream, user_id in stream_users:
            record = self._people.streams.get(stream, {}).get(user_id)
            found.append(record.person(user_id) if record else None)
        return found

    def renew(self, *, afresh: bool = False) -> Renewed:
        """Renew this node's lease; `afresh` gives up what was written under the old one."""
        leases, now = self._people.leases, self._people.clock()
        is_new = afresh or leases.get(self._name, 0) <= now
        if is_new:
            if self._name:
                leases[self._name] = 0
            self._name = f"{self._node_id}.{new_id()}"
        leases[self._name] = now + self._lease_ms
        return Renewed(is_new, frozenset(name for name, end in leases.items() if end <= now))

    def sweep(self, name: str) -> Iterator[list[Change]]:
        """Remove all that was written under a lease that ended, a part at a time."""
        left = [
            (stream, user_id)
            for stream, here in self._people.streams.items()
            for user_id, record in here.items()
            if any(seat.node == name for seat in record.seats.values())
        ]
        for first in range(0, len(left), _SWEPT_AT_ONCE):
            yield [self._sweep(*who, name) for who in left[first : first + _SWEPT_AT_ONCE]]
        self._people.leases.pop(name, None)

    def _sweep(self, stream: str, user_id: str, name: str) -> Change:
        here = self._people.streams.setdefault(stream, {})
        record = here.get(user_id) or Record(0)
        before = record.status
        for id_ in [id_ for id_, seat in record.seats.items() if seat.node == name]:
            record.take(id_)
        return self._keep(stream, user_id, record, before)

    def leave_soon(self, seconds: float) -> None:
        """Have this node's lease end so soon, and renew it no more."""
        if self._name:
            self._people.leases[self._name] = self._people.clock() + int(seconds * 1000)
