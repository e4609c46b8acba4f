"""The bus inside one process: for the embedded mode, where there is one node, and for tests."""

from core.events import Control
from realtime.bus import BusListener, Hint, SignalHint


class MemoryExchange:
    """Where the buses of one process meet."""

    def __init__(self) -> None:
        self.buses: list[MemoryBus] = []


class MemoryBus:
    """One node's end."""

    def __init__(self, exchange: MemoryExchange | None = None) -> None:
        self._exchange = exchange or MemoryExchange()
        self.joined: set[str] = set()
        self.listener: BusListener | None = None

    def start(self, listener: BusListener) -> None:
        """Begin to hear the others."""
        self.listener = listener
        self._exchange.buses.append(self)

    def stop(self) -> None:
        """Speak and hear no more."""
        if self in self._exchange.buses:
            self._exchange.buses.remove(self)

    def is_up(self) -> bool:
        """Tell whether the others are heard: there is nothing between."""
        return True

    def join(self, stream: str) -> None:
        """Hear hints of a stream from now on."""
        self.joined.add(stream)

    def leave(self, stream: str) -> None:
        """Hear no more of a stream."""
        self.joined.discard(stream)

    def publish(self, hint: Hint) -> None:
        """Tell the other nodes of an event."""
        for listener in self._others(hint.stream):
            listener.on_hint(hint)

    def signal(self, signal: SignalHint) -> None:
        """Pass a signal to the other nodes."""
        for listener in self._others(signal.stream):
            listener.on_signal(signal)

    def control(self, control: Control) -> None:
        """Tell every other node that somebody's access ended."""
        for listener in self._others(None):
            listener.on_control(control)

    def _others(self, stream: str | None) -> list[BusListener]:
        return [
            bus.listener
            for bus in self._exchange.buses
            if bus is not self
            and bus.listener is not None
            and (stream is None or stream in bus.joined)
        ]
