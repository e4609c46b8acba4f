"""The codec against RFC 6455, clause by clause, and against random cuts, frames and bytes."""

import struct
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import frames
from realtime.frames import (
    Close,
    Event,
    FrameReader,
    Ping,
    Pong,
    ProtocolError,
    encode_binary,
    encode_close,
    encode_ping,
    encode_pong,
    encode_text,
)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x12\x34\x56\x78"
LIMIT = 1000


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def held_by_the_codec() -> int:
    """Its bytes alone: threads that read the output of servers allocate in this process, too."""
    own = tracemalloc.Filter(inclusive=True, filename_pattern=frames.__file__)
    traces = tracemalloc.take_snapshot().filter_traces([own])
    return sum(statistic.size for statistic in traces.statistics("filename"))


def length_field(size: int, *, long_form: int = 0) -> bytes:
    """The length with the mask bit; `long_form` 126 or 127 forces a longer form than is needed."""
    if long_form == 127 or size > 0xFFFF:
        return struct.pack("!BQ", 0x80 | 127, size)
    if long_form == 126 or size > 125:
        return struct.pack("!BH", 0x80 | 126, size)
    return bytes([0x80 | size])


def client_frame(
    opcode: int, payload: bytes = b"", *, final: bool = True, rsv: int = 0, mask: bytes = MASK
) -> bytes:
    first = final << 7 | rsv << 4 | opcode
    return bytes([first]) + length_field(len(payload)) + mask + masked(payload, mask)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return client_frame(CLOSE, struct.pack("!H", code) + reason)


def read(*chunks: bytes, limit: int = LIMIT) -> list[Event]:
    reader = FrameReader(limit)
    return [event for chunk in chunks for event in reader.feed(chunk)]


def only_fault(events: list[Event]) -> int:
    """The close code of the protocol error that is the one event."""
    [event] = events
    assert isinstance(event, ProtocolError)
    assert event.reason
    return event.close_code


def cut(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """`data` in pieces, some of them empty."""
    last = 0
    for place in sorted(place % (len(data) + 1) for place in places):
        yield data[last:place]
        last = place
    yield data[last:]


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 127, 65535, 65536, 70001])
    def test_every_form_of_the_length_is_read(self, size):
        payload = bytes(index % 251 for index in range(size))

        assert read(client_frame(BINARY, payload), limit=1 << 20) == [payload]

    def test_text_is_str_and_binary_is_bytes(self):
        data = client_frame(TEXT, "für 🎺".encode()) + client_frame(BINARY, b"\xff\x00")

        assert read(data) == ["für 🎺", b"\xff\x00"]

    def test_fragments_are_joined_though_they_cut_a_character(self):
        """Only the whole message must be UTF-8 (RFC 6455, 5.6), not each of its fragments."""
        half, rest = "🎺".encode()[:2], "🎺".encode()[2:]
        data = (
            client_frame(TEXT, half, final=False, mask=b"abcd")
            + client_frame(CONTINUATION, b"", final=False)
            + client_frame(CONTINUATION, rest, mask=b"wxyz")
        )

        assert read(data) == ["🎺"]

    def test_control_frames_stand_between_fragments_and_keep_their_place(self):
        data = (
            client_frame(BINARY, b"one ", final=False)
            + client_frame(PING, b"are you there?")
            + client_frame(CONTINUATION, b"two", final=True)
            + client_frame(PONG)
        )

        assert read(data) == [Ping(b"are you there?"), b"one two", Pong(b"")]

    def test_a_message_at_the_limit_is_taken(self):
        assert read(client_frame(BINARY, bytes(LIMIT))) == [bytes(LIMIT)]

    def test_the_limit_starts_afresh_with_each_message(self):
        frame = client_frame(BINARY, bytes(LIMIT))

        assert read(frame + frame) == [bytes(LIMIT)] * 2


