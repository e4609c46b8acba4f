"""Ten thousand ugly connects and disconnects, and the process is what it was after the first.

Beside the thousand of test_leaks.py, each of which takes its time: many at once, at every stage,
to see what only numbers show. Memory too, which no census of objects sees whole.
"""

import pytest

from tests.serving import churn
from tests.serving.books import Books, wait_until_as_before, wait_until_it_rests, who_is_here
from tests.serving.ugly import Scene

ROUND = 1_000
WARM_UP = 2
# After those; the worker runs the same code, and shows that it does.
ROUNDS = {"run.py": 8, "worker": 2}
# For 8,000 connections: what the allocator may not find a use for. The census counts the objects;
# this is for what it can't see, such as a buffer of a few kilobytes for each.
MOST_MORE_KIB = 12 * 1024


@pytest.mark.timeout(600)
class TestTenThousand:
    def test_all_is_as_before(self, scene_and_books: tuple[Scene, Books], request, rng, tell):
        """Descriptors, greenlets, sessions, watchers, who is present, every gauge, and memory."""
        scene, books = scene_and_books
        rounds = ROUNDS[request.node.callspec.params["scene_and_books"]]
        with churn.Churn(scene, rng) as crowd:
            for _ in range(WARM_UP):
                crowd.run(ROUND)
                crowd.close()
            before, first_kib = wait_until_it_rests(books), books.resident_kib()
            for _ in range(rounds):
                crowd.close()
                crowd.run(ROUND)
            # Those who are half open are so still: the server alone knows that they are gone.
            wait_until_as_before(books, before)
        wait_until_as_before(books, before)
        more_kib = books.resident_kib() - first_kib
        tell(f"{crowd.number} connections, {crowd.taken_part} let in: {more_kib} KiB more")

        assert who_is_here(scene) == []
        assert "Traceback" not in scene.server.log
        assert crowd.number >= ROUND * (WARM_UP + rounds)
        assert crowd.taken_part > crowd.number / 4
        assert more_kib < MOST_MORE_KIB
