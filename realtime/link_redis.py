"""One Redis server: one connection to speak by, and one to hear by, so that neither takes the
other down. Each belongs to one greenlet, which alone reads, writes and closes it.

What can't be sent is dropped. A heartbeat goes round over a channel of our own: a subscription
that has gone deaf is found within seconds, and everything is then subscribed again.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import redis
import structlog

from core.metrics import BUS_DROPPED
from realtime import green
from realtime.client_redis import FAILURES

_log = structlog.get_logger(__name__)

BEAT_S = 1.0
DEAF_S = 3.5
_MOST_WAITING_BYTES = 32 * 1024 * 1024
# What waits weighs more than its bytes.
_ITEM_BYTES = 300
_BATCH = 256
_SUBSCRIBE_AT_ONCE = 500
# So many messages are handled in one go before others may run.
_HEARD_AT_ONCE = 200
_FIRST_RETRY_S = 0.1
_SLOWEST_RETRY_S = 2.0

_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Words:
    """What the commands are called: a cluster spreads channels over its servers."""

    publish: bytes
    subscribe: bytes
    unsubscribe: bytes


PLAIN = Words(b"PUBLISH", b"SUBSCRIBE", b"UNSUBSCRIBE")
SHARDED = Words(b"SPUBLISH", b"SSUBSCRIBE", b"SUNSUBSCRIBE")


class LinkListener(Protocol):
    """Hears what a link hears."""

    def on_message(self, channel: bytes, message: bytes) -> None:
        """A message came. Must not wait for anything."""

    def on_subscribed(self, channel: bytes) -> None:
        """Redis took a subscription: what was published before it was missed."""

    def on_moved(self) -> None:
        """The channels of this server belong to another one now."""


class Link:
    """The two connections to one server. `connect` opens a new connection each time."""

    def __init__(
        self,
        connect: Callable[[], Any],
        words: Words,
        beat_channel: bytes,
        listener: LinkListener,
    ) -> None:
        self._connect = connect
        self._words = words
        self._beat_channel = beat_channel
        self._listener = listener
        self._waiting = green.BoundedQueue(_MOST_WAITING_BYTES)
        self._wanted: set[bytes] = set()
        # Channels that are to be subscribed to or left, as `_wanted` says by then.
        self._changed: set[bytes] = set()
        self._ears: Any = None
        self._heard_at_s = _NEVER
        self._is_mute = False
        self._is_stopped = False

    def start(self) -> None:
        """Begin to speak and to hear."""
        for work in (self._speak_for_ever, self._hear_for_ever, self._beat_for_ever):
            green.spawn(work)

    def stop(self) -> None:
        """Speak and hear no more."""
        self._is_stopped = True
        # Wakes who waits for something to say; who hears wakes by itself within a second.
        self._waiting.offer((b"", b""), 0)

    def is_up(self) -> bool:
        """Tell whether our own heartbeat came round lately."""
        return time.monotonic() - self._heard_at_s < DEAF_S

    @property
    def wanted(self) -> set[bytes]:
        """The channels that are, or are to be, subscribed to."""
        return self._wanted

    def want(self, channel: bytes) -> None:
        """Subscribe soon, and again after every failure."""
        self._wanted.add(channel)
        self._change(channel)

    def unwant(self, channel: bytes) -> None:
        """Unsubscribe soon."""
        if channel in self._wanted:
            self._wanted.discard(channel)
            self._change(channel)

    def _change(self, channel: bytes) -> None:
        if not self._changed:
            # Wakes who hears: it alone may write to its connection.
            self.say(self._beat_channel, b"")
        self._changed.add(channel)

    def say(self, channel: bytes, message: bytes) -> None:
        """Publish soon, in the order of the calls; or not at all."""
        weight = _ITEM_BYTES + len(channel) + len(message)
        if not self._waiting.offer((channel, message), weight):
            BUS_DROPPED.inc()

    # Speaking.

    def _speak_for_ever(self) -> None:
        mouth: Any = None
        while not self._is_stopped:
            batch = self._waiting.take(_BATCH)
            try:
                mouth = mouth or self._connect()
                self._say(mouth, [item for item in batch if item[0]])
                self._is_mute = False
            except Exception as error:  # noqa: BLE001 - the loop must live on
                BUS_DROPPED.inc(len(batch))
                self._tell_of_drop(error)
                _close(mouth)
                mouth = None
                green.sleep(_jittered(_FIRST_RETRY_S))
        _close(mouth)

    def _tell_of_drop(self, error: Exception) -> None:
        if not isinstance(error, FAILURES):
            _log.error("hints are dropped", exc_info=error)
        elif not self._is_mute:
            # Once: an outage would fill the log with one line for each batch.
            _log.warning("hints are dropped", reason=type(error).__name__)
        self._is_mute = True

    def _say(self, mouth: Any, batch: Sequence[tuple[bytes, bytes]]) -> None:
        if not batch:
            return
        publish = self._words.publish
        commands = [(publish, channel, message) for channel, message in batch]
        mouth.send_packed_command(mouth.pack_commands(commands), check_health=False)
        refused = None
        for _ in batch:
            try:
                mouth.read_response(disable_decoding=True)
            except redis.ResponseError as error:
                refused = error
        if refused is not None:
            self._on_refused(refused)

    def _on_refused(self, error: redis.ResponseError) -> None:
        if str(error).startswith(("MOVED", "CLUSTERDOWN")):
            self._listener.on_moved()
        raise redis.ConnectionError(str(error).partition(" ")[0]) from error

    def _beat_for_ever(self) -> None:
        while not self._is_stopped:
            self.say(self._beat_channel, b"")
            green.sleep(BEAT_S)

    # Hearing.

    def _hear_for_ever(self) -> None:
        wait_s = _FIRST_RETRY_S
        while not self._is_stopped:
            try:
                self._open_ears()
                self._hear_until_it_fails()
            except FAILURES as error:
                if not self._is_stopped:
                    _log.warning("bus is down", reason=type(error).__name__)
            except Exception:  # noqa: BLE001 - the loop must live on
                _log.exception("bus failed")
            if self._heard_at_s != _NEVER:
                wait_s = _FIRST_RETRY_S
            self._close_ears()
            green.sleep(_jittered(wait_s))
            wait_s = min(wait_s * 2, _SLOWEST_RETRY_S)

    def _open_ears(self) -> None:
        self._ears = self._connect()
        self._changed.clear()
        self._send(self._words.subscribe, [self._beat_channel, *self._wanted])

    def _close_ears(self) -> None:
        ears, self._ears = self._ears, None
        self._heard_at_s = _NEVER
        _close(ears)

    def _hear_until_it_fails(self) -> None:
        opened_at_s, count = time.monotonic(), 0
        while not self._is_stopped:
            self._hear_one()
            last_s = max(self._heard_at_s, opened_at_s)
            if time.monotonic() - last_s > DEAF_S:
                raise redis.TimeoutError("our own heartbeat does not come round")
            count += 1
            if count % _HEARD_AT_ONCE == 0:
                green.sleep(0)

    def _hear_one(self) -> None:
        self._subscribe_to_changes()
        try:
            # Not `can_read`: where redis-py was imported before the standard library was made to
            # cooperate, that stops every greenlet.
            said = self._ears.read_response(
                disable_decoding=True, timeout=BEAT_S, disconnect_on_error=False
            )
        except redis.TimeoutError:
            return
        except redis.ResponseError as error:
            self._on_refused(error)
        else:
            self._take(said)

    def _take(self, said: Any) -> None:
        kind, channel = said[0], said[1]
        if kind in (b"message", b"smessage"):
            if channel == self._beat_channel:
                self._heard_at_s = time.monotonic()
            else:
                self._listener.on_message(channel, said[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            if channel == self._beat_channel:
                self.say(channel, b"")
            else:
                self._listener.on_subscribed(channel)
        elif kind == b"sunsubscribe" and channel in self._wanted:
            # The server says so by itself when the slot of the channel has moved.
            self._listener.on_moved()

    def _subscribe_to_changes(self) -> None:
        if self._changed:
            changed, self._changed = self._changed, set()
            self._send(self._words.unsubscribe, changed - self._wanted)
            self._send(self._words.subscribe, changed & self._wanted)

    def _send(self, command: bytes, channels: Iterable[bytes]) -> None:
        ears, names = self._ears, list(channels)
        for first in range(0, len(names), _SUBSCRIBE_AT_ONCE):
            part = names[first : first + _SUBSCRIBE_AT_ONCE]
            # A cluster takes channels of one slot in a command; so each has a command.
            several = (
                [(command, name) for name in part] if self._words is SHARDED else [(command, *part)]
            )
            ears.send_packed_command(ears.pack_commands(several), check_health=False)


def _close(connection: Any) -> None:
    if connection is not None:
        connection.disconnect()


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
