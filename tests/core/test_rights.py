"""The memory of who may post where: never a right that is over, but for half a second elsewhere."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import event

from core.callers import Caller
from core.errors import FanfareError, ForbiddenError, NotFoundError, UnavailableError
from core.events import Control
from core.services import access, channels, members, publish, users
from core.services.lookups import Lookups
from core.services.rights import _MOST, KEEP_S, RENEW_S, Ask, Found, Rights, not_at_all
from core.store.database import Database
from tests.core.conftest import Core
from tests.support.wait import wait_until

DEADLINE_S = 30


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Memory:
    """The rights of one node, and how often it had to ask the database."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        hears: bool = True,
        beside: Callable[..., object] = not_at_all,
    ) -> None:
        self._db = db
        self.looks = 0
        self.rights = Rights(self._look_up, clock, beside)
        if hears:
            db.announce_to(self.rights.on_committed)
            db.announce_to(self._hear_controls)

    def _look_up(self, asks: list[Ask]) -> Found:
        self.looks += 1
        with self._db.read() as conn:
            return access.postable_by_many(conn, asks)

    def _hear_controls(self, _events: object, controls: list[Control]) -> None:
        for control in controls:
            self.rights.forget(control)

    def may(self, caller, stream) -> str:
        """Tell by a word whether somebody may post."""
        try:
            return self.rights.stream_to_post_to(caller, stream)
        except FanfareError as error:
            return error.code


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(db, clock) -> Memory:
    return Memory(db, clock)


class Scene:
    """An owner, a member, and a room of each kind."""

    def __init__(self, core: Core) -> None:
        self.db = core.db
        self.ada, self.bob = core.person("ada"), core.person("bob")
        self.root = core.person("root", is_admin=True)
        self.public, self.private = self.room("public"), self.room("private")

    def room(self, kind: str, slug: str | None = None) -> str:
        draft = channels.ChannelDraft("a room", kind, slug=slug, members=["bob"])
        return str(channels.create(self.db, self.ada, draft).channel["id"])


@pytest.fixture
def scene(core) -> Scene:
    return Scene(core)


def anything(_version: int) -> None:
    """Expect no version."""


# What ends somebody's right to post, and in what words they are refused then.
ENDS = {
    "leaves a public channel": (
        "public",
        "forbidden",
        lambda s, r: members.remove(s.db, s.bob, r, s.bob.user_id),
    ),
    "is removed from a public one": (
        "public",
        "forbidden",
        lambda s, r: members.remove(s.db, s.ada, r, s.bob.user_id),
    ),
    "is removed from a private one": (
        "private",
        "not_found",
        lambda s, r: members.remove(s.db, s.ada, r, s.bob.user_id),
    ),
    "becomes a guest": (
        "private",
        "forbidden",
        lambda s, r: members.put(s.db, s.ada, r, s.bob.user_id, "guest"),
    ),
    "the channel is deleted": (
        "private",
        "not_found",
        lambda s, r: channels.delete(s.db, s.ada, r, anything),
    ),
}


class TestTheMemory:
    def test_a_yes_is_asked_for_once(self, memory, scene):
        stream = f"channel:{scene.public}"
        answers = {memory.may(scene.bob, stream) for _ in range(100)}

        assert answers == {stream}
        assert memory.looks == 1

    def test_it_lasts_for_half_a_second(self, memory, scene, clock):
        """Less than the second that the end of a right may take, wherever it was ended."""
        stream = f"channel:{scene.public}"
        memory.may(scene.bob, stream)
        clock.now += KEEP_S - 0.001
        memory.may(scene.bob, stream)
        before = memory.looks
        clock.now += 0.001
        memory.may(scene.bob, stream)

        assert (before, memory.looks) == (1, 2)
        assert KEEP_S <= 0.5

    def test_a_no_is_not_remembered(self, memory, scene, core):
        """Whoever has just joined may post at once, whichever node they joined on."""
        eve, stream = core.person("eve"), f"channel:{scene.private}"
        before = memory.may(eve, stream)
        members.put(scene.db, scene.ada, scene.private, eve.user_id, "member")

        assert (before, memory.may(eve, stream)) == ("not_found", stream)

    def test_it_is_of_one_person_and_one_channel(self, memory, scene, core):
        eve, stream = core.person("eve"), f"channel:{scene.private}"
        memory.may(scene.bob, stream)
        memory.may(scene.root, stream)

        assert memory.may(eve, stream) == "not_found"
        assert memory.may(eve, f"channel:{scene.public}") == "forbidden"
        assert memory.may(scene.bob, "user:me") == f"user:{scene.bob.user_id}"
        assert memory.may(scene.bob, f"user:{eve.user_id}") == "not_found"
        assert memory.may(scene.bob, "nothing") == "not_found"

    def test_many_who_ask_at_once_are_looked_up_together(self, scene, db, clock, core):
        gate, asked = threading.Event(), []

        def look_up(asks: list[Ask]) -> Found:
            asked.append(len(asks))
            assert gate.wait(DEADLINE_S)
            with db.read() as conn:
                return access.postable_by_many(conn, asks)

        rights, stream = Rights(look_up, clock), f"channel:{scene.public}"
        crowd = [core.person(f"person-{number}") for number in range(9)]
        for one in crowd[::2]:
            members.put(db, scene.ada, scene.public, one.user_id, "member")
        with ThreadPoolExecutor(10) as pool:
            first = pool.submit(rights.stream_to_post_to, scene.bob, stream)
            wait_until(lambda: asked)
            calls = [pool.submit(rights.stream_to_post_to, one, stream) for one in crowd]
            wait_until(lambda: len(rights._rounds._line) == len(crowd))
            gate.set()
            errors = [call.exception(DEADLINE_S) for call in calls]

        assert first.result() == stream
        assert asked == [1, 9]
        assert [type(error) for error in errors] == [
            ForbiddenError if number % 2 else type(None) for number in range(9)
        ]

    def test_it_is_bounded(self, clock):
        rights = Rights(lambda asks: {ask: ask[1] for ask in asks}, clock)
        caller = Caller("somebody", "somebody", "a session", False, 2**53)
        for number in range(2 * _MOST + 10):
            rights.stream_to_post_to(caller, f"channel:{number}")

        assert sum(map(len, rights._known.values())) <= _MOST

    def test_a_right_that_is_known_makes_nobody_forget(self, clock):
        rights = Rights(lambda asks: {ask: ask[1] for ask in asks}, clock)
        caller = Caller("somebody", "somebody", "a session", False, 2**53)
        for number in range(_MOST):
            rights.stream_to_post_to(caller, f"channel:{number}")
        clock.now += KEEP_S
        rights.stream_to_post_to(caller, "channel:1")

        assert sum(map(len, rights._known.values())) == _MOST


