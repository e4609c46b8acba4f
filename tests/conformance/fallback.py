"""The doors over plain HTTP: a poll whose answer is read later, and a stream of SSE.

Both can be opened and then left alone, so that something happens while they wait.
"""

import contextlib
import gzip
import http.client
import json
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.conformance.people import Login
from tests.conformance.wire import API, Json, deadline, patience_s

POLL = "/events"
SSE = "/events/stream"


class CallRefusedError(AssertionError):
    """The server answered with an error."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.code: str | None = body.get("code")
        self.fields: set[str] = {error["field"] for error in body.get("errors", [])}


class _Call:
    """A GET that was sent, and whose answer is read when the test wants it."""

    def __init__(
        self, login: Login, path: str, query: Json, *, node: int = 0, headers: Json | None = None
    ) -> None:
        where = urlsplit(login.target.url(node))
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        self._connection = kind[where.scheme](where.netloc, timeout=patience_s())
        sent = {} if "ticket" in query else {"Authorization": f"Bearer {login.token}"}
        address = f"{where.path}{API}{path}?{urlencode(query)}"
        self._connection.request("GET", address, headers={**sent, **(headers or {})})
        self._response: http.client.HTTPResponse | None = None

    @property
    def response(self) -> http.client.HTTPResponse:
        """The answer, as soon as its head is there."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def header(self, name: str) -> str:
        """Give a header of the answer, or nothing."""
        return self.response.headers.get(name, "")

    def refused(self) -> CallRefusedError:
        """Give the error that the answer has to be."""
        assert self.response.status >= 400, f"it was accepted: {self.response.status}"
        body = json.loads(self.response.read())
        self.close()
        return CallRefusedError(self.response.status, body)

    def close(self) -> None:
        """Cut the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()
            if self._response is not None:
                self._response.close()


class Poll(_Call):
    """One long-poll."""

    def __init__(self, login: Login, **query: Any) -> None:
        node, headers = query.pop("node", 0), query.pop("headers", None)
        super().__init__(login, POLL, _text(query), node=node, headers=headers)

    def answer(self) -> Json:
        """Wait for the answer.

        Raises: CallRefusedError.
        """
        if self.response.status != 200:
            raise self.refused()
        body = self.response.read()
        if self.header("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.close()
        found: Json = json.loads(body)
        return found


class Sse(_Call):
    """One stream of Server-Sent Events. `notes` is all that was read: `(name, id, data)`.

    A comment is the note `(":", None, text)`; the end is `("end", None, None)`.
    """

    def __init__(self, login: Login, **query: Any) -> None:
        node, headers = query.pop("node", 0), query.pop("headers", None)
        super().__init__(login, SSE, _text(query), node=node, headers=headers)
        self.notes: list[tuple[str, str | None, Any]] = []
        self.retry: int | None = None  # what the server asked for, in milliseconds
        self.last_id: str | None = None

    def ready(self) -> Json:
        """Wait for `ready`, which has to come first.

        Raises: CallRefusedError.
        """
        if self.response.status != 200:
            raise self.refused()
        name, _, data = self.read()
        assert name == "ready", f"{name} instead of ready: {data}"
        found: Json = data
        return found

    def read(self) -> tuple[str, str | None, Any]:
        """Read one note; comments and the time to wait are gone over."""
        end = deadline()
        while time.monotonic() < end:
            note = self._read_note()
            if note is not None:
                self.notes.append(note)
                return note
        raise TimeoutError(f"only comments came; the last notes: {self.notes[-5:]}")

    def read_until(self, *names: str) -> tuple[str, str | None, Any]:
        """Read up to the first note of one of these names."""
        end = deadline()
        while True:
            note = self.read()
            if note[0] in names:
                return note
            assert note[0] != "end", f"it ended before any {names}: {self.notes[-5:]}"
            assert time.monotonic() < end, f"no {names} came: {self.notes[-5:]}"

    def read_to_the_end(self) -> None:
        """Read until the stream is over."""
        while self.read()[0] != "end":
            pass
        self.close()

    def read_comment(self) -> str:
        """Read up to a comment, over all else."""
        while True:
            line = self._line()
            assert line is not None, "it ended"
            if line.startswith(":"):
                return line

    def named(self, name: str) -> list[Any]:
        """Give the data of every note of that name that was read."""
        return [data for found, _, data in self.notes if found == name]

    def _read_note(self) -> tuple[str, str | None, Any] | None:
        fields: dict[str, str] = {}
        while True:
            line = self._line()
            if line is None:
                return ("end", None, None)
            if not line:
                break
            name, _, value = line.partition(":")
            if name:
                fields[name] = fields.get(name, "") + value.removeprefix(" ")
        if "retry" in fields:
            self.retry = int(fields["retry"])
        self.last_id = fields.get("id", self.last_id)
        if "data" not in fields:
            return None
        return fields.get("event", "message"), fields.get("id"), json.loads(fields["data"])

    def _line(self) -> str | None:
        try:
            line = self.response.readline()
        except TimeoutError:
            raise TimeoutError(f"nothing came; the last notes: {self.notes[-5:]}") from None
        except (http.client.HTTPException, OSError):
            return None
        return line.decode().rstrip("\r\n") if line else None


def _text(query: Json) -> Json:
    streams = query.get("streams")
    if isinstance(streams, list):
        query = {**query, "streams": ",".join(streams)}
    words = {True: "true", False: "false"}
    return {name: words.get(v, v) if isinstance(v, bool) else v for name, v in query.items()}


def wish(stream: str, at: Json | None = None) -> str:
    """Name a stream, and the position to go on from."""
    return stream if at is None else f"{stream}@{at['offset']}/{at['epoch']}"
