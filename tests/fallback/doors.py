"""Readers by the doors over plain HTTP: one by polls, one by Server-Sent Events."""

import json
import threading
from collections.abc import Iterator
from typing import Any, Self

import requests

from tests.support.client import API, RestClient
from tests.support.wait import wait_until

DEADLINE_S = 60.0
Fields = dict[str, str]


class Poller:
    """Polls one call after another, and keeps what it was told."""

    def __init__(self, who: RestClient, **query: Any) -> None:
        self._who = who
        self.events: list[Any] = []
        self.cursor = ""
        self.last = self.ask(**query)

    def ask(self, **query: Any) -> Any:
        """Call once."""
        answer = self._who.get("/events", params=query, timeout=DEADLINE_S)
        assert answer.status_code == 200, answer.text
        self.last = answer.json()
        self.events += self.last["events"]
        self.cursor = self.last["cursor"]
        return self.last

    def go_on(self, wait: float = 30, **query: Any) -> Any:
        """Wait for the next answer."""
        return self.ask(cursor=self.cursor, wait=wait, **query)

    def read_to(self, offset: int) -> None:
        """Go on until an event of that offset was told."""
        while not self.events or self.events[-1]["offset"] < offset:
            self.go_on()

    @property
    def offsets(self) -> list[int]:
        """The offsets of all events."""
        return [event["offset"] for event in self.events]


class Waiting:
    """A poll that waits, in a thread of its own."""

    def __init__(self, who: RestClient, cursor: str, wait: float = 60, **query: Any) -> None:
        self._answers: list[requests.Response] = []
        self._url = f"{who.url}{API}/events"
        self._params = {"cursor": cursor, "wait": wait, **query}
        self._headers = {"Authorization": f"Bearer {who.access_token}"}
        before = followers(who)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: followers(who) > before, what="the poll to wait")

    def _run(self) -> None:
        self._answers.append(
            requests.get(
                self._url, params=self._params, headers=self._headers, timeout=DEADLINE_S * 2
            )
        )

    def answer(self) -> requests.Response:
        """Wait for its answer."""
        self._thread.join(DEADLINE_S * 2)
        return self._answers[0]


def followers(who: RestClient) -> int:
    """Count the polls and streams on the caller's node."""
    lines = requests.get(f"{who.url}/metrics", timeout=DEADLINE_S).text.splitlines()
    return round(float(next(x for x in lines if x.startswith("fanfare_followers ")).split()[1]))


class Stream:
    """A stream of Server-Sent Events, read field by field."""

    def __init__(
        self, who: RestClient, *, last_id: str = "", ticket: str = "", **query: Any
    ) -> None:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        if ticket:
            query["ticket"] = ticket
        else:
            headers["Authorization"] = f"Bearer {who.access_token}"
        self.answer = requests.get(
            f"{who.url}{API}/events/stream",
            params=query,
            headers=headers,
            stream=True,
            timeout=DEADLINE_S,
        )
        self._lines = self.answer.iter_lines(chunk_size=None)
        self.last_id = last_id
        self.comments = 0
        self.told: list[tuple[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Go away without a word."""
        self.answer.close()

    def _blocks(self) -> Iterator[Fields]:
        fields: Fields = {}
        for line in self._lines:
            text = line.decode()
            if text.startswith(":"):
                self.comments += 1
            elif text:
                name, _, value = text.partition(": ")
                fields[name] = value
            elif fields:
                block, fields = fields, {}
                yield block

    def read(self) -> tuple[str, Any]:
        """Read the next thing.

        Raises: ConnectionError at the stream's end.
        """
        for block in self._blocks():
            self.last_id = block.get("id", self.last_id)
            if "event" in block:
                self.told.append((block["event"], json.loads(block["data"])))
                return self.told[-1]
        raise ConnectionError("the stream has ended")

    def read_until(self, name: str) -> Any:
        """Read until something of that name is told, and give it."""
        while True:
            found, data = self.read()
            if found == name:
                return data

    def read_to(self, offset: int) -> None:
        """Read until an event of that offset was told."""
        while self.read_until("event")["offset"] < offset:
            pass

    @property
    def offsets(self) -> list[int]:
        """The offsets of all events."""
        return [data["offset"] for name, data in self.told if name == "event"]
