"""Greenlets, timers, threads, signals, what can be read and written.

With the other `green_*.py` the only file that names eventlet. Kept small enough to
be written again for another loop in a day.
"""

import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

# It warns of its own retirement at each import; docs/decisions has our answer.
warnings.filterwarnings("ignore", message="\\s*Eventlet is deprecated")

import eventlet
import eventlet.event
import eventlet.hubs
import eventlet.patcher
import eventlet.queue
import eventlet.semaphore
import eventlet.tpool
import eventlet.wsgi
import greenlet
import structlog

_log = structlog.get_logger(__name__)

# How many password hashes are made at once: each takes a thread and 19 MiB.
_THREADS = 2
# What a packet weighs beside its data.
_PACKET_BYTES = 200


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Forget the call."""


def patch() -> None:
    """Make blocking calls of the standard library and of psycopg cooperate. Before other imports.

    psycopg reads its variable at its first import; its other ways of waiting stop the loop.
    """
    os.environ.setdefault("PSYCOPG_WAIT_FUNC", "wait_select")
    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
    eventlet.monkey_patch()


def is_patched() -> bool:
    """Tell whether `patch` was called in this process, or in the one that it was forked from."""
    return bool(eventlet.patcher.is_monkey_patched("socket"))


def get_waiter() -> Callable[[int], object] | None:
    """Give what lets others run until a descriptor can be read; None where nothing is patched."""
    return wait_readable if is_patched() else None


def wait_readable(descriptor: int) -> None:
    """Let others run until there is something to read."""
    eventlet.hubs.trampoline(descriptor, read=True, mark_as_closed=bool)


class _Census:
    """How many greenlets live. Counted as they come and go: asking the collector takes long."""

    alive = 0

    def run(self, work: Callable[..., object], *args: object) -> None:
        self.alive += 1
        try:
            work(*args)
        finally:
            self.alive -= 1


_census = _Census()


counted = _census.run


def count_greenlets() -> int:
    """Count the greenlets of this process, beside those of the libraries."""
    return _census.alive


def spawn(work: Callable[..., object], *args: object) -> None:
    """Run something soon, beside what runs now."""
    eventlet.spawn_n(_census.run, work, *args)


# Greenlets that wait for work: as many as are worth keeping.
_MOST_IDLE = 256
_idle: list[greenlet.greenlet] = []
# Work that begins in the next turn of the loop, all by one call of it.
_ready: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()


def run(work: Callable[..., object], *args: object) -> None:
    """Run something soon in a greenlet that is used again: cheaper than `spawn` by far."""
    if not _ready:
        _hub().schedule_call_global(0, _begin_all)
    _ready.append((work, args))


def _begin_all() -> None:
    # Not what comes meanwhile: others have a turn before.
    number = len(_ready)
    try:
        while number:
            number -= 1
            worker = _idle.pop() if _idle else greenlet.greenlet(_work, _hub().greenlet)
            # A list that is emptied: a greenlet holds what it was first called with to its end.
            worker.switch([_ready.popleft()])
    finally:
        if _ready:
            _hub().schedule_call_global(0, _begin_all)


def let_idle_go() -> bool:
    """End half of the greenlets that wait for work; tell whether that is all. Called in turns."""
    surplus = len(_idle) // 2
    leaving, _idle[:surplus] = _idle[:surplus], []
    for worker in leaving:
        _hub().schedule_call_global(0, worker.switch, [])
    return not leaving


def _work(job: list[Any]) -> None:
    me = greenlet.getcurrent()
    while job:
        work, args = job.pop()
        try:
            _census.run(work, *args)
        except Exception:  # noqa: BLE001 - the worker goes on with other work
            _log.exception("work failed")
        if len(_idle) >= _MOST_IDLE:
            return
        work = args = None
        _idle.append(me)
        job = _hub().switch()


def soon(work: Callable[..., object], *args: object) -> None:
    """Call something in the loop itself, after what is ready now. It must not wait."""
    _hub().schedule_call_global(0, work, *args)


def _hub() -> Any:
    return eventlet.hubs.get_hub()


class _Listener:
    """What the loop keeps for a descriptor that is watched: one for each connection, so small.

    Eventlet's own has a dict, and holds the greenlet that it was made in with all that hangs on
    that.
    """

    __slots__ = ("cb", "evtype", "fileno", "spent")

    mark_as_closed = None

    def __init__(self, kind: str, descriptor: int, call: Callable[[int], object], *_more: object):
        self.evtype, self.fileno, self.cb = kind, descriptor, call
        self.spent = False

    @property
    def greenlet(self) -> greenlet.greenlet:
        """Give whom the loop would wake if the descriptor were somebody else's by now."""
        return _hub().greenlet

    def tb(self, _error: Exception) -> None:
        """Hear of that."""

    def defang(self) -> None:
        """Be called no more."""
        self.cb, self.spent = bool, True


def watch_readable(descriptor: int, call: Callable[[int], object]) -> Any:
    """Call something whenever there is something to read, in the loop itself; see `unwatch`."""
    return _watch(eventlet.hubs.hub.READ, descriptor, call)


