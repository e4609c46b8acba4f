"""Which streams do not stand where a node takes them to be: asked of the database."""

from collections.abc import Iterator

import pytest

from core.services.history import LogReader
from tests.delivery.world import Core


@pytest.fixture
def core(database_url: str) -> Iterator[Core]:
    """The services on a fresh database."""
    with Core(database_url) as made:
        yield made


class TestWhatMoved:
    def test_only_those_that_moved_are_told(self, core: Core) -> None:
        """On, back, or to another numbering; not what stands still, nor what does not exist."""
        log = LogReader(core.db)
        still, went_on, is_behind, renumbered = (core.make_stream() for _ in range(4))
        places = {name: (core.state(name).top, core.state(name).epoch) for name in (still, went_on)}
        places[is_behind] = (99, core.state(is_behind).epoch)
        places[renumbered] = (core.state(renumbered).top, "another'\"\\")
        places["channel:no'\"\\where"] = (1, "e")
        core.publish(went_on, 1)

        moved = log.moved(places)

        assert moved == {name: core.state(name) for name in (went_on, is_behind, renumbered)}

    def test_of_none_nothing_is_told(self, core: Core) -> None:
        """A node that watches nothing."""
        assert LogReader(core.db).moved({}) == {}
        assert LogReader(core.db).tops([]) == {}
