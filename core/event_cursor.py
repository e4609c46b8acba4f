"""Where a reader stands in many streams, as one opaque text that needs no state on the server.

A signed row of bytes: a version, how the epochs are written, how many channels and users, then
their ids, epochs and offsets. 128 streams take less than 4 KB.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping

from core.errors import InvalidError
from core.positions import Position

# Of channels; the own stream comes on top, as it does on a socket.
MOST_STREAMS = 128
MOST_CHARS = 8192

_VERSION = 1
_HEX, _TEXT = range(2)
_SIGNATURE_BYTES = 12
_HEX_EPOCH = re.compile(r"[0-9a-f]{8}\Z")
_KINDS = ("channel", "user")


class EventCursors:
    """Makes and reads cursors. All nodes of an installation share the secret."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.blake2b(secret.encode(), person=b"fanfare.events").digest()

    def write(self, positions: Mapping[str, Position]) -> str:
        """Make the cursor of a reader who stands at these positions, by full names of streams."""
        body = _pack(positions)
        return base64.urlsafe_b64encode(self._sign(body) + body).rstrip(b"=").decode()

    def read(self, cursor: str) -> dict[str, Position]:
        """Give the positions that a cursor was made of.

        Raises:
            InvalidError: it is not one of this installation, or of a version to come.
        """
        try:
            signed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            signed = b""
        signature, body = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        # Python overlooks characters that are not base64, and spare bits of the last one.
        is_plain = base64.urlsafe_b64encode(signed).rstrip(b"=") == cursor.encode()
        if not is_plain or not body or not hmac.compare_digest(signature, self._sign(body)):
            raise InvalidError.of("cursor", "is not a cursor of this server")
        if body[0] != _VERSION:
            raise InvalidError.of("cursor", "is of another version of the server")
        return dict(_unpack(body))

    def _sign(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, key=self._key, digest_size=_SIGNATURE_BYTES).digest()


def _pack(positions: Mapping[str, Position]) -> bytes:
    kinds = [sorted(name for name in positions if name.startswith(kind)) for kind in _KINDS]
    names = [name for kind in kinds for name in kind]
    epochs = [positions[name].epoch for name in names]
    form = _HEX if all(map(_HEX_EPOCH.match, epochs)) else _TEXT
    return b"".join(
        (
            bytes((_VERSION, form, *map(len, kinds))),
            *(bytes.fromhex(name.partition(":")[2].replace("-", "")) for name in names),
            *(bytes.fromhex(epoch) if form == _HEX else _with_length(epoch) for epoch in epochs),
            *(_varint(positions[name].offset) for name in names),
        )
    )


def _with_length(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _unpack(body: bytes) -> Iterator[tuple[str, Position]]:
    # Signed by us, so whole.
    form, counts, rest = body[1], body[2:4], _Rest(body, 4)
    kinds = [kind for kind, count in zip(_KINDS, counts, strict=True) for _ in range(count)]
    names = [f"{kind}:{_id_of(rest.take(16))}" for kind in kinds]
    epochs = [
        rest.take(4).hex() if form == _HEX else rest.take(rest.take(1)[0]).decode() for _ in names
    ]
    for name, epoch in zip(names, epochs, strict=True):
        yield name, Position(rest.varint(), epoch)


def _id_of(packed: bytes) -> str:
    text = packed.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class _Rest:
    """What is left to be read."""

    def __init__(self, body: bytes, place: int) -> None:
        self._body = body
        self._place = place

    def take(self, length: int) -> bytes:
        self._place += length
        return self._body[self._place - length : self._place]

    def varint(self) -> int:
        number = shift = 0
        while True:
            part = self.take(1)[0]
            number |= (part & 0x7F) << shift
            if part < 0x80:
                return number
            shift += 7