def watch_writable(descriptor: int, call: Callable[[int], object]) -> Any:
    """Call something whenever more can be written, in the loop itself; see `unwatch`."""
    return _watch(eventlet.hubs.hub.WRITE, descriptor, call)


def _watch(kind: str, descriptor: int, call: Callable[[int], object]) -> Any:
    hub = _hub()
    usual, hub.lclass = hub.lclass, _Listener
    try:
        return hub.add(kind, descriptor, call, None, None)
    finally:
        hub.lclass = usual


def unwatch(listener: Any) -> None:
    """Call no more. Before the descriptor is closed."""
    _hub().remove(listener)


class Task:
    """What Engine.IO takes for a thread: a greenlet, without the weight of one."""

    def __init__(
        self, target: Callable[..., object], args: Sequence[Any] = (), kwargs: Any = None
    ) -> None:
        self._work, self._args, self._named = target, args, kwargs or {}
        self._done = eventlet.event.Event()

    def start(self) -> None:
        """Run it soon."""
        spawn(self._run)

    def join(self) -> None:
        """Wait for its end."""
        self._done.wait()

    def _run(self) -> None:
        try:
            self._work(*self._args, **self._named)
        finally:
            self._done.send()


def later(seconds: float, work: Callable[..., object], *args: object) -> Timer:
    """Run something after a time, in a greenlet of its own."""
    timer: Timer = eventlet.hubs.get_hub().schedule_call_global(
        seconds, eventlet.spawn_n, _census.run, work, *args
    )
    return timer


def sleep(seconds: float) -> None:
    """Let others run for a time."""
    eventlet.sleep(seconds)


def make_lock(turns: int = 1) -> AbstractContextManager[object]:
    """Make a lock that so many may hold; others run while somebody waits for it."""
    lock: AbstractContextManager[object] = eventlet.semaphore.Semaphore(turns)
    return lock


def in_thread(work: Callable[[], Any]) -> Any:
    """Run something that computes for long on a real thread, and wait for it greenly."""
    eventlet.tpool.set_num_threads(_THREADS)
    return eventlet.tpool.execute(work)


def mark_handled() -> None:
    """Tell the WSGI server that the socket was taken over and needs no response."""
    eventlet.wsgi.WSGI_LOCAL.already_handled = True


class ByteQueue(eventlet.queue.Queue):  # type: ignore[misc]
    """A queue of Engine.IO packets that knows how many bytes wait in it.

    Beyond `max_bytes`, whoever puts them there, packets are dropped and `on_overflow` is called:
    the last bound on what one client can make us hold.
    """

    queued_bytes = 0
    max_bytes = 1 << 24
    on_overflow: Callable[[], object] = staticmethod(lambda: None)

    def _put(self, item: Any) -> None:
        if item is not None and self.queued_bytes > self.max_bytes:
            spawn(self.on_overflow)
            return
        self.queued_bytes += _weight(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.queued_bytes -= _weight(item)
        return item


class Bell:
    """Wakes the one greenlet that waits for it, also if it rang before."""

    def __init__(self) -> None:
        self._is_rung = False
        self._waiting: eventlet.event.Event | None = None

    def ring(self) -> None:
        """Wake it soon."""
        self._is_rung = True
        if self._waiting is not None:
            self._waiting.send()
            self._waiting = None

    def wait(self, seconds: float) -> bool:
        """Wait until it rings; tell whether it did."""
        if not self._is_rung:
            self._waiting = eventlet.event.Event()
            try:
                self._waiting.wait(timeout=seconds)
            finally:
                self._waiting = None
        was_rung, self._is_rung = self._is_rung, False
        return was_rung


class BoundedQueue:
    """A queue between greenlets that refuses what would make it weigh too much."""

    def __init__(self, max_weight: int) -> None:
        self._left = max_weight
        self._queue = eventlet.queue.LightQueue()

    def offer(self, item: Any, weight: int) -> bool:
        """Put something at its end; False: there is no room. Does not wait."""
        if weight > self._left:
            return False
        self._left -= weight
        self._queue.put_nowait((item, weight))
        return True

    def take(self, most: int) -> list[Any]:
        """Wait until there is something, and take it, with what came after it."""
        taken = [self._queue.get()]
        while len(taken) < most and not self._queue.empty():
            taken.append(self._queue.get_nowait())
        self._left += sum(weight for _, weight in taken)
        return [item for item, _ in taken]


def _weight(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return _PACKET_BYTES + (len(data) if isinstance(data, str | bytes) else 0)


def on_signals(works: Mapping[int, Callable[[], object]]) -> None:
    """Run something whenever a signal comes.

    By way of a pipe: the loop sleeps until something is to be read, and a signal alone does not
    wake it.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in works:
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        while True:
            eventlet.hubs.trampoline(reader, read=True)
            # A byte for every signal that anybody has a handler for: ours or not.
            for number in os.read(reader, 64):
                if number in works:
                    spawn(works[number])

    spawn(wait)


def exit_now(status: int) -> None:
    """End the process at once, whatever still runs."""
    os._exit(status)
