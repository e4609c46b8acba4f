"""Pages of any search were kept, and only their bodies were counted: empty ones were free.

Anybody could ask for pages without a hit until the cache held half a million names. Only what
everybody asks for is kept now, and an entry weighs what it takes.
"""

import pytest

from api.cache import PageCache
from api.respond import is_first_page
from api.schemas import MessageQuery

UNKEPT = [{"q": "lorem"}, {"before": 9}, {"after": 9}, {"cursor": "c"}]


class TestPageCache:
    def test_empty_pages_are_bounded_too(self):
        cache = PageCache(100_000)
        for number in range(10_000):
            cache.keep(f"page {number}", "v1", b"")

        assert len(cache._entries) <= 100
        assert cache.find("page 9999", "v1") == b""
        assert cache.find("page 0", "v1") is None

    def test_a_new_version_takes_the_place_of_the_old(self):
        cache = PageCache(100_000)
        for number in range(10_000):
            cache.keep("page", f"v{number}", b"x")
        cache.keep("another", "v1", b"y")

        assert cache.find("page", "v9999") == b"x"

    @pytest.mark.parametrize("asked", UNKEPT, ids=str)
    def test_a_page_that_few_ask_for_is_not_kept(self, asked):
        assert not is_first_page(MessageQuery.model_validate(asked))

    @pytest.mark.parametrize("asked", [{}, {"limit": 10}, {"sort": "offset"}], ids=str)
    def test_a_first_page_is(self, asked):
        assert is_first_page(MessageQuery.model_validate(asked))
