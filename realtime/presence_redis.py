"""Presence in Redis, 6.2 or later, Valkey or a Cluster: each script touches one key.

`<prefix>:presence:{<stream>}` is a hash of people, changed by one script, which also tells what
others see of it. `…:presence:nodes` holds when each lease ends, and `…:presence:of:{<lease>}` who
was written under it. A lease that ended is never used again: who comes back takes a new one.
What is none of ours under these keys is removed where it is met: it must hold nobody else up.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
import structlog
from redis.exceptions import NoScriptError

from core.errors import UnavailableError
from core.metrics import PRESENCE_FAILURES
from realtime import green
from realtime.client_redis import FAILURES
from realtime.presence_scripts import (
    ALL,
    CHANGE,
    END,
    FORGET,
    MAKE_ROOM,
    RENEW,
    ROSTER,
    read_record,
)
from realtime.presence_store import (
    Change,
    Person,
    Record,
    Renewed,
    Roster,
    Write,
    transition,
)

_log = structlog.get_logger(__name__)

_SWEPT_AT_ONCE = 200
# A store that failed is not asked again for so long: nobody waits in line for a timeout.
_REST_S = 1.0
# What a lease leaves behind where Redis lost its end is gone after this.
_FORGOTTEN_S = 86_400
# So many calls are made at once, each on a connection of its own.
_MOST_CALLS = 4

Command = tuple[Any, ...]


class RedisPresence:
    """One node's end. `connect` makes the client, at the first call or a later one."""

    def __init__(
        self, connect: Callable[[], Any], *, prefix: str, node_id: str, lease_s: float
    ) -> None:
        self._connect = connect
        self._client: Any = None
        self._prefix = f"{prefix}:presence"
        self._node_id = node_id
        self._lease_ms = int(lease_s * 1000)
        self._name = ""
        self._known: set[str] = set()
        self._turn = green.make_lock(_MOST_CALLS)
        self._rests_until = 0.0

    def _people(self, stream: str) -> str:
        return f"{self._prefix}:{{{stream}}}"

    def _of(self, name: str) -> str:
        return f"{self._prefix}:of:{{{name}}}"

    @property
    def _nodes(self) -> str:
        return f"{self._prefix}:nodes"

    # Asking.

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if time.monotonic() < self._rests_until:
            raise UnavailableError("Presence is not known for the moment.")
        try:
            if self._client is None:
                self._client = self._connect()
            yield
        except FAILURES as error:
            self._rests_until = time.monotonic() + _REST_S
            PRESENCE_FAILURES.inc()
            _log.warning("presence failed", reason=type(error).__name__)
            raise UnavailableError("Presence is not known for the moment.") from error

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send all at once, and give the answers; scripts that Redis forgot are sent again."""
        if not commands:
            return []
        with self._turn, self._asking():
            answers = self._send(commands)
            self._ask_again(commands, answers, _is_forgotten, self._load)
            self._ask_again(commands, answers, _is_of_another_type, self._make_room)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    def _ask_again(
        self,
        commands: Sequence[Command],
        answers: list[Any],
        has_failed: Callable[[Any], bool],
        mend: Callable[[list[Command]], None],
    ) -> None:
        failed = [at for at, answer in enumerate(answers) if has_failed(answer)]
        if failed:
            mend([commands[at] for at in failed])
            again = self._send([commands[at] for at in failed])
            for at, answer in zip(failed, again, strict=True):
                answers[at] = answer

    def _load(self, _failed: list[Command]) -> None:
        for script in ALL:
            self._client.script_load(script.text)

    def _make_room(self, failed: list[Command]) -> None:
        for key in dict.fromkeys(map(_key, failed)):
            _log.warning("a key of another type removed", key=key)
            self._client.execute_command("EVAL", MAKE_ROOM.text, 1, key, self._type(key))

    def _type(self, key: str) -> str:
        if key == self._nodes:
            return "zset"
        return "set" if key.startswith(f"{self._prefix}:of:") else "hash"

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        return answers

    # Writing.

    def write(self, writes: Sequence[Write]) -> list[Change]:
        """Do all of them, in order, and say what became of each."""
        if not self._name:
            self.renew()
        commands: list[Command] = []
        at: list[int] = []
        for write in writes:
            pair = _pair(write.entry.stream, write.entry.user_id)
            if not write.leaves:
                # First: whoever sweeps up after us must find all that we wrote.
                commands.append(("SADD", self._of(self._name), pair))
            at.append(len(commands))
            commands.append(self._change(write))
            if write.leaves and write.is_last:
                commands.append(("SREM", self._of(self._name), pair))
        answers = self._ask(commands)
        entries = [write.entry for write in writes]
        return [
            _told(entry.stream, entry.user_id, answers[n], entry.connection_id)
            for entry, n in zip(entries, at, strict=True)
        ]

    def _change(self, write: Write) -> Command:
        entry = write.entry
        return CHANGE.call(
            self._people(entry.stream),
            "drop" if write.leaves else "put",
            entry.user_id,
            entry.connection_id,
            self._name,
            entry.session_id,
            entry.status,
            entry.since_ms,
            entry.at_ms,
        )

    # Reading.

    def rosters(self, streams: Sequence[str], most: int) -> list[Roster]:
        """Give who is in each of the streams; those with more than `most` people by number."""
        answers = self._ask([ROSTER.call(self._people(stream), most) for stream in streams])
        rosters, strays = [], []
        for stream, (count, listed) in zip(streams, answers, strict=True):
            if listed is None:
                rosters.append(Roster(count, None))
                continue
            records = self._records(stream, listed)
            strays += self._strays(stream, records)
            people = [record.person(user_id) for user_id, record in records.items()]
            rosters.append(Roster(len(people), people))
        self._hand_over(strays)
        return rosters

    def _records(self, stream: str, listed: list[bytes]) -> dict[str, Record]:
        found, garbage = {}, []
        for name, raw in zip(listed[::2], listed[1::2], strict=True):
            user_id, record = _text(name), read_record(raw)
            if user_id and record:
                found[user_id] = record
            else:
                garbage.append((name, raw))
        self._forget(stream, garbage)
        return found

    def _forget(self, stream: str, garbage: Sequence[tuple[bytes | str, bytes]]) -> None:
        if garbage:
            _log.warning("records that are none of ours removed", stream=stream, count=len(garbage))
            self._ask([FORGET.call(self._people(stream), name, raw) for name, raw in garbage])

    def counts(self, streams: Sequence[str]) -> list[int]:
        """Count the people of each of the streams."""
        return self._ask([("HLEN", self._people(stream)) for stream in streams])

    def find(self, stream_users: Iterable[tuple[str, str]]) -> list[Person | None]:
        """Look for one user in each of some streams."""
        wanted = list(stream_users)
        answers = self._ask([("HGET", self._people(stream), user) for stream, user in wanted])
        found: list[Person | None] = []
        strays: list[tuple[str, str]] = []
        for (stream, user_id), raw in zip(wanted, answers, strict=True):
            record = None if raw is None else read_record(raw)
            if raw is not None and record is None:
                self._forget(stream, [(user_id, raw)])
            found.append(record.person(user_id) if record else None)
            strays += self._strays(stream, {user_id: record} if record else {})
        self._hand_over(strays)
        return found

    def _strays(self, stream: str, records: dict[str, Record]) -> list[tuple[str, str]]:
        return [
            (seat.node, _pair(stream, user_id))
            for user_id, record in records.items()
            for seat in record.seats.values()
            if seat.node not in self._known
        ]

    def _hand_over(self, strays: list[tuple[str, str]]) -> None:
        # People of a lease that nobody knows: Redis lost its end, in a failover say. It is given
        # one that has passed, so that they are swept away like those of any node that died.
        if not strays:
            return
        names = sorted({name for name, _ in strays})
        answers = self._ask([("ZSCORE", self._nodes, name) for name in names])
        unknown = {name for name, end in zip(names, answers, strict=True) if end is None}
        self._known.update(names)
        commands: list[Command] = [
            ("SADD", self._of(name), pair) for name, pair in strays if name in unknown
        ]
        self._ask([*commands, *(("ZADD", self._nodes, "NX", 0, name) for name in sorted(unknown))])

    # Leases.

    def renew(self, *, afresh: bool = False) -> Renewed:
        """Renew this node's lease; `afresh` gives up what was written under the old one."""
        new = f"{self._node_id}.{secrets.token_hex(6)}"
        old = self._name
        asked = ("afresh" if afresh else "", old, new, self._lease_ms)
        keep = ("EXPIRE", self._of(old or new), _FORGOTTEN_S)
        (name, dead, alive), _ = self._ask([RENEW.call(self._nodes, *asked), keep])
        self._name = _text(name)
        self._known = {_text(one) for one in [*dead, *alive]}
        return Renewed(self._name != old, frozenset(filter(None, map(_text, dead))))

    def sweep(self, name: str) -> Iterator[list[Change]]:
        """Remove all that was written under a lease that ended, a part at a time."""
        while True:
            (pairs,) = self._ask([("SRANDMEMBER", self._of(name), _SWEPT_AT_ONCE)])
            if not pairs:
                break
            found = [_text(pair).partition(" ")[::2] for pair in pairs]
            answers = self._ask(
                [CHANGE.call(self._people(s), "sweep", user, "", name) for s, user in found]
            )
            # Last: a sweeper that dies on the way is followed by another, who finds the rest.
            self._ask([("SREM", self._of(name), *pairs)])
            yield [_told(*who, answer) for who, answer in zip(found, answers, strict=True)]
        self._ask([END.call(self._nodes, name)])

    def leave_soon(self, seconds: float) -> None:
        """Have this node's lease end so soon, and renew it no more."""
        if self._name:
            self._ask([RENEW.call(self._nodes, "", self._name, "", int(seconds * 1000))])


def _pair(stream: str, user_id: str) -> str:
    return f"{stream} {user_id}"


def _key(command: Command) -> str:
    return str(command[3] if command[0] == "EVALSHA" else command[1])


def _is_forgotten(answer: Any) -> bool:
    return isinstance(answer, NoScriptError)


def _is_of_another_type(answer: Any) -> bool:
    # Inside a script, and from a cluster, other words stand before it.
    return isinstance(answer, redis.ResponseError) and "WRONGTYPE" in str(answer)


def _text(raw: bytes) -> str:
    # What is no text is none of ours: nobody is called that.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""


def _told(stream: str, user_id: str, answer: Any, connection_id: str = "") -> Change:
    before, after, since_ms, count, at_ms = answer
    shown = _text(after) if after else None
    what = transition(_text(before) if before else None, shown)
    return Change(stream, user_id, what, shown, since_ms, count, at_ms, connection_id)
