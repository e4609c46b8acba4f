"""A record of somebody in a stream: whose status shows is known without a look at all of them."""

import random
from collections.abc import Iterator
from typing import Any

from realtime.presence_store import Record, Seat


def shown(seats: dict[str, Seat]) -> str | None:
    """Look at all of them."""
    latest = max(seats.items(), key=lambda item: (item[1].at_ms, item[0]), default=None)
    return latest[1].status if latest else None


class Counted(dict[str, Seat]):
    """Seats that count how often somebody looks at all of them."""

    walks = 0

    def __iter__(self) -> Iterator[str]:
        self.walks += 1
        return super().__iter__()


class TestARecord:
    def test_the_status_that_was_set_last_shows(self, rng: random.Random):
        """However they come, change and leave, also within one millisecond."""
        record = Record(0)
        for number in range(5000):
            name = f"c{rng.randrange(8)}"
            if rng.random() < 0.4:
                record.take(name)
            else:
                record.put(name, Seat("n", "s", f"status {number}", rng.randrange(6)))

            assert rng.random() < 0.5 or record.status == shown(record.seats)

    def test_another_one_who_comes_takes_no_look_at_all_the_others(self):
        seats: Any = Counted()
        record = Record(0, seats)
        for number in range(100):
            record.put(f"c{number:03}", Seat("n", "s", "online", number))
            assert record.status == "online"

        assert seats.walks <= 1
