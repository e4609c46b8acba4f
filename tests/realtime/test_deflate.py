"""permessage-deflate against RFC 7692: offers and answers, packed and inflated messages.

The other side is zlib, told by hand what a client would be.
"""

import random
import tracemalloc
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime import frames
from realtime.deflate import WINDOW_BITS, Packing, agree, encode_packed
from realtime.frames import DeflatedReader, Event, FrameReader, Ping, ProtocolError
from tests.realtime.test_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    client_frame,
    cut,
    only_fault,
)

LIMIT = 1000
COMPRESSED = 4  # the first of the three reserved bits
TAIL = b"\x00\x00\xff\xff"
YES = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
YES_WITH_WINDOW = f"{YES}; server_max_window_bits={WINDOW_BITS}"
TOO_SMALL = "permessage-deflate; server_max_window_bits=10"
# "Hello", as the RFC's first example has it.
HELLO = bytes.fromhex("f248cdc9c90700")


def squeezed(payload: bytes, *, bits: int = 15, level: int = 6) -> bytes:
    """Compress a message as a client does."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def packed_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    return client_frame(opcode, squeezed(payload), rsv=COMPRESSED)


def raw_frame(data: bytes, opcode: int = TEXT) -> bytes:
    return client_frame(opcode, data, rsv=COMPRESSED)


def read(*chunks: bytes, limit: int = LIMIT) -> list[Event]:
    reader = DeflatedReader(limit)
    return [event for chunk in chunks for event in reader.feed(chunk)]


def fragments(data: bytes, sizes: list[int]) -> bytes:
    """Send a compressed message in fragments, each at least empty."""
    pieces = list(cut(data, sizes))
    made = b""
    for at, piece in enumerate(pieces):
        first, last = at == 0, at == len(pieces) - 1
        opcode = TEXT if first else CONTINUATION
        made += client_frame(opcode, piece, final=last, rsv=COMPRESSED if first else 0)
    return made


def inflate(frame: bytes, bits: int) -> bytes:
    """Read a server's frame of less than 64 KiB, with a window of so many bits."""
    assert frame[0] == 0xC1
    left = frame[4 if frame[1] == 126 else 2 :] + TAIL + b"\x03\x00"
    # Bit by bit: with all of it at hand zlib would look back further than its window.
    inflater, payload = zlib.decompressobj(-bits), b""
    while not inflater.eof:
        payload += inflater.decompress(left, 100)
        left = inflater.unconsumed_tail
    return payload


