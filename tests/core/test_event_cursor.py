"""Cursors of the fallback doors come back as they were given, and no others are taken."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from core.event_cursor import MOST_STREAMS, EventCursors
from core.ids import new_epoch, new_id
from core.positions import Position

SECRET = "a secret of at least 32 characters"
CURSORS = EventCursors(SECRET)
names = st.builds(lambda kind: f"{kind}:{new_id()}", st.sampled_from(["channel", "user"]))
epochs = st.builds(lambda number: f"{number:08x}", st.integers(0, 2**32 - 1)) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=16
)
positions = st.dictionaries(
    names, st.builds(Position, st.integers(0, 2**53 - 1), epochs), max_size=MOST_STREAMS
)


class TestEventCursors:
    @given(positions)
    def test_what_was_written_is_read(self, positions):
        assert CURSORS.read(CURSORS.write(positions)) == positions

    def test_128_streams_take_less_than_four_kilobytes(self, rng: random.Random):
        """It must fit into an address beside all else."""
        full = {
            f"channel:{new_id()}": Position(rng.randrange(2**20), new_epoch())
            for _ in range(MOST_STREAMS)
        }

        assert len(CURSORS.write(full)) < 4096

    def test_the_same_positions_make_the_same_cursor(self):
        """On every node, whatever the order in which they were asked for."""
        a, b = f"channel:{new_id()}", f"user:{new_id()}"
        at = Position(7, "00c0ffee")

        assert CURSORS.write({a: at, b: at}) == EventCursors(SECRET).write({b: at, a: at})


class TestRefusals:
    @given(positions, st.data())
    def test_one_changed_character_spoils_it(self, positions, data):
        cursor = CURSORS.write(positions)
        place = data.draw(st.integers(0, len(cursor) - 1))
        other = data.draw(st.sampled_from("Ab0_-. é").filter(lambda it: it != cursor[place]))

        with pytest.raises(InvalidError):
            CURSORS.read(cursor[:place] + other + cursor[place + 1 :])

    @given(positions, st.data())
    def test_a_part_of_it_is_refused(self, positions, data):
        cursor = CURSORS.write(positions)

        with pytest.raises(InvalidError):
            CURSORS.read(cursor[: data.draw(st.integers(0, len(cursor) - 1))])

    @given(st.text(max_size=100))
    def test_what_is_none_is_refused(self, text):
        with pytest.raises(InvalidError):
            CURSORS.read(text)

    def test_one_of_another_installation_is_refused(self):
        cursor = CURSORS.write({f"channel:{new_id()}": Position(1, "00c0ffee")})

        with pytest.raises(InvalidError, match="not a cursor of this server"):
            EventCursors(SECRET[::-1]).read(cursor)

    def test_one_of_a_version_to_come_is_refused_by_that_name(self, monkeypatch):
        """As an old node meets it while a deployment rolls."""
        monkeypatch.setattr("core.event_cursor._VERSION", 2)
        cursor = CURSORS.write({f"channel:{new_id()}": Position(1, "00c0ffee")})
        monkeypatch.undo()

        with pytest.raises(InvalidError, match="another version"):
            CURSORS.read(cursor)
