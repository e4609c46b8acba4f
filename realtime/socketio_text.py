"""Socket.IO's packets as clients send them, read strictly. Pure: text in, what it says out."""

import re
from dataclasses import dataclass
from typing import Any

from core import json

_EVENT = re.compile(r"2(?:/,)?([0-9]{0,15})(\[.*)\Z", re.DOTALL)
_BINARY_EVENT = re.compile(r"5[0-9]{1,2}-(?:/,)?([0-9]{0,15})\[")
# An id is one only where JSON may begin behind it: the 1 of 1.5 is the id of another packet.
_MALFORMED = re.compile(r"2(?:/,)?(?:([0-9]{1,15})(?:[\[{\"tfn]|\Z))?")
_OTHER_NAMESPACE = re.compile(r"0(/[^,?]{1,200})(?:[,?]|\Z)")
_CONNECT = re.compile(r"0(?:/(?:,|\Z))?(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sent:
    """An event: its name, what follows it, and the id that its ack is to have."""

    name: str
    args: list[Any]
    ack_id: str | None


@dataclass(frozen=True, slots=True)
class Malformed:
    """What should be an event and is none, with the ack that is waited for."""

    detail: str
    ack_id: str | None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A wish to connect to another namespace than the one that is served."""

    namespace: str


@dataclass(frozen=True, slots=True)
class Hello:
    """A wish to connect, with what it carries."""

    auth: object


class Leave:
    """A goodbye."""


LEAVE = Leave()
Packet = Sent | Malformed | Elsewhere | Hello | Leave


def read_packet(text: str) -> Packet | None:
    """Read what a client that is connected sends; None: nothing that concerns us."""
    event = _EVENT.match(text)
    if event is not None:
        return _read_event(event[1] or None, event[2])
    if binary := _BINARY_EVENT.match(text):
        return Malformed("Binary data is not taken.", binary[1] or None)
    if text.startswith("1"):
        return LEAVE
    if other := _OTHER_NAMESPACE.match(text):
        return Elsewhere(other[1])
    if malformed := _MALFORMED.match(text):
        return Malformed("This is no Socket.IO event.", malformed[1] or None)
    return None


def _read_event(ack_id: str | None, body: str) -> Sent | Malformed:
    try:
        items = json.loads(body)
    except json.JsonError:
        return Malformed("The packet is not JSON.", ack_id)
    if not items or not isinstance(items[0], str):
        return Malformed("The packet has no event name.", ack_id)
    return Sent(items[0], items[1:], ack_id)


def read_hello(text: str) -> Hello | Elsewhere | None:
    """Read the first packet of a client; None: it is no wish to connect."""
    if other := _OTHER_NAMESPACE.match(text):
        return Elsewhere(other[1])
    hello = _CONNECT.match(text)
    if hello is None:
        return None
    try:
        return Hello(json.loads(hello[1]) if hello[1] else None)
    except json.JsonError:
        return None
