"""Every position is one that can be gone on from, or one with a reason why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.positions import Position, StreamState, judge_resume

STATE = StreamState(1, "channel:x", "e1", top=10, trimmed=4)


class TestJudgeResume:
    @pytest.mark.parametrize(
        ("offset", "epoch", "reason"),
        [
            (10, "e1", None),
            (7, "e1", None),
            (4, "e1", None),
            (3, "e1", "trimmed"),
            (0, "e1", "trimmed"),
            (11, "e1", "ahead"),
            (7, "e2", "epoch"),
            (0, "e2", "epoch"),
            (99, "e2", "epoch"),
        ],
    )
    def test_the_table(self, offset, epoch, reason):
        """What follows `trimmed` is all there, so the mark itself is still good."""
        reset = judge_resume(Position(offset, epoch), STATE)

        assert (reset and reset.reason) == reason
        if reset:
            assert (reset.oldest, reset.top) == (5, Position(10, "e1"))

    def test_none_seen_yet_is_a_position(self):
        assert judge_resume(Position(0, "e"), StreamState(1, "x", "e", 0, 0)) is None

    @given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.sampled_from("ab"))
    def test_it_is_good_exactly_where_nothing_is_missing(self, offset, top, trimmed, epoch):
        state = StreamState(1, "x", "a", top, min(top, trimmed))
        held = set(range(state.trimmed + 1, top + 1))
        wanted = set(range(offset + 1, top + 1))
        good = epoch == "a" and offset <= top and wanted <= held

        assert (judge_resume(Position(offset, epoch), state) is None) == good

    def test_the_wire_form(self):
        reset = judge_resume(Position(0, "e1"), STATE)

        assert reset is not None
        assert reset.as_json() == {
            "reason": "trimmed",
            "oldest": 5,
            "top": {"offset": 10, "epoch": "e1"},
        }
