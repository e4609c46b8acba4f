"""A round of publishes gives what the same publishes give one after the other.

Made-up deeds, many of which are refused or repeat others, are done in two worlds that are alike.
"""

import random
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from core.errors import ConflictError, FanfareError, ForbiddenError, NotFoundError, describe
from core.events import Event
from core.services import channels, intents, members, messages, publish
from core.services.intents import Intent
from core.store import models
from tests.delivery.test_group_commit import Transactions, draft, person
from tests.delivery.world import MAX_BYTES, Core, read_all
from tests.support.client import unique

PEOPLE = ("owner", "member", "guest", "stranger", "admin")
ROOMS = ("public", "private", "closed", "deleted")


@dataclass(frozen=True)
class Deed:
    """A publish or a message, by names that mean the same in two worlds."""

    who: str
    where: str
    kind: str
    data: Any
    key: str | None
    reply_to: int | None = None


class Twin:
    """A world with people, rooms and a history. Two of them are alike but for their ids."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.people = {name: person(core, is_admin=name == "admin") for name in PEOPLE}
        self.names = {caller.user_id: name for name, caller in self.people.items()}
        self.rooms = {name: self._room(name) for name in ROOMS}
        self.slugs = {name: unique() for name in ROOMS}
        for name, slug in self.slugs.items():
            changes, owner = {"slug": slug}, self.people["owner"]
            channels.change(core.db, owner, self.rooms[name], changes, lambda _version: None)
        channels.delete(core.db, self.people["owner"], self.rooms["deleted"], lambda _version: None)
        self.said: list[str] = []
        for room in ("public", "private"):
            says = messages.MessageDraft(f"in {room}", key="the first")
            made = messages.create(
                core.db, self.people["member"], self.rooms[room], says, max_bytes=MAX_BYTES
            )
            self.said.append(made.message["id"])

    def _room(self, name: str) -> str:
        kind = "public" if name == "public" else "private"
        owner = self.people["owner"]
        made = channels.create(self.core.db, owner, channels.ChannelDraft(name, kind)).channel
        for who in ("member", "guest"):
            if name != "closed":
                members.put(self.core.db, owner, made["id"], self.people[who].user_id, who)
        return str(made["id"])

    def stream_of(self, where: str) -> str:
        """Name the stream of a place: a room by id or slug, a person's, or nothing at all."""
        if where.startswith("slug "):
            return f"channel:{self.slugs[where.removeprefix('slug ')]}"
        if where in self.rooms:
            return f"channel:{self.rooms[where]}"
        if where in self.people:
            return f"user:{self.people[where].user_id}"
        return where

    def intent(self, deed: Deed) -> Intent:
        """Make of a deed what is to be logged."""
        caller, stream = self.people[deed.who], self.stream_of(deed.where)
        if deed.kind == "message":
            reply_to = None if deed.reply_to is None else self.said[deed.reply_to]
            says = messages.MessageDraft(str(deed.data), None, reply_to, deed.key)
            ref = stream.removeprefix("channel:")
            return messages.intend(caller, ref, says, max_bytes=MAX_BYTES)
        made = replace(draft(stream, deed.data, deed.key), type=deed.kind)
        return publish.intend(caller, made, max_bytes=MAX_BYTES)

    def outcome(self, intent: Intent) -> Any:
        """Tell what became of it, in the names of this world."""
        if intent.error is not None:
            assert isinstance(intent.error, FanfareError), intent.error
            return describe(intent.error)
        return (*self._told(intent.get_event()), intent.is_replay)

    def _told(self, one: Event) -> tuple[Any, ...]:
        body = one.data if one.type != "message.created" else len(one.data)
        return (self.where(one.stream), one.offset, one.type, body, self.who(one.actor), one.key)

    def who(self, actor: str | None) -> str:
        return self.names[str(actor)]

    def where(self, stream: str) -> str:
        kind, _, ref = stream.partition(":")
        if kind == "user":
            return self.names[ref]
        return next(name for name, room in self.rooms.items() if room == ref)

    def logs(self) -> dict[str, Any]:
        """Give all that is logged, and all messages."""
        found: dict[str, Any] = {}
        with self.core.db.snapshot() as conn:
            for name in (*ROOMS, *PEOPLE):
                state = self.core.state(self.stream_of(name))
                events = read_all(conn, state)
                assert [one.offset for one in events] == list(range(1, state.top + 1))
                skipped = ("channel.", "member.", "session.")
                found[name] = [
                    self._told(one) for one in events if not one.type.startswith(skipped)
                ]
            columns = models.messages.c
            for name, room in self.rooms.items():
                query = select(columns.offset, columns.body, columns.author_id, columns.reply_to)
                rows = conn.execute(query.where(columns.channel_id == room).order_by("offset"))
                found[f"messages of {name}"] = [
                    (row[0], row[1], self.who(row[2]), row[3] and self.said.index(row[3]))
                    for row in rows
                ]
        return found


def make_deeds(rng: random.Random, count: int) -> list[Deed]:
    """Make up deeds, many of which are refused, or repeat others."""
    places = [*ROOMS, *(f"slug {room}" for room in ROOMS), *PEOPLE]
    places += ["user:me", "user:nobody", "nothing", "channel:no-such-room", f"channel:{0:036}"]
    deeds: list[Deed] = []
    for number in range(count):
        if deeds and rng.random() < 0.2:
            again = rng.choice(deeds)
            deeds.append(replace(again, data=rng.choice([again.data, "another"])))
            continue
        where = rng.choice([*places, "public", "private", "public"])
        kind = rng.choice(["test.made", "order.paid", "message"])
        if kind == "message" and where not in (*ROOMS, *(f"slug {room}" for room in ROOMS)):
            kind = "test.made"
        deeds.append(
            Deed(
                who=rng.choice(PEOPLE),
                where=where,
                kind=kind,
                data=f"deed {number}",
                key=rng.choice([None, None, "k1", "k2", "the first", f"own {number}"]),
                reply_to=rng.choice([None, None, 0, 1]) if kind == "message" else None,
            )
        )
    return deeds


class TestAsIfAlone:
    """The main one: whatever wants to be logged, a round of all gives what one by one gives."""

    ROUNDS = 6

    def test_a_round_equals_one_after_the_other(self, core, rng):
        one_by_one, at_once = Twin(core), Twin(core)
        for _ in range(self.ROUNDS):
            deeds = make_deeds(rng, rng.randrange(1, 60))
            alone = [one_by_one.intent(deed) for deed in deeds]
            for intent in alone:
                intents.log_all(core.db, [intent])
            together = [at_once.intent(deed) for deed in deeds]
            with Transactions(core) as seen:
                intents.log_all(core.db, together)

            assert seen.commits == 1
            expected = [one_by_one.outcome(intent) for intent in alone]
            assert [at_once.outcome(intent) for intent in together] == expected
        assert at_once.logs() == one_by_one.logs()

    def test_the_deeds_are_of_every_sort(self, core, rng):
        """Or the test above would compare little."""
        twin = Twin(core)
        deeds = make_deeds(rng, 600)
        wanted = [twin.intent(deed) for deed in deeds]
        intents.log_all(core.db, wanted)
        codes = {type(intent.error) for intent in wanted}

        assert {NotFoundError, ForbiddenError, ConflictError} <= codes
        assert {intent.is_replay for intent in wanted if intent.event} == {True, False}
