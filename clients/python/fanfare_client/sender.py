"""Carries the outbox to the server: in order, with the same key until there is an answer."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanfare_client.core.backoff import full_jitter
from fanfare_client.core.calls import Call, Published, of_ack, of_answer, publish_call
from fanfare_client.core.errors import TOKEN_CODES, EndedError, FanfareError, from_wire
from fanfare_client.core.outbox import Entry, Outbox, line, replay
from fanfare_client.core.timing import Timing
from fanfare_client.doors.socket import SocketDoor
from fanfare_client.rest import Rest, body_of

JSON = dict[str, Any]


class Journal:
    """The outbox in a file, one line a change, so that it survives the program. Of one user."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def load(self) -> list[Entry]:
        """Return what is not done, and forget what is."""
        if self._path is None or not self._path.exists():
            return []
        entries = replay(self._path.read_text("utf-8").splitlines())
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text("".join(line(entry) + "\n" for entry in entries), "utf-8")
        fresh.replace(self._path)
        return entries

    def note(self, entry: Entry, *, done: bool = False) -> None:
        """Write down that an entry came, or that it is done."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line(entry, done=done) + "\n")


class Sender:
    """One client's publishes."""

    def __init__(
        self,
        rest: Rest,
        timing: Timing,
        *,
        socket: Callable[[], SocketDoor | None],
        journal: Path | None,
    ) -> None:
        self._rest = rest
        self._timing = timing
        self._socket = socket
        self._journal = Journal(journal)
        self._outbox = Outbox(self._journal.load())
        self._results: dict[Entry, asyncio.Future[Published]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._awake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._outbox)

    def start(self) -> None:
        """Send what an earlier run of the program left."""
        for entry in self._outbox.take():
            task = asyncio.get_running_loop().create_task(self._carry(entry))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def submit(self, entry: Entry) -> asyncio.Future[Published]:
        """Publish, however long that takes; what is returned tells what became of it."""
        self._outbox.add(entry)
        self._journal.note(entry)
        result: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._results[entry] = result
        self.start()
        return result

    def wake(self) -> None:
        """There is a way to the server again."""
        self._awake.set()
        self._awake = asyncio.Event()

    async def ask(self, call: Call) -> JSON:
        """Make a call once, through the socket where it is open. Raises: FanfareError."""
        socket = self._socket()
        if socket is None:
            return body_of(await self._rest.request(call.method, call.path, json=call.body))
        ack = await socket.call(call.packet, call.argument)
        if not ack["ok"]:
            raise from_wire(ack["error"])
        return {name: value for name, value in ack.items() if name != "ok"}

    async def close(self, error: FanfareError) -> None:
        """Stop. What is not done stays in the journal, and its callers are told so."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.fail(error)

    def fail(self, error: FanfareError) -> None:
        """Tell every caller that waits."""
        for result in self._results.values():
            if not result.done():
                result.set_exception(error)
                result.exception()  # nobody may be waiting, and that is fine
        self._results.clear()

    async def _carry(self, entry: Entry) -> None:
        while True:
            over_socket = self._socket()
            try:
                published = await self._once(entry, over_socket)
            except FanfareError as error:
                refused = error.code in TOKEN_CODES
                if isinstance(error, EndedError) or (refused and over_socket is None):
                    self._tell(entry, error)
                    return  # it stays: a new login may send it
                if not error.retryable and not refused:
                    self._done(entry)
                    self._tell(entry, error)
                    return
                await self._wait(entry, error, hurry=over_socket is not None)
            else:
                self._done(entry)
                self._tell(entry, published)
                return

    async def _once(self, entry: Entry, socket: SocketDoor | None) -> Published:
        call = publish_call(entry)
        if socket is not None:
            ack = await socket.call(call.packet, call.argument)
            if ack["ok"]:
                return of_ack(ack)
            raise from_wire(ack["error"])
        answer = await self._rest.request(call.method, call.path, json=call.body)
        published = of_answer(entry, body_of(answer), answer.headers)
        if not isinstance(published, Published):
            raise from_wire(published)
        return published

    async def _wait(self, entry: Entry, error: FanfareError, *, hurry: bool) -> None:
        wait_s = full_jitter(
            entry.attempts,
            base_s=self._timing.backoff_s,
            most_s=self._timing.backoff_most_s,
            random=random.random,
        )
        entry.attempts += 1
        if hurry and not error.retry_after and self._socket() is None:
            return  # the socket went: another door may be open at once
        try:
            async with asyncio.timeout(error.retry_after + wait_s):
                await self._awake.wait()
        except TimeoutError:
            pass  # nothing has changed; it is tried all the same

    def _done(self, entry: Entry) -> None:
        self._outbox.done(entry)
        self._journal.note(entry, done=True)
        self.start()

    def _tell(self, entry: Entry, outcome: Published | FanfareError) -> None:
        result = self._results.pop(entry, None)
        if result is None or result.done():
            return
        if isinstance(outcome, Published):
            result.set_result(outcome)
        else:
            result.set_exception(outcome)
            result.exception()  # nobody may be waiting, and that is fine
