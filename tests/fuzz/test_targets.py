"""The targets of `make fuzz` hold for a while in every run of the tests, and see what is broken."""

import json
import re
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import json as core_json
from core import validation
from realtime import (
    bus_redis,
    frames,
    handshakes,
    presence_scripts,
    request_head,
    socketio_text,
)
from tests.fuzz import targets
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

NAMES = sorted(TARGETS)
EVERY_SEED = [(name, seed) for name in NAMES for seed in SEEDS[name]]


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed, or two in a row, with a few bytes put in, left out or changed."""
    data = draw(st.sampled_from(seeds)) + draw(st.sampled_from([b"", *seeds]))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 2)) :]
    return data


class TestTargets:
    @pytest.mark.parametrize(("name", "seed"), EVERY_SEED)
    def test_every_seed_holds(self, name, seed):
        TARGETS[name](seed)

    @pytest.mark.parametrize("name", NAMES)
    @hypothesis.settings(max_examples=300)
    @given(data=st.data())
    def test_whatever_is_made_of_the_seeds_holds(self, name, data):
        TARGETS[name](data.draw(changed(SEEDS[name])))

    @pytest.mark.parametrize("name", NAMES)
    @given(data=st.binary(max_size=600))
    def test_any_bytes_hold(self, name, data):
        TARGETS[name](data)


class Unread:
    """Takes the place of what reads a control message by its schema."""

    def validate_json(self, body: bytes) -> Any:
        return json.loads(body)["kind"]


make_reader = frames.FrameReader.__init__
any_digits = re.compile(socketio_text._EVENT.pattern.replace("[0-9]{0,15}", r"\d{0,17}"), re.DOTALL)
any_header = re.compile(rb"([^:]+):[ \t]*(.*?)\r?\n", re.DOTALL)
# What is broken: the target that has to see it, where, and what stands there instead.
FAULTS: dict[str, tuple[str, Any, str, Any]] = {
    "a limit that is none": (
        "frames",
        frames.FrameReader,
        "__init__",
        lambda reader, _limit: make_reader(reader, 1 << 20),
    ),
    "bytes that nobody inflates": (
        "deflated",
        frames.DeflatedReader,
        "_inflate",
        lambda reader, chunk: reader._message.extend(chunk),
    ),
    "a limit that holds for what is compressed": (
        "deflated",
        frames.DeflatedReader,
        "_judge_size",
        lambda _reader, _more: None,
    ),
    "a line that is not looked at whole": ("requests", request_head, "_HEADER", any_header),
    "a close code too many": ("wsproto", frames, "_is_close_code", lambda _code: True),
    "bad UTF-8 passed over": ("wsproto", frames, "_decode", lambda it: it.decode(errors="replace")),
    "a control frame that is too long": ("encoders", frames, "MAX_CONTROL_BYTES", 140),
    "digits of any script in an id": ("packets", socketio_text, "_EVENT", any_digits),
    "an exception that escapes": ("packets", core_json, "loads", json.loads),
    "a refusal of another kind": ("schemas", validation, "ValidationError", KeyError),
    "a handshake that nobody judges": ("heads", handshakes, "judge_handshake", lambda _: None),
    "word of a node that is not looked at": ("hints", bus_redis, "_READ_CONTROL", Unread()),
    "a seat that is not looked at": ("records", presence_scripts, "_is_seat", lambda *_: True),
    "a signature that nobody looks at": ("cursors", targets.CURSORS, "read", lambda _cursor: {}),
}


class TestTheTargetsSeeFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_is_found_from_the_seeds(self, fault, monkeypatch):
        name, place, attribute, broken = FAULTS[fault]
        monkeypatch.setattr(place, attribute, broken)

        assert any(fails(TARGETS[name], seed) for seed in SEEDS[name])


def fails(target: Callable[[bytes], None], seed: bytes) -> bool:
    try:
        target(seed)
    except Exception:  # noqa: BLE001 - whatever escapes is what a target is for
        return True
    return False
