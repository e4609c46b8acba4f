"""Who may post where, remembered for a moment: signals ask for it with every packet.

Only a yes is remembered, for half a second, on whichever node: the contract lets an end of access
take one. It is dropped at once where the change is committed, or where a control tells of it. Not
every loss has a control (who becomes a guest, or leaves a public channel, may still read). What is
used late in its time is asked for again beside its user: who publishes on and on never waits.
"""

import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from core.callers import Caller
from core.errors import FanfareError, UnavailableError
from core.events import Control, Event, user_stream
from core.store.rounds import Rounds

KEEP_S = 0.5
RENEW_S = KEEP_S / 2
_MOST = 10_000
_AT_ONCE = 100
# Told to whoever it is about, on their own stream.
_OF_ONE = frozenset({"member.left", "member.updated"})
# A slug may now name another channel, or none.
_OF_ALL = frozenset({"channel.updated", "channel.deleted"})

Ask: TypeAlias = tuple[Caller, str]
Found: TypeAlias = dict[Ask, str | FanfareError]


class _Question:
    """What one asks, and the answer."""

    __slots__ = ("answer", "ask")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.answer: str | FanfareError = ""


class _Known:
    """A yes: how long it is good, and whether it is being asked for again."""

    __slots__ = ("is_renewed", "stream", "until")

    def __init__(self, until: float, stream: str) -> None:
        self.until = until
        self.stream = stream
        self.is_renewed = False


def not_at_all(_work: Callable[..., object], *_args: object) -> None:
    """Run nothing beside."""


class Rights:
    """Turns what a caller wants to post to into the full name of a stream, or refuses.

    `beside` runs a work with its arguments soon, and lets its caller go on.
    """

    def __init__(
        self,
        look_up: Callable[[list[Ask]], Found],
        clock: Callable[[], float] = time.monotonic,
        beside: Callable[..., object] = not_at_all,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._beside = beside
        # By user, then by what they may do and what they named.
        self._known: dict[str, dict[tuple[bool, str], _Known]] = {}
        self._count = 0
        self._changes = 0
        self._rounds: Rounds[_Question] = Rounds(self._answer, most=_AT_ONCE)

    def stream_to_post_to(self, caller: Caller, stream: str) -> str:
        """Give the full name of a stream that the caller may post to.

        Raises:
            NotFoundError, ForbiddenError.
        """
        if stream == "user:me":
            return user_stream(caller.user_id)
        known = self._known.get(caller.user_id, {}).get((caller.is_admin, stream))
        left_s = known.until - self._clock() if known is not None else 0
        if known is None or left_s <= 0:
            return self._ask((caller, stream))
        if left_s <= RENEW_S and not known.is_renewed:
            known.is_renewed = True
            self._beside(self._renew, (caller, stream))
        return known.stream

    def _ask(self, ask: Ask) -> str:
        question = _Question(ask)
        self._rounds.do(question)
        if isinstance(question.answer, FanfareError):
            raise question.answer
        return question.answer

    def _renew(self, ask: Ask) -> None:
        try:
            self._ask(ask)
        except UnavailableError:
            # The yes is good for the rest of its time; who asks then is told.
            return
        except FanfareError:
            # It is over, and this is the first to know.
            self._forget_user(ask[0].user_id)

    def _answer(self, questions: list[_Question]) -> None:
        asks = [question.ask for question in questions]
        while True:
            # Before the look-up: what is read then may be old when it comes.
            until, seen = self._clock() + KEEP_S, self._changes
            found = self._look_up(asks)
            # A right that ends while we read may be read as still good.
            if seen == self._changes:
                break
        for question in questions:
            question.answer = found[question.ask]
            if isinstance(question.answer, str):
                self._remember(question.ask, until, question.answer)

    def _remember(self, ask: Ask, until: float, name: str) -> None:
        caller, stream = ask
        key = (caller.is_admin, stream)
        is_new = key not in self._known.get(caller.user_id, {})
        if is_new and self._count >= _MOST:
            self._known.clear()
            self._count = 0
        self._known.setdefault(caller.user_id, {})[key] = _Known(until, name)
        self._count += is_new

    def on_committed(self, events: Iterable[Event], _controls: object) -> None:
        """Drop what a change of this node ended. Controls are told of by `forget`."""
        for event in events:
            if event.type in _OF_ALL:
                self._forget_all()
            elif event.type in _OF_ONE and event.stream.startswith("user:"):
                self._forget_user(event.stream.removeprefix("user:"))

    def forget(self, control: Control) -> None:
        """Drop what a control says is no longer so."""
        if control.user_id:
            self._forget_user(control.user_id)
        else:
            self._forget_all()

    def _forget_user(self, user_id: str) -> None:
        self._changes += 1
        self._count -= len(self._known.pop(user_id, {}))

    def _forget_all(self) -> None:
        self._changes += 1
        self._known.clear()
        self._count = 0