class TestOffers:
    @pytest.mark.parametrize(
        ("offer", "answer"),
        [
            # What browsers, Node.js, aiohttp and `websockets` say.
            ("permessage-deflate", YES),
            ("permessage-deflate; client_max_window_bits", YES),
            (
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
                YES_WITH_WINDOW,
            ),
            ("permessage-deflate; client_max_window_bits, x-webkit-deflate-frame", YES),
            # Each of the four parameters.
            ("permessage-deflate; server_no_context_takeover", YES),
            ("permessage-deflate; client_no_context_takeover", YES),
            ("permessage-deflate; server_max_window_bits=15", YES_WITH_WINDOW),
            ("permessage-deflate; client_max_window_bits=8", YES),
            # Said in other ways.
            ('permessage-deflate;server_max_window_bits="13"', YES_WITH_WINDOW),
            (r'permessage-deflate; server_max_window_bits="1\4"', YES_WITH_WINDOW),
            ("permessage-deflate\t;\tserver_max_window_bits = 14", YES_WITH_WINDOW),
            (",, permessage-deflate ,", YES),
            # Of several the first that will do.
            ("permessage-deflate; unheard_of, permessage-deflate", YES),
            ("foo, bar; a=b, permessage-deflate", YES),
            (
                f"{TOO_SMALL}, permessage-deflate; server_max_window_bits=14, permessage-deflate",
                YES_WITH_WINDOW,
            ),
        ],
    )
    def test_one_that_will_do_is_answered(self, offer, answer):
        assert agree(offer) == answer

    @pytest.mark.parametrize(
        "parameters",
        [
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits; client_max_window_bits=10",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=012",
            "server_max_window_bits=+12",
            "server_max_window_bits=12.",
            "server_max_window_bits=twelve",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "unheard_of",
            "mux=10",
            "Server_no_context_takeover",
            # It has no room for what we make.
            "server_max_window_bits=8",
            f"server_max_window_bits={WINDOW_BITS - 1}",
        ],
    )
    def test_one_that_will_not_do_is_declined_alone(self, parameters):
        offer = f"permessage-deflate; {parameters}"

        assert agree(offer) == ""
        assert agree(f"{offer}, permessage-deflate") == YES

    @pytest.mark.parametrize("header", ["", " ", ",", "foo", "permessage-deflated", "deflate"])
    def test_who_offers_something_else_is_given_nothing(self, header):
        assert agree(header) == ""

    @pytest.mark.parametrize(
        "header",
        [
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate; =12",
            "permessage-deflate; client_max_window_bits=",
            'permessage-deflate; client_max_window_bits=""',
            'permessage-deflate; client_max_window_bits="1 2"',
            'permessage-deflate; client_max_window_bits="12',
            'permessage-deflate; client_max_window_bits="12" x',
            'foo; a="x, permessage-deflate; z"',
            "permessage-deflate client_max_window_bits",
            "permessage-deflate, ;",
            "permessage-deflate, fo/o",
            "; permessage-deflate",
            "permessage-deflate; a=b=c",
        ],
    )
    def test_what_is_no_list_of_extensions_is_told_as_such(self, header):
        """RFC 6455, 9.1: the connection must fail. A list that is only half read is none."""
        assert agree(header) is None

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
    @example('permessage-deflate; a="' + "\\" * 75)
    def test_no_header_raises(self, header):
        assert agree(f"permessage-deflate; {header}") in (None, "", YES, YES_WITH_WINDOW)

    def test_a_long_header_takes_no_long_time(self):
        """Its reading never goes back: a minute of it would be seen."""
        for part in ("a", "a;", "a,", " ", "\t;", 'a;b="\\"', ";a=b"):
            assert agree("permessage-deflate" + part * 100_000 + "@") is None


