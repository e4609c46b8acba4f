"""A bus that breaks the only promises that a bus could be thought to make.

Between the buses of `MemoryExchange`, hints are dropped, doubled, held back and mixed up, by a
source of randomness of the test's own. What is held back comes when the test says `release`.
"""

import random
from dataclasses import dataclass

from realtime.bus import BusListener, Hint
from realtime.bus_memory import MemoryBus, MemoryExchange


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each is, between 0 and 1."""

    drop: float = 0.2
    double: float = 0.2
    delay: float = 0.3


NONE_ARRIVE = Faults(drop=1.0, double=0.0, delay=0.0)


class FaultyEar:
    """Stands between a bus and its node, and spoils what comes."""

    def __init__(self, listener: BusListener, rng: random.Random, faults: Faults) -> None:
        self.held: list[Hint] = []
        self.dropped = 0
        self.faults = faults
        self._listener = listener
        self._rng = rng

    def on_hint(self, hint: Hint) -> None:
        """Drop it, or give it once or twice, now or later."""
        if self._rng.random() < self.faults.drop:
            self.dropped += 1
            return
        for _ in range(2 if self._rng.random() < self.faults.double else 1):
            if self._rng.random() < self.faults.delay:
                self.held.append(hint)
            else:
                self._listener.on_hint(hint)

    def release(self) -> None:
        """Give some of what was held back, in any order."""
        self._rng.shuffle(self.held)
        for _ in range(self._rng.randint(0, len(self.held))):
            self._listener.on_hint(self.held.pop())

    def __getattr__(self, name: str) -> object:
        return getattr(self._listener, name)  # the rest is passed on as it is


class FaultyBus(MemoryBus):
    """One node's end: it speaks as it should, and hears badly."""

    def __init__(self, exchange: MemoryExchange, rng: random.Random, faults: Faults) -> None:
        super().__init__(exchange)
        self._rng = rng
        self._faults = faults
        self.ear: FaultyEar  # from the start on

    def start(self, listener: BusListener) -> None:
        """Begin to hear the others, badly."""
        self.ear = FaultyEar(listener, self._rng, self._faults)
        super().start(self.ear)  # type: ignore[arg-type] # the rest of it is passed on
