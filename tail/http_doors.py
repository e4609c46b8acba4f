"""The lower doors, over plain HTTP: Server-Sent Events, and long-poll."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3

from core import json
from tail.doors import Call, DoorLostError, TailError, goodbye, refusal
from tail.view import Fields, View

_CONNECT_S = 5.0
_WAIT_S = 25
# The server breaks a stream's silence every 15 s; a poll is answered once it has waited enough.
_SILENCE_S = 40.0
_PIECE = 65_536


class PollDoor:
    """It is open when the first poll was answered."""

    name = "poll"

    def follow(self, call: Call, opened: Callable[[str], None]) -> None:
        """Poll until an answer does not come."""
        answer = self._ask(call, _from_position(call.view))
        _refuse_lost(answer, call.view)
        (full,) = answer["streams"].values()
        call.view.put_page(full, answer["events"], answer["positions"][full])
        opened("")
        while True:
            self._take(answer, call.view)
            answer = self._ask(call, {"cursor": answer["cursor"], "wait": _WAIT_S})

    def _take(self, answer: Fields, view: View) -> None:
        for event in answer["events"]:
            view.put(event)
        for told in answer["resets"]:
            view.reset(told["stream"], told["reason"], told["position"])
        for signal in answer["signals"]:
            view.show_signal(signal)
        _refuse_lost(answer, view)
        if answer["bye"]:
            raise goodbye(answer["bye"])
        if view.has_gap():
            raise DoorLostError("an event is missing; it is asked for again")

    def _ask(self, call: Call, query: Fields) -> Fields:
        try:
            got = _get(call, "/events", query)
            _refuse(got, call.view)
            answer: Fields = got.json()
        except (requests.RequestException, ValueError) as error:
            raise DoorLostError(_plainly(error)) from error
        return answer


class SseDoor:
    """It is open when the stream's `ready` was read: a proxy that keeps it back is no door."""

    name = "sse"

    def __init__(self, budget_s: float) -> None:
        self._budget_s = budget_s

    def follow(self, call: Call, opened: Callable[[str], None]) -> None:
        """Follow until the stream ends."""
        reader = _Reader(call)
        try:
            name, ready = reader.next(self._budget_s)
            if name != "ready":
                raise DoorLostError(f"the stream began with {name!r}")
            _refuse_lost(ready, call.view)
            (full,) = ready["streams"].values()
            call.view.begin(full, ready["positions"][full])
            opened(f"to node {ready['node'][:8]}")
            while True:
                _tell(*reader.next(_SILENCE_S), call.view)
        finally:
            reader.close()


def _tell(name: str, data: Fields, view: View) -> None:
    if name == "event":
        view.put(data)
    elif name == "signal":
        view.show_signal(data)
    elif name == "reset":
        view.reset(data["stream"], data["reason"], data["position"])
    elif name == "unsubscribed":
        _refuse_lost({"unsubscribed": [data]}, view)
    elif name == "bye":
        raise goodbye(data)
    if view.has_gap():
        raise DoorLostError("an event is missing; it is asked for again")


class _Reader:
    """Reads in a thread of its own: what keeps a stream back may keep it back for good."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._is_over = False
        self._answer: requests.Response | None = None
        self._told: queue.SimpleQueue[tuple[str, Fields] | Exception] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def next(self, within_s: float) -> tuple[str, Fields]:
        """Wait for the next thing; a comment is one too."""
        try:
            told = self._told.get(timeout=within_s)
        except queue.Empty:
            raise DoorLostError(f"nothing was shown in {within_s:g} s") from None
        if isinstance(told, Exception):
            raise told
        return told

    def close(self) -> None:
        self._is_over = True
        if self._answer is not None:
            try:
                self._answer.raw.shutdown()  # wakes the thread; it closes the answer
            except (OSError, RuntimeError, ValueError):
                pass  # the answer has ended already

    def _run(self) -> None:
        try:
            with _get(self._call, "/events/stream", _from_position(self._call.view), True) as got:
                self._answer = got
                _refuse(got, self._call.view)
                for told in _things(self._lines(got)):
                    self._told.put(told)
            self._told.put(DoorLostError("the stream has ended"))
        except (TailError, DoorLostError) as error:
            self._told.put(error)
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            self._told.put(DoorLostError(_plainly(error)))

    def _lines(self, got: requests.Response) -> Iterator[bytes]:
        rest = b""
        while not self._is_over and (piece := got.raw.read1(_PIECE)):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines


def _things(lines: Iterator[bytes]) -> Iterator[tuple[str, Fields]]:
    name, data = "", b""
    for line in lines:
        if line.startswith(b":"):
            yield "comment", {}
        elif line.startswith(b"event: "):
            name = line[7:].decode()
        elif line.startswith(b"data: "):
            data = line[6:]
        elif not line and name:
            yield name, json.loads(data)
            name, data = "", b""


def _from_position(view: View) -> Fields:
    if not view.position:
        return {"streams": view.name, "history": view.wanted.history}
    at = view.position
    return {"streams": f"{view.name}@{at['offset']}/{at['epoch']}"}


def _get(call: Call, path: str, query: Fields, is_stream: bool = False) -> requests.Response:
    headers = {"Authorization": f"Bearer {call.token}"}
    if is_stream:
        headers |= {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
    return requests.get(
        f"{call.url}/api/v1{path}",
        params=query,
        headers=headers,
        stream=is_stream,
        timeout=(_CONNECT_S, _SILENCE_S),
    )


def _refuse(got: requests.Response, view: View) -> None:
    if got.ok:
        return
    if not got.headers.get("Content-Type", "").startswith("application/problem+json"):
        raise DoorLostError(f"HTTP status {got.status_code}")  # of a proxy in between
    told: Any = got.json()
    wait = got.headers.get("Retry-After", "")
    if told["code"] in ("not_found", "forbidden"):
        # It ended between two calls, where it was followed before.
        what = f"access ended: {told['code']}" if view.stream else told["detail"]
        told["detail"] = f"{view.wanted.stream}: {what}"
    raise refusal(told["code"], told["detail"], float(wait) if wait.isdigit() else 0.0)


def _refuse_lost(told: Fields, view: View) -> None:
    for one in told["unsubscribed"]:
        raise TailError(f"{view.wanted.stream}: access ended: {one['code']}")


def _plainly(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
