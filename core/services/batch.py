"""Many askers, one query: what is asked for while a look-up runs is looked up together, next.

At rest a look-up begins at once. In a storm of reconnects it waits a moment for others to join
in, so a thousand clients cost the database tens of queries.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# More askers than this at once are a storm.
_FEW = 4
_PATIENCE_S = 0.15
_STEP_S = 0.01
# So many keys are enough to wait for.
_MANY = 200


class _Round(Generic[K, V]):
    """One look-up to be: what is asked for, and then what was found."""

    def __init__(self) -> None:
        self.keys: dict[K, None] = {}
        self.askers = 0
        self.is_done = False
        self.found: dict[K, V] = {}
        self.error: Exception | None = None

    def look_up(self, look_up: Callable[[list[K]], dict[K, V]]) -> None:
        try:
            self.found = look_up(list(self.keys))
        except Exception as error:  # noqa: BLE001 - raised again, to everybody who asked
            self.error = error
        self.is_done = True


class Batch(Generic[K, V]):
    """Looks things up by key. What is not there is left out.

    A look-up begins after it was asked for, so it sees all that was committed before.
    """

    def __init__(self, look_up: Callable[[list[K]], dict[K, V]]) -> None:
        self._look_up = look_up
        # One look-up at a time; whoever gets the turn first does it for all of its round.
        self._turn = threading.Lock()
        self._next: _Round[K, V] = _Round()
        self._last_askers = 0

    def find(self, keys: Iterable[K]) -> dict[K, V]:
        """Look up many keys.

        Raises: what the look-up raises.
        """
        wanted = list(keys)
        mine = self._next
        mine.keys.update(dict.fromkeys(wanted))
        mine.askers += 1
        with self._turn:
            if not mine.is_done:
                self._wait_for_more(mine)
                self._next = _Round()
                self._last_askers = mine.askers
                mine.look_up(self._look_up)
        if mine.error is not None:
            raise mine.error
        return {key: mine.found[key] for key in wanted if key in mine.found}

    def _wait_for_more(self, mine: _Round[K, V]) -> None:
        if self._last_askers <= _FEW:
            return
        until = time.monotonic() + _PATIENCE_S
        while len(mine.keys) < _MANY and time.monotonic() < until:
            time.sleep(_STEP_S)
