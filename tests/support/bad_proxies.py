"""A proxy for HTTP with the faults of real ones, to be put between a client and a server.

Each fault is switched on and off while it runs. Each request has a connection of its own, so
that none of them slips through on one that was opened before.
"""

import asyncio
import re
import threading
from collections.abc import Coroutine
from typing import Any, Self
from urllib.parse import urlsplit

_LAST_TURNS = 10
_CHUNK = 65_536
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_END = b"\r\n\r\n"


class BadProxy:
    """Passes requests and WebSockets on to the server at `target`, as its faults let it.

    `refuse_upgrades` answers the handshake of a WebSocket with 403. `swallow_frames` lets the
    handshake through and nothing after it, either way; a socket that lost a byte so is deaf for
    good. `buffer_sse` passes the head of a `text/event-stream` on and keeps its body until the
    stream ends, or until the fault is switched off. Each counts what it did.
    """

    def __init__(self, target: str) -> None:
        self._host = urlsplit(target).hostname or "127.0.0.1"
        self._target_port = urlsplit(target).port or 80
        self.refuse_upgrades = False
        self.swallow_frames = False
        self.buffer_sse = False
        self.refused = 0
        self.swallowed = 0
        self.buffered = 0
        self.requests: list[str] = []  # "GET /path" of each, in the order in which they came
        self._passes: dict[asyncio.Task[None], str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where clients go instead of the target."""
        return f"http://127.0.0.1:{self.port}"

    def heal(self) -> None:
        """Switch every fault off."""
        self.refuse_upgrades = self.swallow_frames = self.buffer_sse = False

    def cut(self, path: str = "") -> None:
        """End the open connections whose path begins so, of WebSockets and streams too."""
        self._run(self._cut(path))

    def open(self, path: str = "") -> int:
        """Count the open connections whose path begins so."""
        return sum(one.startswith(path) for one in list(self._passes.values()))

    def close(self) -> None:
        """End it, and every connection through it."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end(self) -> None:
        # Nobody more is accepted. The server closes last: whom it accepted in the turn of its end
        # it would drop half made, and never close. Each turn some begin, and some end.
        for listening in self._server.sockets:
            self._loop.remove_reader(listening.fileno())
        for _ in range(_LAST_TURNS):
            await self._cut("")
            await asyncio.sleep(0)
        self._server.close()

    async def _cut(self, path: str) -> None:
        tasks = [task for task, one in self._passes.items() if one.startswith(path)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passes[task] = ""
        try:
            await self._pass(task, reader, writer)
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one side went away, or we were told to end it: the other side is told by an end
        finally:
            del self._passes[task]
            writer.transport.abort()

    async def _pass(
        self,
        task: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        head = await reader.readuntil(_END)
        method, path = head.decode("latin-1").split(" ", 2)[:2]
        self._passes[task] = path
        self.requests.append(f"{method} {path}")
        upgrades = _has(head, b"upgrade", b"websocket")
        if upgrades and self.refuse_upgrades:
            self.refused += 1
            writer.write(_REFUSAL)
            await writer.drain()
            return
        up_reader, up_writer = await asyncio.open_connection(self._host, self._target_port)
        try:
            up_writer.write(head if upgrades else _for_once(head))
            if upgrades:
                writer.write(await up_reader.readuntil(_END))
                deaf = asyncio.Event()
                there = self._frames(reader, up_writer, deaf)
                back = self._frames(up_reader, writer, deaf)
            else:
                there, back = _pump(reader, up_writer), self._answer(up_reader, writer)
            await _until_one_ends(there, back)
        finally:
            up_writer.transport.abort()

    async def _frames(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        while piece := await reader.read(_CHUNK):
            if self.swallow_frames or deaf.is_set():
                deaf.set()  # for good: what follows a lost byte would be no frame
                self.swallowed += len(piece)
                continue
            writer.write(piece)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(_END)
        writer.write(_for_once(head))
        if not _has(head, b"content-type", b"text/event-stream"):
            await _pump(reader, writer)
        else:
            await self._pass_stream(reader, writer)
        await writer.drain()

    async def _pass_stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        kept = bytearray()
        next_piece = asyncio.ensure_future(reader.read(_CHUNK))
        try:
            while True:
                # It looks up now and then, so that what was kept is let go when the fault ends.
                await asyncio.wait({next_piece}, timeout=0.1 if kept else None)
                if next_piece.done():
                    if not (piece := next_piece.result()):
                        break
                    kept += piece
                    self.buffered += len(piece) if self.buffer_sse else 0
                    next_piece = asyncio.ensure_future(reader.read(_CHUNK))
                if not self.buffer_sse:
                    writer.write(bytes(kept))
                    kept.clear()
                    await writer.drain()
        finally:
            next_piece.cancel()
        writer.write(bytes(kept))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_CHUNK):
        writer.write(piece)
        await writer.drain()


async def _until_one_ends(*ways: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _has(head: bytes, name: bytes, value: bytes) -> bool:
    pattern = rb"^" + re.escape(name) + rb":[^\r\n]*" + re.escape(value)
    return re.search(pattern, head, re.IGNORECASE | re.MULTILINE) is not None


def _for_once(head: bytes) -> bytes:
    """Return a head that tells both sides to use the connection for this request alone."""
    kept = re.sub(rb"\r\n(connection|keep-alive):[^\r\n]*", b"", head, flags=re.IGNORECASE)
    return kept[: -len(_END)] + b"\r\nConnection: close" + _END
