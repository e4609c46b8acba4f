"""A thousand connections of every ugly kind, and nothing of them is left.

For `run.py serve` and a worker of gunicorn. What ends by a time has its time set short.
"""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack

from tests.serving import ugly
from tests.serving.books import Books, wait_until_as_before, wait_until_it_rests, who_is_here

NUMBER = 1000
FIRST = 3 * len(ugly.KINDS)  # what is made once, such as a pool, is made by them


def misbehave(scene: ugly.Scene, number: int, rng: random.Random) -> Iterator[socket.socket]:
    """Let so many come and go in their ways; give the sockets that are left open."""
    kinds = [ugly.KINDS[place % len(ugly.KINDS)] for place in range(number)]
    rng.shuffle(kinds)
    for kind in kinds:
        if left := kind(scene):
            yield left


class TestNothingIsLeft:
    def test_after_a_thousand_ugly_ends_all_is_as_before(
        self, scene_and_books: tuple[ugly.Scene, Books], rng: random.Random
    ) -> None:
        """Though those who are half open stay so: the server alone knows that they are gone."""
        scene, books = scene_and_books
        for first in misbehave(scene, FIRST, rng):
            first.close()
        before = wait_until_it_rests(books)
        with ExitStack() as left:
            for connection in misbehave(scene, NUMBER, rng):
                left.enter_context(connection)
            wait_until_as_before(books, before)
            here = who_is_here(scene)
        failed = [line for line in scene.server.log.splitlines() if "Traceback" in line]

        assert here == []
        assert all(any(name in line for name in ugly.FAILURES) for line in failed)
        assert len(failed) >= (FIRST + NUMBER) // len(ugly.KINDS) * len(ugly.RAISING)
