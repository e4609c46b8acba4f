"""The collector of cycles: it looks seldom, not never, and leaves alone what was loaded."""

import subprocess
import sys

from tests.support.server import ROOT

SCRIPT = """
import gc, weakref
from realtime.memory import look_for_cycles_seldom

class Circle:
    def __init__(self):
        self.me = self

look_for_cycles_seldom()
known, before = gc.get_freeze_count(), gc.get_stats()[0]["collections"]
first = weakref.ref(Circle())
for made in range(20_000):
    if first() is None:
        break
    Circle()
print(known, gc.get_stats()[0]["collections"] - before, made)
"""


class TestTheCollector:
    def test_it_walks_over_what_is_new_alone_and_does(self):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=ROOT, check=True, capture_output=True, text=True
        )
        known, times, made = map(int, done.stdout.split())

        assert known > 1000
        assert times == 1
        assert 2_000 < made < 20_000 - 1