class TestPacking:
    PACKING = Packing(6, 100)

    @given(st.binary(min_size=100, max_size=20_000).map(lambda data: data * 3))
    def test_what_is_packed_fits_the_window_that_was_agreed_on(self, data):
        frame = self.PACKING.pack(data)

        assert frame == b"" or inflate(frame, WINDOW_BITS) == data

    def test_repeats_from_far_back_do_not_leave_the_window(self, rng):
        """A larger one would let zlib find them, and the client could not inflate it."""
        block = rng.randbytes(6000)

        assert inflate(self.PACKING.pack(block + bytes(3000) + block), WINDOW_BITS)

    @pytest.mark.parametrize("size", [0, 1, 99])
    def test_below_the_bound_nothing_is(self, size):
        assert self.PACKING.pack(b"x" * size) == b""
        assert encode_packed("x" * size, self.PACKING) == frames.encode_text("x" * size)

    def test_from_the_bound_on_it_is(self):
        assert inflate(encode_packed("x" * 100, self.PACKING), WINDOW_BITS) == b"x" * 100

    def test_what_would_grow_is_left_as_it_is(self, rng):
        assert self.PACKING.pack(rng.randbytes(500)) == b""

    def test_who_agreed_to_nothing_gets_a_plain_frame(self):
        assert encode_packed("é" * 500, None) == frames.encode_text("é" * 500)

    def test_levels_differ(self):
        text = " ".join(str(n * n) for n in range(2000)).encode()

        assert len(Packing(9, 1).pack(text)) < len(Packing(1, 1).pack(text))


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, 10, 999, LIMIT])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_of_every_size_they_are_inflated(self, size, opcode):
        payload = b"x" * size
        [message] = read(packed_frame(payload, opcode))

        assert message == (payload.decode() if opcode == TEXT else payload)

    @pytest.mark.parametrize("bits", range(9, 16))
    def test_of_every_window(self, bits):
        payload = bytes(range(256)) * 256
        data = client_frame(BINARY, squeezed(payload, bits=bits), rsv=COMPRESSED)

        assert read(data, limit=1 << 17) == [payload]

    @pytest.mark.parametrize(
        "data",
        [
            HELLO,
            bytes.fromhex("000500faff48656c6c6f00"),  # not compressed: a stored block
            bytes.fromhex("f348cdc9c9070000"),  # a block that says it is the last
            bytes.fromhex("f348cdc9c90700"),  # the same without the byte that should follow
            bytes.fromhex("f24805000000ffffcac9c90700"),  # two blocks
        ],
    )
    def test_the_examples_of_the_rfc_are_read(self, data):
        assert read(raw_frame(data)) == ["Hello"]

    def test_plain_and_compressed_ones_follow_each_other(self):
        data = client_frame(TEXT, b"a") + packed_frame(b"b") + client_frame(TEXT, b"c")

        assert read(data + packed_frame(b"d")) == ["a", "b", "c", "d"]

    def test_each_is_compressed_by_itself(self):
        """As was agreed: what refers to the message before can't be read."""
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        text = bytes(range(32, 127))
        one, two = (
            (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
            for _ in range(2)
        )

        assert only_fault(read(raw_frame(one) + raw_frame(two))[1:]) == 1007

    @pytest.mark.parametrize("data", [b"", b"\x00", b"\x02\x00", b"\x03\x00"])
    def test_an_empty_one_is_empty(self, data):
        """Nothing at all is what is left where zlib had flushed already."""
        assert read(raw_frame(data)) == [""]

    def test_a_sender_that_flushes_with_each_fragment_may_end_with_an_empty_one(self):
        """As the Python library `websockets` sends from a generator."""
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        parts = [packer.compress(word) + packer.flush(zlib.Z_SYNC_FLUSH) for word in (b"ab", b"cd")]
        data = (
            client_frame(TEXT, parts[0], final=False, rsv=COMPRESSED)
            + client_frame(CONTINUATION, parts[1], final=False)
            + client_frame(CONTINUATION, b"")
        )

        assert read(data) == ["abcd"]

    def test_control_frames_stand_between_fragments(self):
        data = (
            client_frame(TEXT, HELLO[:3], final=False, rsv=COMPRESSED)
            + client_frame(PING, b"there?")
            + client_frame(CONTINUATION, HELLO[3:])
        )

        assert read(data) == [Ping(b"there?"), "Hello"]

    @given(
        st.lists(st.text(max_size=300), max_size=5),
        st.lists(st.integers(0, 5000), max_size=4),
        st.lists(st.integers(0, 50_000), max_size=10),
    )
    def test_cut_into_any_fragments_and_reads_they_are_whole(self, texts, fragment_at, read_at):
        data = b"".join(fragments(squeezed(text.encode()), fragment_at) for text in texts)

        assert read(*cut(data, read_at), limit=5000) == texts

    @given(st.binary(max_size=3000), st.integers(0, 9))
    def test_whatever_the_level_a_message_comes_back(self, payload, level):
        data = client_frame(BINARY, squeezed(payload, level=level), rsv=COMPRESSED)

        assert read(data, limit=3000) == [payload]

    def test_a_character_may_be_cut_between_fragments(self):
        data = squeezed("🎺".encode(), level=0)

        assert read(fragments(data, [len(data) - 3])) == ["🎺"]


class TestFaults:
    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_a_control_frame_is_never_compressed(self, opcode):
        assert only_fault(read(client_frame(opcode, rsv=COMPRESSED))) == 1002

    def test_only_the_first_frame_says_it(self):
        data = client_frame(TEXT, HELLO[:3], final=False, rsv=COMPRESSED)

        assert (
            only_fault(read(data + client_frame(CONTINUATION, HELLO[3:], rsv=COMPRESSED))) == 1002
        )

    @pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION])
    def test_the_other_reserved_bits_stay_reserved(self, rsv, opcode):
        assert only_fault(read(client_frame(opcode, HELLO, rsv=rsv))) == 1002

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_who_agreed_to_nothing_is_refused_it(self, opcode):
        reader = FrameReader(LIMIT)

        assert only_fault(reader.feed(client_frame(opcode, HELLO, rsv=COMPRESSED))) == 1002

    @pytest.mark.parametrize(
        "data",
        [
            b"\xff",  # a kind of block that there is not
            HELLO[:-3],
            squeezed(bytes(range(200)))[:-2],
            bytes.fromhex("000500faff4865"),  # a stored block that lacks bytes
            bytes.fromhex("000500fafe48656c6c6f00"),  # and one whose length is wrong
            bytes.fromhex("f348cdc9c9070041"),  # something behind the last block
            bytes.fromhex("f348cdc9c90700") + HELLO,
            HELLO + TAIL + b"more",
        ],
    )
    def test_what_can_not_be_inflated_is_invalid_data(self, data):
        assert only_fault(read(raw_frame(data))) == 1007

    @pytest.mark.parametrize("text", [b"\xff", b"a\xc3", b"\xed\xa0\x80"])
    def test_text_is_judged_after_it_was_inflated(self, text):
        assert only_fault(read(packed_frame(text))) == 1007
        assert read(packed_frame(text, BINARY)) == [text]

    @given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=5))
    def test_no_bytes_raise(self, junk, places):
        for event in read(*cut(raw_frame(junk, BINARY), places)):
            assert isinstance(event, bytes | ProtocolError)

    def test_messages_in_front_of_a_fault_are_delivered(self):
        events = read(packed_frame(b"good") + raw_frame(b"\xff") + packed_frame(b"late"))

        assert events[0] == "good"
        assert only_fault(events[1:]) == 1007