class TestFaults:
    @pytest.mark.parametrize("rsv", [1, 2, 4, 7])
    @pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE])
    def test_reserved_bits_are_refused(self, rsv, opcode):
        assert only_fault(read(client_frame(opcode, rsv=rsv))) == 1002

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    def test_unknown_opcodes_are_refused(self, opcode):
        assert only_fault(read(client_frame(opcode))) == 1002

    def test_an_unmasked_frame_is_refused(self):
        assert only_fault(read(b"\x81\x02hi")) == 1002

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_a_control_frame_over_125_bytes_is_refused(self, opcode):
        assert only_fault(read(client_frame(opcode, bytes(126)))) == 1002

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_a_fragmented_control_frame_is_refused(self, opcode):
        assert only_fault(read(client_frame(opcode, final=False))) == 1002

    @pytest.mark.parametrize("final", [True, False])
    def test_a_continuation_without_a_start_is_refused(self, final):
        assert only_fault(read(client_frame(CONTINUATION, b"x", final=final))) == 1002

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_new_message_inside_another_is_refused(self, opcode):
        data = client_frame(TEXT, b"x", final=False) + client_frame(opcode, b"y")

        assert only_fault(read(data)) == 1002

    @pytest.mark.parametrize(("size", "form"), [(0, 126), (125, 126), (125, 127), (65535, 127)])
    def test_a_length_longer_than_needed_is_refused(self, size, form):
        data = b"\x82" + length_field(size, long_form=form) + MASK + bytes(size)

        assert only_fault(read(data, limit=1 << 20)) == 1002

    def test_a_length_with_its_highest_bit_set_is_refused(self):
        assert only_fault(read(b"\x82\xff" + b"\xff" * 8 + MASK)) == 1002

    @pytest.mark.parametrize(
        "payload", [b"\xff", b"ab\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"]
    )
    def test_text_that_is_not_utf8_is_1007(self, payload):
        """Broken, cut off, a surrogate, an overlong form, beyond the last code point."""
        assert only_fault(read(client_frame(TEXT, payload))) == 1007

    def test_a_character_cut_off_at_the_end_of_the_last_fragment_is_1007(self):
        data = client_frame(TEXT, b"ab", final=False) + client_frame(CONTINUATION, b"\xc3")

        assert only_fault(read(data)) == 1007

    def test_messages_in_front_of_a_fault_are_kept_and_what_follows_is_ignored(self):
        data = client_frame(TEXT, b"good") + client_frame(3) + client_frame(TEXT, b"late")
        reader = FrameReader(LIMIT)

        events = reader.feed(data)

        assert events[0] == "good"
        assert only_fault(events[1:]) == 1002
        assert reader.feed(client_frame(TEXT, b"later")) == []


