"""The bus on Redis: a channel for each stream, and one for word that concerns every node.

A message is a head of a few bytes and the wire form as it was rendered by the node that
committed it; no node parses what it only passes on. On a cluster each channel lives on the server
that has its slot (sharded Pub/Sub, Redis 7).
"""

import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import structlog
from pydantic import TypeAdapter

from core import json
from core.events import Control
from core.metrics import BUS_HINTS, BUS_STRANGE, BUS_UP
from realtime import green
from realtime.bus import BusListener, Hint, SignalHint
from realtime.client_redis import FAILURES, RedisAddress
from realtime.link_redis import PLAIN, SHARDED, Link

_log = structlog.get_logger(__name__)

# Old and new nodes live side by side while a deployment rolls: who does not know a version
# drops the message, and repairs from the log.
VERSION = 1
_HEAD = struct.Struct("!BBBQ")  # version, kind, length of the epoch or origin, offset
_EVENT, _SIGNAL, _CONTROL, _PRESENCE = _KINDS = range(4)
# Fields that a newer node added are passed over.
_READ_CONTROL = TypeAdapter(Control)
_REWIRE_S = 1.0
_LOOK_S = 0.25
_TELL_S = 60.0


class RedisBus:
    """One node's end. `node_id` tells its own signals and word apart from others'."""

    def __init__(self, address: RedisAddress, node_id: str, prefix: str) -> None:
        self._address = address
        self._node_id = node_id
        self._origin = node_id.encode()
        self._stream_prefix = f"{prefix}:stream:".encode()
        self._control = f"{prefix}:control".encode()
        self._beat = f"{prefix}:node:{node_id}"
        self._joined: set[bytes] = set()
        self._links: dict[str, Link] = {}
        self._owner: Callable[[bytes], str] = lambda _channel: ""
        self._listener: BusListener | None = None
        self._is_stopped = False
        self._must_rewire = False
        self._told_strange_s = -_TELL_S

    # What the node calls. None of it waits for Redis.

    def start(self, listener: BusListener) -> None:
        """Begin to hear the others."""
        self._listener = listener
        if self._address.is_cluster:
            green.spawn(self._rewire_for_ever)
        else:
            client: Any = self._address.client()
            self._add_link("", client.connection_pool, self._beat.encode())
            self._subscribe_all()
        green.spawn(self._watch_for_ever)

    def stop(self) -> None:
        """Speak and hear no more."""
        self._is_stopped = True
        for link in self._links.values():
            link.stop()

    def is_up(self) -> bool:
        """Tell whether the node's own heartbeats came round lately."""
        return bool(self._links) and all(link.is_up() for link in self._links.values())

    def join(self, stream: str) -> None:
        """Hear hints of a stream from soon on; then the listener is told."""
        channel = self._channel(stream)
        self._joined.add(channel)
        self._with_link(channel, lambda link: link.want(channel))

    def leave(self, stream: str) -> None:
        """Hear no more of a stream."""
        channel = self._channel(stream)
        self._joined.discard(channel)
        self._with_link(channel, lambda link: link.unwant(channel))

    def publish(self, hint: Hint) -> None:
        """Tell the other nodes of an event."""
        epoch = hint.epoch.encode()
        head = _HEAD.pack(VERSION, _EVENT, len(epoch), hint.offset)
        self._say(self._channel(hint.stream), head + epoch + hint.json)

    def signal(self, signal: SignalHint) -> None:
        """Pass a signal to the other nodes."""
        kind = _PRESENCE if signal.presence else _SIGNAL
        self._say(self._channel(signal.stream), self._from_me(kind, signal.json))

    def control(self, control: Control) -> None:
        """Tell every other node that somebody's access ended."""
        self._say(self._control, self._from_me(_CONTROL, json.dumps(asdict(control))))

    def _channel(self, stream: str) -> bytes:
        return self._stream_prefix + stream.encode()

    def _from_me(self, kind: int, body: bytes) -> bytes:
        return _HEAD.pack(VERSION, kind, len(self._origin), 0) + self._origin + body

    def _say(self, channel: bytes, message: bytes) -> None:
        self._with_link(channel, lambda link: link.say(channel, message))

    def _with_link(self, channel: bytes, work: Callable[[Link], None]) -> None:
        link = self._links.get(self._owner(channel))
        if link is not None:
            work(link)

    # What comes by the links.

    def on_message(self, channel: bytes, message: bytes) -> None:
        """Take a message of Redis; what is not understood is counted and dropped."""
        try:
            heard = self._read(channel, message)
        except (struct.error, ValueError):
            self._on_strange(message[:1])
            return
        if self._listener is None:
            return
        if isinstance(heard, Hint):
            BUS_HINTS.inc()
            self._listener.on_hint(heard)
        elif isinstance(heard, SignalHint):
            self._listener.on_signal(heard)
        elif heard is not None:
            self._listener.on_control(heard)

    def _read(self, channel: bytes, message: bytes) -> Hint | SignalHint | Control | None:
        version, kind, length, offset = _HEAD.unpack_from(message)
        if version != VERSION or kind not in _KINDS:
            raise ValueError("another version")
        end = _HEAD.size + length
        name, body = message[_HEAD.size : end], message[end:]
        if kind == _EVENT:
            return Hint(self._stream(channel), name.decode(), offset, body)
        if name == self._origin:
            return None
        if kind == _CONTROL:
            return _READ_CONTROL.validate_json(body)
        return SignalHint(self._stream(channel), body, kind == _PRESENCE)

    def _stream(self, channel: bytes) -> str:
        return channel.removeprefix(self._stream_prefix).decode()

    def _on_strange(self, version: bytes) -> None:
        BUS_STRANGE.inc()
        if time.monotonic() - self._told_strange_s > _TELL_S:
            self._told_strange_s = time.monotonic()
            _log.warning("messages of another version", theirs=version.hex(), ours=VERSION)

    def on_subscribed(self, channel: bytes) -> None:
        """Tell the node that a stream is heard of from now on."""
        if channel in self._joined and self._listener is not None:
            self._listener.on_joined(self._stream(channel))

    def on_moved(self) -> None:
        """Ask the cluster again who has which channel."""
        self._must_rewire = True

    # Which server has which channel.

    def _add_link(self, name: str, pool: Any, beat: bytes) -> Link:
        def connect() -> Any:
            # Not `make_connection`: the pool counts what it ever made, and refuses to go on
            # after a hundred failures.
            connection = pool.connection_class(**pool.connection_kwargs)
            connection.connect()
            return connection

        words = SHARDED if self._address.is_cluster else PLAIN
        self._links[name] = link = Link(connect, words, beat, self)
        link.start()
        return link

    def _subscribe_all(self) -> None:
        for channel in (self._control, *self._joined):
            self._with_link(channel, lambda link, channel=channel: link.want(channel))  # type: ignore[misc]

    def _rewire_for_ever(self) -> None:
        self._must_rewire = True
        while not self._is_stopped:
            if self._must_rewire or not self.is_up():
                try:
                    self._must_rewire = False
                    self._rewire(self._address.client())
                except FAILURES as error:
                    _log.warning("cluster does not answer", reason=type(error).__name__)
                except Exception:  # noqa: BLE001 - the loop must live on
                    _log.exception("wiring to the cluster failed")
            green.sleep(_REWIRE_S)

    def _rewire(self, cluster: Any) -> None:
        nodes = {node.name: node for node in cluster.get_primaries()}
        owners = {slot: found[0].name for slot, found in cluster.nodes_manager.slots_cache.items()}
        for name in self._links.keys() - nodes.keys():
            self._links.pop(name).stop()
        for name, node in nodes.items():
            if name not in self._links:
                pool = cluster.get_redis_connection(node).connection_pool
                self._add_link(name, pool, self._beat_on(cluster, owners, name))
        self._owner = lambda channel: owners.get(cluster.keyslot(channel), "")
        self._share_out()

    def _beat_on(self, cluster: Any, owners: Mapping[int, str], name: str) -> bytes:
        # A channel of our own whose slot is this server's: about one in as many as there are.
        tries = (f"{self._beat}:{number}".encode() for number in range(100_000))
        return next(beat for beat in tries if owners.get(cluster.keyslot(beat)) == name)

    def _share_out(self) -> None:
        for channel in (self._control, *self._joined):
            owner = self._owner(channel)
            for name, link in self._links.items():
                if name == owner and channel not in link.wanted:
                    link.want(channel)
                elif name != owner:
                    link.unwant(channel)

    def _watch_for_ever(self) -> None:
        was_up = None
        while not self._is_stopped:
            is_up = self.is_up()
            if is_up is not was_up:
                BUS_UP.set(int(is_up))
                _log.info("bus is up" if is_up else "bus is not up")
            was_up = is_up
            green.sleep(_LOOK_S)
