"""Cursors come back as they were given, to the list that gave them, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import Cursors, name_listing
from core.errors import InvalidError

CURSORS = Cursors("a secret of at least 32 characters")
marks = st.lists(st.text() | st.integers(-(2**53), 2**53), min_size=1, max_size=3)


class TestCursors:
    @given(marks)
    def test_what_was_written_is_read(self, mark):
        assert CURSORS.read("list", CURSORS.write("list", mark)) == mark

    def test_none_is_the_first_page_and_none_the_last(self):
        assert CURSORS.read("list", None) is None
        assert CURSORS.write("list", None) is None

    @given(marks, st.data())
    def test_one_changed_character_spoils_it(self, mark, data):
        cursor = CURSORS.write("list", mark)
        assert cursor is not None
        place = data.draw(st.integers(0, len(cursor) - 2))
        other = data.draw(st.sampled_from("Ab0_-.").filter(lambda it: it != cursor[place]))

        with pytest.raises(InvalidError):
            CURSORS.read("list", cursor[:place] + other + cursor[place + 1 :])

    @given(st.text())
    def test_what_is_none_is_refused(self, text):
        with pytest.raises(InvalidError):
            CURSORS.read("list", text)

    def test_another_list_or_secret_is_refused(self):
        cursor = CURSORS.write("list", [1])

        for reader, listing in ((CURSORS, "other"), (Cursors("another secret" * 3), "list")):
            with pytest.raises(InvalidError):
                reader.read(listing, cursor)


class TestListings:
    def test_a_list_is_its_address_and_filters(self):
        name = name_listing("/users", {"q": "a", "sort": "x", "limit": 5, "cursor": "c"})

        assert name == name_listing("/users", {"sort": "x", "q": "a", "limit": 9, "cursor": None})
        assert name != name_listing("/users", {"q": "b", "sort": "x"})
        assert name != name_listing("/channels", {"q": "a", "sort": "x"})
