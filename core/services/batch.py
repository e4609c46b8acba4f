"""Many askers, one query: what is asked for while a look-up runs is looked up together, next.

Who comes first lets those who are ready come in, as long as there are any, and begins: nobody
waits for a clock. So in a storm of reconnects a thousand clients cost the database a few queries.
"""

import time
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from core.store.rounds import Rounds

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Keys of one look-up, unless one asker alone has more.
_AT_ONCE = 500


def _let_others_run() -> None:
    # Twice: who was heard in the first turn of the loop runs in the second.
    time.sleep(0)
    time.sleep(0)


class _Ask(Generic[K, V]):
    """What one asks for, and what was found for all who asked with them."""

    __slots__ = ("found", "keys")

    def __init__(self, keys: list[K]) -> None:
        self.keys = keys
        self.found: dict[K, V] = {}


class Batch(Generic[K, V]):
    """Looks things up by key. What is not there is left out.

    A look-up begins after it was asked for, so it sees all that was committed before. `weigh`
    tells how much of the `most` of one look-up a key takes.
    """

    def __init__(
        self,
        look_up: Callable[[list[K]], dict[K, V]],
        *,
        most: int = _AT_ONCE,
        weigh: Callable[[list[K]], int] = len,
    ) -> None:
        self._look_up = look_up
        self._weigh = weigh
        self._rounds: Rounds[_Ask[K, V]] = Rounds(
            self._answer, most=most, gather=_let_others_run, gather_on=True
        )

    def find(self, keys: Iterable[K]) -> dict[K, V]:
        """Look up many keys.

        Raises: what the look-up raises.
        """
        ask: _Ask[K, V] = _Ask(list(keys))
        self._rounds.do(ask, self._weigh(ask.keys))
        return {key: ask.found[key] for key in ask.keys if key in ask.found}

    def _answer(self, asks: list[_Ask[K, V]]) -> None:
        wanted = dict.fromkeys(key for ask in asks for key in ask.keys)
        found = self._look_up(list(wanted))
        for ask in asks:
            ask.found = found
