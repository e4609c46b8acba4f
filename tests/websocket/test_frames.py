"""RFC 6455 on the wire, clause by clause: what a server must take, and what it must end for.

Each row names the section, what it says, and bytes. Both kinds of WebSocket are held to all of
them, under `run.py serve` and under a worker of gunicorn.
"""

import itertools
import struct
from collections.abc import Callable

import pytest

from tests.websocket import said
from tests.websocket.conftest import MAX_PACKET_BYTES
from tests.websocket.line import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Door,
    Line,
    close_frame,
    fragments,
    frame,
)

Make = Callable[[bytes], list[bytes]]
TRUMPET = "🎺".encode()


def cut(payload: bytes, *places: int) -> list[bytes]:
    """Cut a payload into parts."""
    ends = [0, *places, len(payload)]
    return [payload[start:end] for start, end in itertools.pairwise(ends)]


def inside(payload: bytes, *between: bytes) -> list[bytes]:
    """Make two fragments of a message, with frames between them."""
    first, last = fragments(TEXT, *cut(payload, 9))
    return [first, *between, last]


def whole(payload: bytes) -> list[bytes]:
    return [frame(TEXT, payload)]


# A message in one of these forms is understood as it was meant.
TAKEN: list[tuple[str, str, Make]] = [
    ("5.2", "a message in one frame", whole),
    ("5.2", "a length of two bytes", lambda _: whole(said.packet(size=126))),
    ("5.2", "the longest length of two bytes", lambda _: whole(said.packet(size=65_535))),
    ("5.2", "the shortest length of eight bytes", lambda _: whole(said.packet(size=65_536))),
    ("5.3", "a mask of zeros", lambda it: [frame(TEXT, it, mask=bytes(4))]),
    ("5.3", "a mask of ones", lambda it: [frame(TEXT, it, mask=b"\xff" * 4)]),
    ("5.4", "two fragments", lambda it: fragments(TEXT, *cut(it, 9))),
    ("5.4", "a fragment for each byte", lambda it: fragments(TEXT, *cut(it, *range(1, len(it))))),
    ("5.4", "empty fragments", lambda it: fragments(TEXT, b"", *cut(it, 5, 5, 5), b"")),
    ("5.4", "a ping between fragments", lambda it: inside(it, frame(PING, b"now?"))),
    ("5.4", "a pong between fragments", lambda it: inside(it, frame(PONG, b"here"))),
    ("5.5.3", "a pong that nobody asked for", lambda it: [frame(PONG, b"x"), frame(TEXT, it)]),
    ("5.6", "bytes before it", lambda it: [frame(BINARY, b"\xff\x00"), frame(TEXT, it)]),
    (
        "5.6",
        "a character cut in four by fragments",
        lambda it: fragments(TEXT, *cut(it, *(it.index(TRUMPET) + at for at in (1, 2, 3)))),
    ),
    ("7.4", "the limit of a message", lambda _: whole(said.packet(size=MAX_PACKET_BYTES))),
    (
        "10.4",
        "the limit of a message, in fragments",
        lambda _: fragments(TEXT, *cut(said.packet(size=MAX_PACKET_BYTES), 1, 70_000)),
    ),
]

LONG = bytes(MAX_PACKET_BYTES)
CUT_SHORT = fragments(TEXT, b"4", b"x")[:1]  # a message that has begun


def started(*more: bytes) -> bytes:
    return b"".join([*CUT_SHORT, *more])


def not_utf8(payload: bytes) -> bytes:
    return frame(TEXT, b'42["x","' + payload + b'"]')


