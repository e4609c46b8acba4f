"""Choosing the door, and going on behind the last event that was shown after each cut.

WebSocket is tried first, then Server-Sent Events, then long-poll. A door that stays shut is
left out for a minute, so a cut costs no long wait, and a better network is found again.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import requests

from tail.doors import Call, Door, DoorLostError, TailError, TokenEndedError
from tail.http_doors import PollDoor, SseDoor
from tail.socket_door import SocketDoor
from tail.view import View, Wanted, note

_SOCKET_S = 5.0
_SSE_S = 3.0
_LEFT_OUT_S = 60.0
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_WORDS = {"socket": "WebSocket", "sse": "Server-Sent Events", "poll": "long-poll"}
DOORS = tuple(_WORDS)


def follow(url: str, get_token: Callable[[], str], wanted: Wanted, door: str = "auto") -> None:
    """Show events until interrupted; `door` is one of DOORS, or auto.

    Raises:
        TailError: the server can't be reached, or refuses.
    """
    made: list[Door] = [SocketDoor(_SOCKET_S), SseDoor(_SSE_S), PollDoor()]
    doors = [one for one in made if door in ("auto", one.name)]
    _Following(url.rstrip("/"), get_token, View(wanted), doors).run()


class _Following:
    def __init__(
        self, url: str, get_token: Callable[[], str], view: View, doors: Sequence[Door]
    ) -> None:
        self._url = url
        self._get_token = get_token
        # The first is made at once, so that its fault is told at once.
        self._first_token: str | None = get_token()
        self._view = view
        self._doors = doors
        self._left_out: dict[str, float] = {}
        self._shut: list[str] = []
        self._was_open = False
        self._is_open = False
        self._failures = 0

    def run(self) -> None:
        while True:
            lost = self._try_doors()
            if not self._was_open and not lost.is_ours:
                raise TailError(f"{self._url}: {lost}")
            pause = min(_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
            self._failures = min(self._failures + 1, 10)
            time.sleep(lost.retry_after_s + random.uniform(pause / 2, pause))  # noqa: S311

    def _try_doors(self) -> DoorLostError:
        lost = self._away()
        if lost is not None:
            return lost
        token, self._first_token = self._first_token or self._get_token(), None
        self._shut = []
        for door in self._order():
            lost = self._try(door, token)
            if self._is_open or lost.is_ours:
                return lost
            self._shut.append(door.name)
        return lost or DoorLostError("there is no door")

    def _try(self, door: Door, token: str) -> DoorLostError:
        self._is_open = False
        call = Call(self._url, token, self._view)
        try:
            door.follow(call, lambda where: self._opened(door, where))
        except TokenEndedError as ended:
            if not self._is_open:
                raise
            return DoorLostError(str(ended), is_ours=True)
        except DoorLostError as lost:
            how = "was cut off" if self._is_open else "does not open"
            note(f"{_WORDS[door.name]} {how}: {lost}")
            return lost
        return DoorLostError("ended")

    def _opened(self, door: Door, where: str) -> None:
        self._is_open = self._was_open = True
        self._failures = 0
        # A door is to blame only where a lower one opens: else the server was away.
        until = time.monotonic() + _LEFT_OUT_S
        self._left_out |= dict.fromkeys(self._shut, until)
        note(f"connected by {_WORDS[door.name]} {where}".rstrip())

    def _order(self) -> Sequence[Door]:
        now = time.monotonic()
        fits = [one for one in self._doors if self._left_out.get(one.name, 0) <= now]
        return fits or self._doors

    def _away(self) -> DoorLostError | None:
        # Where there is no server at all, no door says anything about the network.
        try:
            status = requests.get(f"{self._url}/healthz", timeout=_SOCKET_S).status_code
        except requests.RequestException as error:
            return DoorLostError(str(error))
        return DoorLostError(f"HTTP status {status}") if status >= 500 else None


def read_position(after: str | None) -> dict[str, Any] | None:
    """Read what `--after` takes.

    Raises:
        TailError: it is no position.
    """
    if after is None:
        return None
    offset, _, epoch = after.rpartition("@")[2].partition("/")
    if not (offset.isdigit() and epoch):
        raise TailError("--after takes OFFSET/EPOCH, as publish prints it")
    return {"offset": int(offset), "epoch": epoch}
