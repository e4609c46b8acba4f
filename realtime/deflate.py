"""permessage-deflate (RFC 7692): what is agreed on with a client, and how a message is packed.

Pure data. Each message is compressed by itself, and with a window that every client who is agreed
with can inflate: so what goes to many is compressed once, and a connection keeps nothing of it.
How a client's messages are inflated is `DeflatedReader`'s in `frames.py`.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Final

from realtime.frames import encode_text

# 4 KiB back: what is wider saves a few bytes in a hundred of large messages alone. A client that
# has no room for it is not agreed with; zlib itself makes nothing below 9.
WINDOW_BITS: Final = 12
_MEMORY_LEVEL = 5
_AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
# Ends each flush, and is left out (RFC 7692, 7.2.1).
_EMPTY_BLOCK = b"\x00\x00\xff\xff"
# What a client sends may become a thousand times as much. So little of it is read at once, and
# whoever makes much of little is read no faster than this: inflating costs us more than them.
READ_BYTES: Final = 2_048
_MUCH_INFLATED_BYTES = 65_536
_MOST_INFLATED_PER_S = 8 << 20
_COMPRESSED_TEXT = b"\xc1"  # the last frame of a text, with the first reserved bit

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # noqa: S105 - a word of HTTP's grammar, not a secret
_VALUE = rf'(?:{_TOKEN}|"(?:[^"\\]|\\.)*+")'
_PARAMETER = re.compile(rf"[ \t]*+;[ \t]*+({_TOKEN})(?:[ \t]*+=[ \t]*+({_VALUE}))?+")
_PARAMETERS = rf"(?:[ \t]*+;[ \t]*+{_TOKEN}(?:[ \t]*+=[ \t]*+{_VALUE})?+)*+"
_OFFER = re.compile(rf"[ \t,]*+({_TOKEN})({_PARAMETERS})[ \t]*+(?:,|\Z)")
_NOTHING = re.compile(r"[ \t,]*+")
_BITS = re.compile("[89]|1[0-5]")

Parameters = list[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Packing:
    """How hard to compress, 1 to 9, and the bytes below which it is not tried."""

    level: int
    min_bytes: int

    def pack(self, text: bytes) -> bytes:
        """Give a text as a compressed frame; nothing where it would save nothing."""
        if len(text) < self.min_bytes:
            return b""
        packer = zlib.compressobj(self.level, zlib.DEFLATED, -WINDOW_BITS, _MEMORY_LEVEL)
        packed = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
        packed = packed.removesuffix(_EMPTY_BLOCK)
        if len(packed) >= len(text):
            return b""
        return _COMPRESSED_TEXT + encode_text(packed)[1:]


def make_packing(level: int, min_bytes: int) -> Packing | None:
    """Make one; level 0 is none."""
    return Packing(level, min_bytes) if level else None


class SharedText(str):
    """A text that is sent to many, with the frame that those get who agreed to compression."""

    __slots__ = ("packed",)

    def __init__(self, _text: str) -> None:
        self.packed = b""  # until one of them is sent it


def encode_packed(text: str, packing: Packing | None) -> bytes:
    """Give a text as a frame for one client: compressed, if it agreed and it saves something."""
    if packing is not None and isinstance(text, SharedText) and text.packed:
        return text.packed
    data = text.encode()
    return (packing.pack(data) if packing is not None else b"") or encode_text(data)


def rest_after(inflated_bytes: int) -> float:
    """Tell how many seconds a client is not read for, after one read has brought so much."""
    is_much = inflated_bytes > _MUCH_INFLATED_BYTES
    return inflated_bytes / _MOST_INFLATED_PER_S if is_much else 0


def agree(offered: str) -> str | None:
    """Answer a client's `Sec-WebSocket-Extensions`; "" declines, None: the header is malformed."""
    offers = read_offers(offered)
    if offers is None:
        return None
    for name, parameters in offers:
        if name == "permessage-deflate" and (answer := _answer(parameters)):
            return answer
    return ""


def read_offers(header: str) -> list[tuple[str, Parameters]] | None:
    """Read extensions with their parameters, by RFC 6455, 9.1; None: the header is malformed."""
    offers: list[tuple[str, Parameters]] = []
    at = 0
    while not _NOTHING.fullmatch(header, at):
        offer = _OFFER.match(header, at)
        if offer is None:
            return None
        parameters = [_read_parameter(*found.groups()) for found in _PARAMETER.finditer(offer[2])]
        if any(value == "" for _, value in parameters):
            return None
        offers.append((offer[1], parameters))
        at = offer.end()
    return offers


def _read_parameter(name: str, value: str | None) -> tuple[str, str | None]:
    if value is None or not value.startswith('"'):
        return name, value
    meant = re.sub(r"\\(.)", r"\1", value[1:-1])
    # What is quoted must be a token all the same; the empty value says that it is none.
    return name, meant if re.fullmatch(_TOKEN, meant) else ""


def _answer(parameters: Parameters) -> str:
    names = {name for name, _ in parameters}
    if len(names) < len(parameters) or not all(_is_valid(*each) for each in parameters):
        return ""
    bits = dict(parameters).get("server_max_window_bits")
    if bits is None:
        return _AGREED
    return f"{_AGREED}; server_max_window_bits={WINDOW_BITS}" if int(bits) >= WINDOW_BITS else ""


def _is_valid(name: str, value: str | None) -> bool:
    if name in ("server_no_context_takeover", "client_no_context_takeover"):
        return value is None
    if name == "client_max_window_bits" and value is None:
        return True
    known = name in ("server_max_window_bits", "client_max_window_bits")
    return known and value is not None and _BITS.fullmatch(value) is not None
