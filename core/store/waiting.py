"""How one waits for PostgreSQL's answers: by whatever lets others run meanwhile.

psycopg would ask `select`, which the loop's own version builds from tables and timers at each
call; nearly always it is one descriptor that is to be read. All else psycopg waits for itself.
"""

from collections.abc import Callable, Generator
from typing import Any

import psycopg
from psycopg.waiting import Ready, Wait
from sqlalchemy import Engine, event


def wait_by(engine: Engine, wait_readable: Callable[[int], object]) -> None:
    """Have the connections of an engine wait until a descriptor can be read by this function."""

    class Waiting(psycopg.Connection[Any]):
        """A connection that waits so."""

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                wanted = next(gen)
                while wanted == Wait.R and timeout is None:
                    self._wait_readable()
                    wanted = gen.send(Ready.R)
            except StopIteration as end:
                return end.value
            return super().wait(_go_on(gen, wanted), interval, timeout)

        def _wait_readable(self) -> None:
            try:
                wait_readable(self.pgconn.socket)
            except BaseException:
                # Its answer may still come, and is nobody else's: it is not to be used again.
                self.pgconn.finish()
                raise

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, args: Any, named: Any) -> Any:
        return Waiting.connect(*args, **named)


def _go_on(gen: Any, wanted: Wait) -> Generator[Wait, Ready | int, Any]:
    # What waits is a generator from its beginning; this one was begun.
    while True:
        ready = yield wanted
        try:
            wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