class TestLimit:
    def test_a_frame_over_the_limit_is_refused_by_its_header_alone(self):
        """Nothing of a payload that can't be taken is waited for or kept."""
        header = client_frame(BINARY, bytes(LIMIT + 1))[:8]

        assert only_fault(read(header)) == 1009

    def test_fragments_count_together(self):
        """Eventlet's own limit was one of frames: a client sent as many of them as it liked."""
        data = client_frame(BINARY, bytes(600), final=False)
        more = client_frame(CONTINUATION, bytes(400), final=False)
        too_much = client_frame(CONTINUATION, b"x", final=False)

        assert only_fault(read(data, more, too_much)) == 1009

    def test_one_byte_fragments_cost_no_more_than_a_whole_message(self):
        """Kept as separate objects they would take some fifty times their size."""
        limit = 1 << 17
        reader = FrameReader(limit)
        fragment = client_frame(CONTINUATION, b"x", final=False) * 64
        tracemalloc.start()
        reader.feed(client_frame(BINARY, b"", final=False))
        for _ in range(limit // 64):
            assert reader.feed(fragment) == []
        held = held_by_the_codec()
        tracemalloc.stop()

        assert only_fault(reader.feed(fragment)) == 1009
        assert limit <= held <= 3 * limit

    def test_the_buffer_is_given_back_after_a_large_message(self):
        """Thousands of idle connections must not each hold on to their largest message."""
        limit = 1 << 20
        reader = FrameReader(limit)
        frame = client_frame(BINARY, b"x" * limit)
        tracemalloc.start()
        for at in range(0, len(frame), 16384):
            reader.feed(frame[at : at + 16384])
        held = held_by_the_codec()
        tracemalloc.stop()

        assert held < 1 << 16

    @pytest.mark.timeout(30)
    def test_a_message_that_comes_byte_by_byte_costs_no_more_per_byte(self):
        """Copying what is held at each feed would be some 500 GB here: a hang, not a delay."""
        payload = bytes(1 << 20)
        reader = FrameReader(len(payload))
        feed, frame = reader.feed, client_frame(BINARY, payload)
        *nothing, events = [feed(frame[at : at + 1]) for at in range(len(frame))]

        assert events == [payload]
        assert not any(nothing)


class TestClose:
    def test_a_close_tells_code_and_reason_and_ends_the_stream(self):
        reader = FrameReader(LIMIT)

        assert reader.feed(close_frame(1000, "später".encode())) == [Close(1000, "später")]
        assert reader.feed(client_frame(TEXT, b"late")) == []

    def test_a_close_may_be_empty(self):
        assert read(client_frame(CLOSE)) == [Close(None, "")]

    def test_a_close_inside_a_fragmented_message_is_taken(self):
        data = client_frame(TEXT, b"never ends", final=False) + close_frame(1001)

        assert read(data) == [Close(1001, "")]

    @pytest.mark.parametrize(
        "code", [1000, 1001, 1002, 1003, 1007, 1008, 1011, 1012, 1014, 3000, 3999, 4000, 4999]
    )
    def test_valid_codes(self, code):
        assert read(close_frame(code)) == [Close(code, "")]

    @pytest.mark.parametrize(
        "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535]
    )
    def test_invalid_codes_are_1002(self, code):
        assert only_fault(read(close_frame(code))) == 1002

    def test_a_payload_of_one_byte_is_1002(self):
        assert only_fault(read(client_frame(CLOSE, b"\x03"))) == 1002

    def test_a_reason_that_is_not_utf8_is_1007(self):
        assert only_fault(read(close_frame(1000, b"\xff"))) == 1007


class TestEncoders:
    @pytest.mark.parametrize(
        ("size", "header"),
        [
            (0, b"\x82\x00"),
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (65535, b"\x82\x7e\xff\xff"),
            (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ],
    )
    def test_the_length_takes_its_shortest_form(self, size, header):
        payload = b"x" * size

        assert encode_binary(payload) == header + payload

    def test_text_may_be_encoded_already(self):
        assert (
            encode_text("größe") == encode_text("größe".encode()) == b"\x81\x07gr\xc3\xb6\xc3\x9fe"
        )

    def test_control_frames(self):
        assert encode_ping(b"a") == b"\x89\x01a"
        assert encode_pong() == b"\x8a\x00"
        assert encode_close() == b"\x88\x00"
        assert encode_close(1001, "bye") == b"\x88\x05\x03\xe9bye"

    @pytest.mark.parametrize("encode", [encode_ping, encode_pong])
    def test_an_oversized_control_payload_is_the_callers_fault(self, encode):
        assert len(encode(bytes(125))) == 127
        with pytest.raises(ValueError, match="125"):
            encode(bytes(126))

    @pytest.mark.parametrize("code", [0, 1005, 1006, 1015, 5000])
    def test_a_reserved_code_is_the_callers_fault(self, code):
        with pytest.raises(ValueError, match=str(code)):
            encode_close(code)

    def test_a_long_reason_is_cut_between_characters(self):
        frame = encode_close(1000, "é" * 100)

        assert frame[1] == len(frame) - 2 == 2 + 122
        assert frame[4:].decode() == "é" * 61


CONTROLS = st.one_of(
    st.builds(Ping, st.binary(max_size=125)), st.builds(Pong, st.binary(max_size=125))
)
MESSAGES = st.one_of(st.text(max_size=200), st.binary(max_size=400))
CUTS = st.lists(st.integers(min_value=0, max_value=1 << 16), max_size=40)


def control_frame(event: Ping | Pong, mask: bytes) -> bytes:
    return client_frame(PING if isinstance(event, Ping) else PONG, event.payload, mask=mask)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """Random messages in random fragments, with controls between; and the events they must give."""
    data = b""
    events: list[Event] = []
    masks = st.binary(min_size=4, max_size=4)
    for message in draw(st.lists(MESSAGES, max_size=8)):
        opcode = TEXT if isinstance(message, str) else BINARY
        payload = message.encode() if isinstance(message, str) else message
        *fragments, last = cut(payload, draw(st.lists(st.integers(0, 400), max_size=4)))
        for fragment in fragments:
            data += client_frame(opcode, fragment, final=False, mask=draw(masks))
            opcode = CONTINUATION
            for control in draw(st.lists(CONTROLS, max_size=2)):
                data += control_frame(control, draw(masks))
                events.append(control)
        data += client_frame(opcode, last, mask=draw(masks))
        events.append(message)
    return data, events


class TestRandomly:
    @given(conversations(), CUTS)
    def test_any_cut_gives_the_same_events(self, conversation, places):
        data, expected = conversation

        assert read(*cut(data, places)) == expected

    @given(conversations())
    def test_byte_by_byte_gives_the_same_events(self, conversation):
        data, expected = conversation

        assert read(*(data[at : at + 1] for at in range(len(data)))) == expected

    @given(conversations(), st.integers(0, 1 << 16), st.integers(1, 255), CUTS)
    def test_a_damaged_stream_is_read_alike_however_it_is_cut(self, talk, place, flip, places):
        """Damage is a typed event at the same place, never an exception or a lost message."""
        damaged = bytearray(talk[0] or b"\x80")
        damaged[place % len(damaged)] ^= flip
        whole = read(bytes(damaged))

        assert read(*cut(bytes(damaged), places)) == whole
        assert not any(isinstance(event, ProtocolError | Close) for event in whole[:-1])

    @settings(max_examples=500)
    @given(st.lists(st.binary(max_size=300), max_size=20))
    def test_random_bytes_raise_nothing_and_never_hold_more_than_the_limit(self, chunks):
        reader = FrameReader(64)
        for chunk in chunks:
            for event in reader.feed(chunk):
                assert isinstance(event, str | bytes | Ping | Pong | Close | ProtocolError)
                assert not isinstance(event, str | bytes) or len(event) <= 64
            assert len(reader._message) <= 64
            assert len(reader._head) < 14
            assert len(reader._control) <= 125

    @given(st.text(max_size=300), st.binary(max_size=300), st.binary(max_size=125))
    def test_what_the_encoders_write_has_the_shape_the_reader_demands(self, text, data, payload):
        """Masked on its way, each of our own frames is read back as what was put in."""

        def mask(frame: bytes) -> bytes:
            start = 4 if frame[1] == 126 else 2
            return (
                bytes([frame[0], frame[1] | 0x80]) + frame[2:start] + MASK + masked(frame[start:])
            )

        frames = [
            encode_text(text),
            encode_binary(data),
            encode_ping(payload),
            encode_pong(payload),
        ]

        assert read(*map(mask, frames), limit=1 << 16) == [text, data, Ping(payload), Pong(payload)]