# Each of these ends the connection, with this code in the close frame.
REFUSED: list[tuple[str, str, bytes, int]] = [
    ("5.1", "a frame that is not masked", frame(TEXT, b"4", mask=None), 1002),
    ("5.1", "a ping that is not masked", frame(PING, b"", mask=None), 1002),
    ("5.1", "a close that is not masked", frame(CLOSE, b"\x03\xe8", mask=None), 1002),
    *[
        ("5.2", f"reserved bits {rsv:03b} of opcode {opcode}", frame(opcode, b"", rsv=rsv), 1002)
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
        for rsv in (1, 2, 4, 7)
    ],
    ("5.2", "a reserved bit of a continuation", started(frame(CONTINUATION, rsv=4)), 1002),
    *[
        ("5.2", f"the reserved opcode {opcode}", frame(opcode, b"x"), 1002)
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ],
    ("5.2", "the reserved opcode 3 inside a message", started(frame(3)), 1002),
    ("5.2", "0 in two bytes of length", frame(BINARY, b"", form=126), 1002),
    ("5.2", "125 in two bytes of length", frame(BINARY, bytes(125), form=126), 1002),
    ("5.2", "125 in eight bytes of length", frame(BINARY, bytes(125), form=127), 1002),
    ("5.2", "65,535 in eight bytes of length", frame(BINARY, bytes(65_535), form=127), 1002),
    ("5.2", "the highest bit of a length", b"\x82\xff\x80" + bytes(7) + b"mask", 1002),
    ("5.2", "all bits of a length", b"\x82\xff" + b"\xff" * 8 + b"mask", 1002),
    ("5.4", "a continuation of nothing", frame(CONTINUATION, b"4"), 1002),
    ("5.4", "a continuation of nothing that goes on", frame(CONTINUATION, final=False), 1002),
    ("5.4", "a continuation behind a whole message", frame(PONG) + frame(CONTINUATION), 1002),
    ("5.4", "a text inside a message", started(frame(TEXT, b"4")), 1002),
    ("5.4", "bytes inside a message", started(frame(BINARY, b"4")), 1002),
    ("5.4", "a message that begins twice", started(*CUT_SHORT), 1002),
    *[
        ("5.5", f"a fragment of a control frame, opcode {it}", frame(it, final=False), 1002)
        for it in (CLOSE, PING, PONG)
    ],
    *[
        ("5.5", f"126 bytes in a control frame, opcode {it}", frame(it, bytes(126)), 1002)
        for it in (CLOSE, PING, PONG)
    ],
    ("5.5", "65,536 bytes in a ping, by its head alone", frame(PING, bytes(65_536))[:14], 1002),
    ("5.5.1", "a close of one byte", frame(CLOSE, b"\x03"), 1002),
    ("5.5.1", "a reason that is not UTF-8", close_frame(1000, b"\xff"), 1007),
    ("5.5.1", "a reason that is cut off", close_frame(1000, TRUMPET[:3]), 1007),
    *[
        ("7.4", f"the code {code}", close_frame(code), 1002)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    ],
    ("8.1", "a byte that is never UTF-8", not_utf8(b"\xff"), 1007),
    ("8.1", "a continuation byte alone", not_utf8(b"\x80"), 1007),
    ("8.1", "a character cut off", frame(TEXT, b'42["' + TRUMPET[:2]), 1007),
    ("8.1", "an overlong slash", not_utf8(b"\xc0\xaf"), 1007),
    ("8.1", "an overlong NUL", not_utf8(b"\xe0\x80\x80"), 1007),
    ("8.1", "the first surrogate", not_utf8(b"\xed\xa0\x80"), 1007),
    ("8.1", "a pair of surrogates", not_utf8(b"\xed\xa0\xbd\xed\xb8\x80"), 1007),
    ("8.1", "one past the last code point", not_utf8(b"\xf4\x90\x80\x80"), 1007),
    ("8.1", "a form of five bytes", not_utf8(b"\xf8\x88\x80\x80\x80"), 1007),
    (
        "8.1",
        "a character cut off by the end of the last fragment",
        b"".join(fragments(TEXT, b'42["', TRUMPET[:3])),
        1007,
    ),
    (
        "8.1",
        "two halves of a character that do not fit",
        b"".join(fragments(TEXT, b'42["' + TRUMPET[:2], b'x"]')),
        1007,
    ),
    ("10.4", "a frame over the limit, by its head alone", frame(BINARY, LONG + b"x")[:14], 1009),
    (
        "10.4",
        "a message over the limit in frames that are not",
        b"".join(fragments(TEXT, LONG[:60_000], LONG[:60_000])),
        1009,
    ),
    (
        "10.4",
        "one byte over the limit, by the head of its frame",
        b"".join(fragments(BINARY, LONG, b"", b"x"))[:-1],
        1009,
    ),
]
LEGAL = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]


def named(rows: list[tuple]) -> list[str]:
    """Name each case by its clause."""
    return [f"{rfc} {says}" for rfc, says, *_ in rows]


@pytest.mark.parametrize(("rfc", "says", "make"), TAKEN, ids=named(TAKEN))
class TestTaken:
    def test_it_is_understood(self, door: Door, rfc: str, says: str, make: Make):
        with door.open() as line:
            line.send(*make(said.packet()))

            assert heard_between_controls(line) == said.TEXT

    def test_it_is_understood_however_slowly_it_comes(
        self, direct: Door, rfc: str, says: str, make: Make
    ):
        """Byte by byte, each in a segment of its own; of what is long, the first and the last."""
        data = b"".join(make(said.packet()))
        with direct.open() as line:
            line.send_slowly(data[:400])
            line.send(data[400:-40])
            line.send_slowly(data[max(400, len(data) - 40) :])

            assert heard_between_controls(line) == said.TEXT


def heard_between_controls(line: Line) -> str:
    """Give what a message was taken for; a pong may come before."""
    while True:
        opcode, payload = line.read()
        if opcode == TEXT and payload.startswith(b"43"):
            return said.text_of(payload)
        assert (opcode, payload) in [(PONG, b"now?"), (TEXT, b"2")]


