"""python-socketio's two clients as they come, behind one face, so that one walk leads both.

Nothing of theirs is replaced: packets are kept by a handler for every event, in the order in
which the client hands them out, and reconnecting is their own.
"""

import asyncio
import gc
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Self, TypeVar

import socketio

JSON = dict[str, Any]
T = TypeVar("T")
DEADLINE_S = 30.0
_FAST = {"reconnection_delay": 0.1, "reconnection_delay_max": 0.5, "handle_sigint": False}


class RefusedError(Exception):
    """The connect was refused; `said` is what the client's `connect_error` handler was given."""

    def __init__(self, said: Any) -> None:
        super().__init__(repr(said))
        self.said = said


class Driver(ABC):
    """One client. Every call waits, at most `DEADLINE_S`."""

    # Whether the client hands events out in the order in which they came.
    keeps_order: bool

    def __init__(self, url: str) -> None:
        self.url = url
        self.packets: list[tuple[str, Any]] = []
        self._changed = threading.Condition()
        self._refusal: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @abstractmethod
    def _connect(self, **named: Any) -> None: ...

    @abstractmethod
    def _call(self, event: str, argument: Any) -> Any: ...

    @abstractmethod
    def send_all(self, event: str, arguments: Sequence[Any]) -> None:
        """Send packets one after the other, without waiting for acks."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect, and leave nothing running."""

    @property
    @abstractmethod
    def transport(self) -> str:
        """The transport in use."""

    def connect(
        self,
        auth: Any,
        transports: Sequence[str] = ("websocket",),
        namespaces: Sequence[str] = ("/",),
    ) -> JSON:
        """Connect, wait for `ready` and return it.

        Raises: RefusedError.
        """
        seen = len(self.named("ready"))
        named = {"auth": auth, "transports": list(transports), "namespaces": list(namespaces)}
        try:
            self._connect(**named, wait_timeout=DEADLINE_S)
        except socketio.exceptions.ConnectionError as error:
            raise RefusedError(self._refusal) from error
        return self.wait_for(lambda: self.named("ready")[seen:], "ready")[0]

    def ok(self, event: str, argument: Any = None) -> JSON:
        """Send a packet whose ack has to be ok, and return it."""
        ack: JSON = self._call(event, argument)
        assert ack["ok"] is True, f"{event} was refused: {ack}"
        return ack

    def refusal(self, event: str, argument: Any = None) -> JSON:
        """Send a packet that has to be refused, and return the error."""
        ack: JSON = self._call(event, argument)
        assert ack["ok"] is False, f"{event} was accepted: {ack}"
        error: JSON = ack["error"]
        return error

    def named(self, name: str) -> list[Any]:
        """Return the data of every packet of that name, as they were handed out."""
        return [data for packet, data in list(self.packets) if packet == name]

    def events(self, stream: str) -> list[JSON]:
        """Return a stream's events, live ones alone, in the order that the client promises."""
        found = [event for event in self.named("event") if event["stream"] == stream]
        return found if self.keeps_order else sorted(found, key=lambda event: event["offset"])

    def wait_for(self, find: Callable[[], T], what: str) -> T:
        """Return the first truthy result of `find`, asked after each packet."""
        end = time.monotonic() + DEADLINE_S
        with self._changed:
            while not (found := find()):
                assert time.monotonic() < end, f"no {what}; last: {self.packets[-5:]}"
                self._changed.wait(0.2)
        return found

    def wait_for_events(self, stream: str, count: int) -> list[JSON]:
        """Wait for so many live events of a stream."""
        self.wait_for(lambda: len(self.events(stream)) >= count, f"{count} events of {stream}")
        return self.events(stream)

    def wait_for_packet(self, name: str) -> Any:
        """Wait for a packet of that name, and return its data."""
        return self.wait_for(lambda: self.named(name), name)[0]

    def _remember(self, name: str, data: Any = None) -> None:
        with self._changed:
            self.packets.append((name, data))
            self._changed.notify_all()

    def _hook(self, client: Any) -> None:
        client.on("*", self._remember)
        client.on("connect_error", self._note_refusal)
        client.on("connect_error", self._note_refusal, namespace="/other")
        client.on("disconnect", lambda *_: self._remember("disconnect"))

    def _note_refusal(self, said: Any = None) -> None:
        self._refusal = said


class SyncDriver(Driver):
    """`socketio.Client`: it hands out each packet in a thread of its own, so they may overtake."""

    keeps_order = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._io = socketio.Client(**_FAST)
        self._hook(self._io)
        self._io.on("connect", self._note_socket)
        self._sockets: list[Any] = []

    @property
    def transport(self) -> str:
        return str(self._io.transport())

    def _connect(self, **named: Any) -> None:
        self._io.connect(self.url, **named)

    def _call(self, event: str, argument: Any) -> Any:
        return self._io.call(event, argument, timeout=DEADLINE_S)

    def send_all(self, event: str, arguments: Sequence[Any]) -> None:
        for argument in arguments:
            self._io.emit(event, argument)

    def close(self) -> None:
        self._io.shutdown()
        # Where the server ended a connection, the client leaves the socket to the collector.
        for sock in filter(None, self._sockets):
            sock.shutdown()
        if self._io.eio.http is not None:
            self._io.eio.http.close()

    def _note_socket(self) -> None:
        self._sockets.append(self._io.eio.ws)


class AsyncDriver(Driver):
    """`socketio.AsyncClient`, on an event loop in a thread."""

    keeps_order = True

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._io: Any = self._run(self._make())

    async def _make(self) -> Any:
        client = socketio.AsyncClient(**_FAST)
        self._hook(client)
        return client

    @property
    def transport(self) -> str:
        return str(self._io.transport())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * DEADLINE_S)

    def _connect(self, **named: Any) -> None:
        self._run(self._io.connect(self.url, **named))

    def _call(self, event: str, argument: Any) -> Any:
        return self._run(self._io.call(event, argument, timeout=DEADLINE_S))

    def send_all(self, event: str, arguments: Sequence[Any]) -> None:
        self._run(self._send_all(event, arguments))

    async def _send_all(self, event: str, arguments: Sequence[Any]) -> None:
        for argument in arguments:
            await self._io.emit(event, argument)

    def close(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        # Where the server ended or refused a connection, the client leaves its socket to the
        # collector: here, and not as a warning in the middle of somebody else's test.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self._io = None
            gc.collect()

    async def _end(self) -> None:
        await self._io.shutdown()
        if self._io.eio.http is not None:
            await self._io.eio.http.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


DRIVERS: dict[str, type[Driver]] = {"sync": SyncDriver, "async": AsyncDriver}
