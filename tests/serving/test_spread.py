"""The times at which the clients of a node that ends are asked to come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.drain import spread


class TestSpread:
    @given(number=st.integers(1, 500), window_s=st.floats(0, 60))
    def test_each_equal_part_of_the_window_has_one(self, number, window_s):
        """So there is no clump, however the dice fall."""
        width = window_s * number / 10_000
        times = sorted(spread(number, window_s))

        assert len(times) == number
        for place, seconds in enumerate(times):
            assert width * place / number - 0.001 <= seconds <= width * (place + 1) / number + 0.001

    @pytest.mark.parametrize(("number", "width"), [(10_000, 10), (40_000, 10), (1000, 1)])
    def test_the_window_is_for_ten_thousand_and_narrower_for_fewer(self, number, width):
        times = spread(number, 10)

        assert width * 0.99 < max(times) <= width

    def test_they_come_in_no_order(self):
        """Who connected first is not the first to come back."""
        times = spread(1000, 10)

        assert times != sorted(times)

    def test_of_nobody_there_are_none(self):
        assert spread(0, 10) == []
