"""Many askers, one query: everybody gets their own, and nobody gets what was so before."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.callers import Caller, Claims
from core.errors import TokenRevokedError, UnavailableError
from core.ids import new_id
from core.services import access, accounts, channels, members
from core.services.batch import Batch
from core.services.lookups import Lookups
from core.store import accounts as store
from tests.core.conftest import Core
from tests.support.wait import wait_until

DEADLINE_S = 30


class Doubler:
    """A look-up that can be held up, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.began = threading.Event()
        self.error: Exception | None = None

    def __call__(self, keys: list[int]) -> dict[int, int]:
        self.asked.append(sorted(keys))
        self.began.set()
        assert self.may_go.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        return {key: 2 * key for key in keys if key < 100}


class TestBatch:
    def test_each_asker_gets_their_own(self):
        doubler = Doubler()
        batch = Batch(doubler)
        with ThreadPoolExecutor(20) as pool:
            found = list(pool.map(lambda n: batch.find([n, n + 1]), range(20)))

        assert found == [{n: 2 * n, n + 1: 2 * n + 2} for n in range(20)]

    def test_who_comes_while_it_looks_is_looked_up_next_and_together(self):
        """Not by the look-up that runs: it may have begun before what they need was committed."""
        doubler = Doubler()
        batch = Batch(doubler)
        doubler.may_go.clear()
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(batch.find, [1])
            assert doubler.began.wait(DEADLINE_S)
            later = [pool.submit(batch.find, [n]) for n in (2, 3, 1)]
            wait_until(lambda: len(batch._rounds._line) == 3)
            doubler.may_go.set()

            assert first.result(DEADLINE_S) == {1: 2}
            assert [call.result(DEADLINE_S) for call in later] == [{2: 4}, {3: 6}, {1: 2}]
        assert doubler.asked == [[1], [1, 2, 3]]

    def test_nobody_waits_for_a_clock(self, monkeypatch):
        """Not in a storm, nor after it: who is ready comes in first, and that is all."""
        waits: list[float] = []
        monkeypatch.setattr(time, "sleep", waits.append)
        doubler = Doubler()
        batch = Batch(doubler)
        with ThreadPoolExecutor(40) as pool:
            list(pool.map(lambda n: batch.find([n]), range(40)))
        batch.find([1])

        assert set(waits) == {0}
        assert doubler.asked[-1] == [1]

    def test_a_look_up_has_so_many_keys_and_no_more(self):
        doubler = Doubler()
        batch = Batch(doubler, most=3)
        doubler.may_go.clear()
        with ThreadPoolExecutor(6) as pool:
            pool.submit(batch.find, [1])
            assert doubler.began.wait(DEADLINE_S)
            for number in (10, 20, 30):
                pool.submit(batch.find, [number, number + 1])
            wait_until(lambda: len(batch._rounds._line) == 3)
            doubler.may_go.set()

        assert sorted(doubler.asked) == [[1], [10, 11], [20, 21], [30, 31]]

    def test_what_is_not_there_is_left_out(self):
        assert Batch(Doubler()).find([1, 100]) == {1: 2}

    def test_a_failure_is_everybodys_and_passes(self):
        doubler = Doubler()
        batch = Batch(doubler)
        doubler.error = UnavailableError("away")
        with pytest.raises(UnavailableError):
            batch.find([1])
        doubler.error = None

        assert batch.find([1]) == {1: 2}


def claims_of(caller: Caller, session_id: str = "") -> Claims:
    return Claims(caller.user_id, session_id or caller.session_id, caller.expires_at_ms)


@pytest.fixture
def people(core: Core) -> list[Caller]:
    """Three users with sessions; the last is an administrator."""
    made = []
    for number in range(3):
        terms = accounts.SessionTerms(60_000)
        name = f"u{new_id()[-12:]}"
        with core.db.write() as write:
            user_id = accounts.add_user(
                write, username=name, password_hash="none", is_admin=number == 2
            )
        login = accounts.login_as_server(core.db, terms, username=name)
        made.append(Caller(user_id, name, login.session_id, number == 2, 2**53))
    return made


def _channels_in(found: dict[str, str]) -> set[str]:
    return {name for name in found.values() if name.startswith("channel:")}


class TestLookups:
    def test_it_tells_the_same_callers_as_one_by_one(self, core, people):
        lookups = Lookups(core.db)

        for caller in people:
            assert lookups.authenticate(claims_of(caller)) == caller
            assert accounts.authenticate(core.db, claims_of(caller)) == caller

    def test_a_session_of_somebody_else_is_none(self, core, people):
        """The claims of a token name both; the look-up goes by the session."""
        with pytest.raises(TokenRevokedError):
            Lookups(core.db).authenticate(claims_of(people[0], people[1].session_id))

    def test_an_ended_session_is_none(self, core, people):
        accounts.logout(core.db, people[0])

        with pytest.raises(TokenRevokedError):
            Lookups(core.db).authenticate(claims_of(people[0]))

    def test_who_is_admitted_comes_with_a_profile(self, core, people):
        for caller in people:
            profile = Lookups(core.db).admit(claims_of(caller))[1]
            with core.db.read() as conn:
                row = store.get_user(conn, caller.user_id)

            assert profile == store.user_json(row)

    def test_who_is_admitted_is_who_is_authenticated(self, core, people):
        lookups = Lookups(core.db)
        accounts.logout(core.db, people[0])

        assert lookups.admit(claims_of(people[2]))[0] == people[2]
        for claims in (claims_of(people[0]), claims_of(people[1], people[2].session_id)):
            with pytest.raises(TokenRevokedError):
                lookups.admit(claims)

    def test_everybody_may_read_what_they_may_alone(self, core, people):
        """Public, private, direct, deleted and unknown channels; members, strangers, an admin."""
        ada, bob, _admin = people
        made = [
            channels.create(core.db, ada, channels.ChannelDraft("a", kind, slug, members=with_))
            for kind, slug, with_ in (
                ("public", f"s-{ada.user_id[-8:]}", []),
                ("private", None, [bob.user_id]),
                ("private", None, []),
                ("direct", None, [bob.user_id]),
                ("private", None, [bob.user_id]),
                ("public", None, []),
            )
        ]
        ids = [done.channel["id"] for done in made]
        members.remove(core.db, ada, ids[4], bob.user_id)
        channels.delete(core.db, ada, ids[5], lambda _version: None)
        asked = [f"channel:{ref}" for ref in (*ids, made[0].channel["slug"], new_id())]
        asked += ["user:me", f"user:{ada.user_id}", "nonsense"]
        lookups = Lookups(core.db)
        wishes = [(caller, frozenset(asked)) for caller in people]
        with core.db.read() as conn:
            together = access.readable_by_many(conn, wishes)
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda caller: lookups.readable_streams(caller, asked), people))

        numbers = [sorted(ids.index(name[8:]) for name in _channels_in(one)) for one in found]
        assert numbers == [[0, 1, 2, 3, 4], [0, 1, 3], [0, 1, 2, 4]]
        assert found == [together[wish] for wish in wishes]
        assert found[0][f"channel:{made[0].channel['slug']}"] == f"channel:{ids[0]}"
        assert found[1]["user:me"] == f"user:{bob.user_id}"
        assert f"user:{ada.user_id}" not in found[1]
        assert "nonsense" not in found[0]

    def test_more_names_than_a_statement_takes(self, core, people):
        asked = [f"channel:{number:036}" for number in range(1000)]
        wishes = [(people[0], frozenset([*asked, f"channel:{n}"])) for n in range(40)]

        assert Lookups(core.db)._read_readable(wishes) == {wish: {} for wish in wishes}