def _as(caller: Caller, *, is_admin: bool) -> Caller:
    return replace(caller, is_admin=is_admin)


class TestTheEnd:
    @pytest.mark.parametrize("what", ENDS)
    def test_on_the_node_of_the_change_it_acts_at_once(self, memory, scene, what):
        kind, refusal, end = ENDS[what]
        room = getattr(scene, kind)
        before = memory.may(scene.bob, f"channel:{room}")
        end(scene, room)

        assert (before, memory.may(scene.bob, f"channel:{room}")) == (f"channel:{room}", refusal)

    @pytest.mark.parametrize("what", ENDS)
    def test_on_a_node_that_hears_of_nothing_it_acts_within_half_a_second(
        self, db, scene, clock, what
    ):
        deaf, (kind, refusal, end) = Memory(db, clock, hears=False), ENDS[what]
        room = getattr(scene, kind)
        deaf.may(scene.bob, f"channel:{room}")
        end(scene, room)
        clock.now += KEEP_S

        assert deaf.may(scene.bob, f"channel:{room}") == refusal

    def test_who_is_no_administrator_any_more_is_asked_about_anew(self, memory, scene):
        stream = f"channel:{scene.private}"
        memory.may(scene.root, stream)
        looks = memory.looks
        users.change_user(scene.db, scene.root, scene.bob.user_id, {"is_admin": True}, anything)
        users.change_user(
            scene.db,
            _as(scene.bob, is_admin=True),
            scene.root.user_id,
            {"is_admin": False},
            anything,
        )

        assert memory.may(_as(scene.root, is_admin=False), stream) == "not_found"
        assert memory.looks == looks + 1

    def test_a_slug_that_went_to_another_channel_is_not_followed_back(self, memory, scene):
        first = scene.room("public", slug="the-room")
        memory.may(scene.bob, "channel:the-room")
        channels.change(scene.db, scene.ada, first, {"slug": "old-room"}, anything)
        second = scene.room("public", slug="the-room")

        assert memory.may(scene.bob, "channel:the-room") == f"channel:{second}"

    def test_what_ends_while_it_is_looked_up_is_looked_up_again(self, scene, db, clock):
        """Read just before the commit, it would be remembered just after."""
        looks = 0

        def look_up(asks: list[Ask]) -> Found:
            nonlocal looks
            looks += 1
            with db.read() as conn:
                found = access.postable_by_many(conn, asks)
            if looks == 1:
                members.put(db, scene.ada, scene.public, scene.bob.user_id, "guest")
            return found

        rights = Rights(look_up, clock)
        db.announce_to(rights.on_committed)

        with pytest.raises(ForbiddenError):
            rights.stream_to_post_to(scene.bob, f"channel:{scene.public}")
        assert looks == 2