@pytest.mark.parametrize(("rfc", "says", "data", "code"), REFUSED, ids=named(REFUSED))
class TestRefused:
    def test_it_ends_with_its_code_behind_what_came_before(
        self, door: Door, rfc: str, says: str, data: bytes, code: int
    ):
        """What was good is answered, what comes behind is nothing any more (7.1.7)."""
        with door.open() as line:
            line.send(frame(TEXT, said.packet()))
            before = said.heard(line)
            line.send(data, frame(TEXT, said.packet("late")))
            *others, last = line.read_rest()

        assert before == said.TEXT
        assert last[0] == CLOSE
        assert int.from_bytes(last[1][:2]) == code
        assert last[1][2:].decode()
        assert others == []

    def test_it_ends_alike_however_slowly_it_comes(
        self, direct: Door, rfc: str, says: str, data: bytes, code: int
    ):
        with direct.open() as line:
            line.send_slowly(data[:200])
            line.send(data[200:])
            (last,) = line.read_rest()

        assert last[0] == CLOSE
        assert int.from_bytes(last[1][:2]) == code


class TestControlFrames:
    @pytest.mark.parametrize("payload", [b"", b"\x00", b"\xff" * 3, bytes(range(125))])
    def test_a_ping_is_answered_with_what_it_held(self, door, payload):
        """5.5.2, 5.5.3: also what is no text, and the longest."""
        with door.open() as line:
            line.send(frame(PING, payload))

            assert line.read() == (PONG, payload)

    def test_a_ping_between_fragments_is_answered_before_the_message_ends(self, door):
        """5.4: or a long message would look like a dead connection."""
        first, last = fragments(TEXT, *cut(said.packet(), 9))
        with door.open() as line:
            line.send(first, frame(PING, b"now?"))
            pong = line.read()
            line.send(last)

            assert pong == (PONG, b"now?")
            assert said.heard(line) == said.TEXT

    def test_the_newest_of_many_pings_is_answered_for_sure(self, door):
        """5.5.3 lets it stand for the older ones, which keep their order."""
        with door.open() as line:
            line.send(*(frame(PING, b"%d" % number) for number in range(50)))
            pongs = [line.read()]
            while pongs[-1] != (PONG, b"49"):
                pongs.append(line.read())

        numbers = [int(payload) for _, payload in pongs]
        assert {opcode for opcode, _ in pongs} == {PONG}
        assert numbers == sorted(set(numbers))

    def test_many_messages_of_one_segment_are_answered_in_order(self, door):
        with door.open() as line:
            line.send(*(frame(TEXT, said.packet(str(n), ack_id=n)) for n in range(100, 150)))

            assert [said.heard(line, n) for n in range(100, 150)] == [
                str(n) for n in range(100, 150)
            ]


class TestClose:
    @pytest.mark.parametrize("code", LEGAL)
    def test_a_close_is_answered_with_its_code(self, door, code):
        """5.5.1 and 7.4: those of the RFC, those registered since, and those of applications."""
        with door.open() as line:
            line.send(close_frame(code, "Tschüß".encode()))
            (answer,) = line.read_rest()

        assert answer[0] == CLOSE
        assert answer[1][:2] == struct.pack("!H", code)

    @pytest.mark.parametrize("reason", [b"", b"x" * 123, TRUMPET * 30])
    def test_its_reason_may_be_as_long_as_a_control_frame(self, door, reason):
        with door.open() as line:
            line.send(close_frame(1000, reason))
            (answer,) = line.read_rest()

        assert answer[1][:2] == b"\x03\xe8"

    def test_a_close_without_a_code_is_answered_without_one(self, door):
        """7.4.1: 1005 must never stand in a frame."""
        with door.open() as line:
            line.send(frame(CLOSE))

            assert line.read_rest() == [(CLOSE, b"")]

    def test_a_close_inside_a_message_ends_it(self, door):
        """5.4: a control frame may stand between fragments, and this one is the last."""
        first, last = fragments(TEXT, *cut(said.packet(), 9))
        with door.open() as line:
            line.send(first, close_frame(1001), last)

            assert line.read_rest() == [(CLOSE, b"\x03\xe9")]

    @pytest.mark.parametrize("late", [frame(TEXT, said.packet()), frame(PING), b"\xff" * 99])
    def test_what_comes_behind_a_close_is_nothing(self, door, late):
        """5.5.1: it is neither answered nor judged."""
        with door.open() as line:
            line.send(close_frame(1000), late)

            assert line.read_rest() == [(CLOSE, b"\x03\xe8")]

    def test_the_server_hangs_up_first(self, door):
        """7.1.1: so that it is not the client's port that waits."""
        with door.open() as line:
            line.send(close_frame(1000))
            line.read_rest()
            line.sock.setblocking(False)

            assert line.sock.recv(1) == b""

    @pytest.mark.parametrize("opened", ["let in", "a stranger"])
    def test_a_half_closed_connection_is_over(self, direct, opened):
        """7.1.4: without a close frame the end is abnormal, and nothing is waited for."""
        line = direct.open() if opened == "let in" else direct.open_as_stranger()
        with line:
            line.sock.shutdown(1)
            try:
                ended = line.read_rest()
            except ConnectionResetError:
                ended = []

        assert ended == []