class TestTheLimit:
    def test_it_holds_for_what_a_message_is_inflated_to(self):
        assert read(packed_frame(b"x" * LIMIT)) == ["x" * LIMIT]
        assert only_fault(read(packed_frame(b"x" * (LIMIT + 1)))) == 1009

    def test_a_message_that_grew_when_it_was_compressed_still_fits(self, rng):
        payload = rng.randbytes(LIMIT)
        data = squeezed(payload)

        assert len(data) > LIMIT
        assert read(raw_frame(data, BINARY)) == [payload]

    @pytest.mark.parametrize("sizes", [[], [1, 2, 3], list(range(100))])
    def test_it_holds_over_all_fragments(self, sizes):
        data = fragments(
            squeezed(random.Random(0).randbytes(LIMIT // 2).hex().encode() + b"x"), sizes
        )

        assert only_fault(read(data)) == 1009

    def test_it_starts_afresh_with_each_message(self):
        assert read(packed_frame(b"x" * LIMIT) * 3) == ["x" * LIMIT] * 3

    def test_plain_messages_have_it_as_before(self):
        assert only_fault(read(client_frame(BINARY, bytes(LIMIT + 1))[:20])) == 1009

    def test_a_bomb_is_never_inflated_beyond_it(self):
        """64 MiB come as 64 KiB; what is held on the way is a few times the limit."""
        limit = 1 << 17
        bomb = raw_frame(squeezed(bytes(64 << 20), level=9), BINARY)
        reader = DeflatedReader(limit)
        tracemalloc.start()
        events = [
            event for piece in cut(bomb, range(0, len(bomb), 2048)) for event in reader.feed(piece)
        ]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert only_fault(events) == 1009
        assert most < 8 * limit
        assert reader.ended


class TestTheReader:
    def test_between_messages_it_can_serve_another_client(self):
        reader = DeflatedReader(LIMIT)
        data = packed_frame(b"hello")
        idle = [not reader.feed(data[at : at + 1]) and reader.is_idle() for at in range(len(data))]

        assert not any(idle)
        assert reader.is_idle()
        assert reader._inflater is None