class TestRenewal:
    """Who publishes on and on never waits, and what is believed is no older for that."""

    @pytest.fixture
    def beside(self) -> list[partial[None]]:
        """What is to run beside; a test runs it."""
        return []

    @pytest.fixture
    def renewing(self, db, clock, beside) -> Memory:
        return Memory(
            db, clock, hears=False, beside=lambda work, *args: beside.append(partial(work, *args))
        )

    def test_it_is_asked_for_again_once_and_beside(self, scene, clock, renewing, beside):
        stream = f"channel:{scene.public}"
        for step in (0, 0.2, 0.2, 0.05):
            clock.now += step
            assert renewing.may(scene.bob, stream) == stream
        assert (renewing.looks, len(beside)) == (1, 1)
        beside.pop()()
        clock.now += KEEP_S - 0.01

        assert renewing.may(scene.bob, stream) == stream
        assert (renewing.looks, len(beside)) == (2, 1)

    def test_who_pauses_is_asked_for_anew(self, scene, clock, renewing, beside):
        stream = f"channel:{scene.public}"
        renewing.may(scene.bob, stream)
        clock.now += KEEP_S
        renewing.may(scene.bob, stream)

        assert (renewing.looks, beside) == (2, [])

    def test_what_is_over_by_then_is_dropped(self, scene, db, clock, renewing, beside):
        stream = f"channel:{scene.private}"
        renewing.may(scene.bob, stream)
        members.put(db, scene.ada, scene.private, scene.bob.user_id, "guest")
        clock.now += RENEW_S
        assert renewing.may(scene.bob, stream) == stream
        beside.pop()()

        assert renewing.may(scene.bob, stream) == "forbidden"

    def test_it_is_good_to_its_end_while_the_database_is_away(self, scene, clock, beside):
        stream, away = f"channel:{scene.public}", False

        def look_up(asks: list[Ask]) -> Found:
            if away:
                raise UnavailableError("away")
            return dict.fromkeys(asks, stream)

        rights = Rights(look_up, clock, lambda work, *args: beside.append(partial(work, *args)))
        rights.stream_to_post_to(scene.bob, stream)
        away = True
        clock.now += RENEW_S
        assert rights.stream_to_post_to(scene.bob, stream) == stream
        beside.pop()()

        assert rights.stream_to_post_to(scene.bob, stream) == stream
        clock.now += RENEW_S
        with pytest.raises(UnavailableError):
            rights.stream_to_post_to(scene.bob, stream)


class TestOneAlone:
    def test_is_told_what_they_would_be_among_many(self, scene, core):
        """One asker is asked for by another query than many are: each kind, role and way to ask."""
        eve, guest = core.person("eve"), core.person("guest")
        slugged, gone = scene.room("private", slug="a-slug"), scene.room("public")
        direct = channels.create(
            scene.db, scene.ada, channels.ChannelDraft("", "direct", members=["bob"])
        ).channel["id"]
        members.put(scene.db, scene.ada, scene.private, guest.user_id, "guest")
        channels.delete(scene.db, scene.ada, gone, anything)
        refs = [scene.public, scene.private, slugged, "a-slug", direct, gone, "nothing", ""]
        streams = [f"channel:{ref}" for ref in refs] + ["user:me", f"user:{eve.user_id}", "other"]
        asks = [
            (who, it) for who in (scene.ada, scene.bob, guest, eve, scene.root) for it in streams
        ]
        with scene.db.read() as conn:
            wanted = {ask: told(access.postable_by_many(conn, [ask])[ask]) for ask in asks}

        assert {ask: told(access.postable_alone(scene.db, *ask)) for ask in asks} == wanted
        assert set(wanted.values()) >= {"not_found", "forbidden", f"channel:{slugged}"}

    def test_costs_one_statement(self, scene):
        asked = []
        event.listen(scene.db.engine, "before_cursor_execute", lambda *all_: asked.append(all_[2]))
        lookups = Lookups(scene.db)
        lookups.rights.stream_to_post_to(scene.bob, f"channel:{scene.public}")

        assert len([text for text in asked if not text.startswith("BEGIN")]) == 1


def told(answer: str | FanfareError) -> str:
    return answer.code if isinstance(answer, FanfareError) else answer


class TestSignals:
    def test_a_signal_asks_the_database_for_nothing(self, memory, scene):
        stream = f"channel:{scene.public}"
        draft = publish.Draft(stream, "cursor.moved", [1, 2], ephemeral=True)
        publish.signal(memory.rights, scene.bob, draft, max_bytes=99)
        statements = []
        event.listen(
            scene.db.engine, "before_cursor_execute", lambda *all_: statements.append(all_)
        )
        made = publish.signal(memory.rights, scene.bob, draft, max_bytes=99)
        typing = publish.typing(memory.rights, scene.bob, scene.public)

        assert statements == []
        assert (made.stream, made.actor, made.data) == (stream, scene.bob.user_id, "[1,2]")
        assert (typing.stream, typing.type) == (stream, "typing")

    def test_who_may_not_post_may_not_signal(self, memory, scene, core):
        eve = core.person("eve")

        with pytest.raises(NotFoundError):
            publish.typing(memory.rights, eve, scene.private)
        with pytest.raises(ForbiddenError):
            publish.typing(memory.rights, eve, scene.public)
