"""Replays the examples of a page against a real server, and compares answer by answer.

Ids, epochs and texts that end in an ellipsis differ from run to run: the first sight of one binds
it to what the server gave, and from then on it stands for that, in requests and answers alike.
Everything else must be the same, field by field.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.docs.pages import Block
from tests.support.client import RestClient, SocketClient

# The id before the epoch: the first eight digits of an id are no epoch.
_OPAQUE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"
    r"|(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|(?P<epoch>\b[0-9a-f]{8}\b)"
)
_SHAPES = {
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "id": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "epoch": r"[0-9a-f]{8}",
}
# Seconds that pass while the example runs.
_PASSING = {"expires_in", "retry_after"}
_STATUS = re.compile(r"^\d{3} ")
_HEADER = re.compile(r"^([A-Z][\w-]*): (.*)$")


class MismatchError(AssertionError):
    """The page says one thing and the server another."""


@dataclass
class Names:
    """What the names on the page stand for."""

    bound: dict[str, str] = field(default_factory=dict)

    def to_server(self, text: str) -> str:
        """Put what the server knows in place of the page's names."""
        return _OPAQUE.sub(lambda found: self.bound.get(found[0], found[0]), text)

    def compare(self, page: Any, server: Any, where: str = "answer") -> None:
        """Hold an answer against the page.

        Raises: MismatchError. Names that were bound on the way stay so only if all of it fits.
        """
        before = dict(self.bound)
        try:
            self._compare(page, server, where)
        except MismatchError:
            self.bound = before
            raise

    def _compare(self, page: Any, server: Any, where: str) -> None:
        if isinstance(page, dict) and isinstance(server, dict):
            page = {self.to_server(name): value for name, value in page.items()}
            if page.keys() != server.keys():
                raise MismatchError(f"{where}: fields {sorted(page)} against {sorted(server)}")
            for name, value in page.items():
                theirs = server.get(name)
                if name not in _PASSING or not isinstance(theirs, int | float):
                    self._compare(value, theirs, f"{where}.{name}")
        elif isinstance(page, list) and isinstance(server, list):
            if len(page) != len(server):
                raise MismatchError(f"{where}: {len(page)} items against {len(server)}")
            for index, (mine, theirs) in enumerate(zip(page, server, strict=True)):
                self._compare(mine, theirs, f"{where}[{index}]")
        elif isinstance(page, str) and isinstance(server, str):
            self._compare_text(page, server, where)
        elif type(page) is not type(server) or page != server:
            raise MismatchError(f"{where}: {page!r} against {server!r}")

    def _compare_text(self, page: str, server: str, where: str) -> None:
        if page.endswith("…"):
            if not server.startswith(page[:-1]):
                raise MismatchError(f"{where}: {page!r} against {server!r}")
            return
        pattern, opaque, end = "", [], 0
        for found in _OPAQUE.finditer(page):
            pattern += re.escape(page[end : found.start()]) + f"({_SHAPES[found.lastgroup or '']})"
            opaque.append(found)
            end = found.end()
        fits = re.fullmatch(pattern + re.escape(page[end:]), server)
        if fits is None:
            raise MismatchError(f"{where}: {page!r} against {server!r}")
        for found, theirs in zip(opaque, fits.groups(), strict=True):
            self._bind(found, theirs, where)

    def _bind(self, found: re.Match[str], theirs: str, where: str) -> None:
        if found.lastgroup != "time" and self.bound.setdefault(found[0], theirs) != theirs:
            raise MismatchError(f"{where}: {found[0]} was {self.bound[found[0]]}, is {theirs}")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One example over HTTP."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int
    answer_headers: dict[str, str]
    answer: Any

    @classmethod
    def parse(cls, text: str) -> "Exchange":
        """Read an example: the request, a line with the status, and the answer."""
        lines = text.splitlines()
        at = next(index for index, line in enumerate(lines) if _STATUS.match(line))
        method, path = lines[0].split(" ")
        headers, body = _headers(lines[1:at])
        answer_headers, answer = _headers(lines[at + 1 :])
        return cls(
            method,
            path,
            headers,
            body,
            int(lines[at][:3]),
            answer_headers,
            json.loads(answer) if answer else None,
        )


def _headers(lines: list[str]) -> tuple[dict[str, str], str]:
    headers: dict[str, str] = {}
    for index, line in enumerate(lines):
        found = _HEADER.match(line)
        if found is None:
            return headers, "\n".join(lines[index:]).strip()
        headers[found[1]] = found[2]
    return headers, ""


def packets(text: str) -> list[tuple[str, str, Any]]:
    """Read an example of a socket: `(arrow, name, data)` of each packet."""
    return [
        (piece[0], (words := piece[1:].split(None, 1))[0], json.loads(words[1]))
        for piece in re.split(r"^(?=[→←])", text, flags=re.MULTILINE)
        if piece
    ]


class Replay:
    """Runs the examples of one page, in order, as the users whom it names."""

    def __init__(self, url: str, names: Names) -> None:
        self.names = names
        self._url = url
        self._rest: dict[str, RestClient] = {}
        self._sockets: dict[str, tuple[SocketClient, list[tuple[str, Any]]]] = {}

    def sign_in(self, name: str, client: RestClient) -> None:
        """Say whose token a user's examples are run with."""
        self._rest[name] = client

    def run(self, block: Block, user: str) -> None:
        """Run one example.

        Raises: AssertionError, with the place of the example on the page.
        """
        try:
            if block.language == "http":
                self._call(Exchange.parse(block.text), user)
            else:
                self._talk(packets(block.text), user)
        except AssertionError as error:
            raise MismatchError(f"{block.place}: {error}") from None

    def close(self) -> None:
        """Close every connection."""
        for socket, _ in self._sockets.values():
            socket.close()
        for client in self._rest.values():
            client.close()

    def _call(self, example: Exchange, user: str) -> None:
        client = self._rest.get(user) or RestClient(self._url)
        headers = {name: self.names.to_server(value) for name, value in example.headers.items()}
        path = self.names.to_server(example.path).removeprefix("/api/v1")
        body = self.names.to_server(example.body).encode() or None
        response = client.call(example.method, path, headers=headers, data=body)
        assert response.status_code == example.status, response.text
        for name, value in example.answer_headers.items():
            self.names.compare(value, response.headers.get(name), name)
        if example.answer is not None:
            self.names.compare(example.answer, response.json())
        if user == "nobody" and response.status_code == 201 and "access_token" in response.json():
            name = response.json()["user"]["username"]
            self.sign_in(name, RestClient(self._url, token=response.json()["access_token"]))

    def _talk(self, said: list[tuple[str, str, Any]], user: str) -> None:
        if user not in self._sockets:
            socket = SocketClient(self._url, self._rest[user].access_token).connect()
            self._sockets[user] = (socket, [])
        socket, seen = self._sockets[user]
        answer: Any = None
        for arrow, name, data in said:
            if arrow == "→":
                packet = json.loads(self.names.to_server(json.dumps(data)))
                answer = socket.call(name, packet)
            elif name == "ack":
                self.names.compare(data, answer, "ack")
            else:
                self._expect(socket, seen, name, data)

    def _expect(
        self, socket: SocketClient, seen: list[tuple[str, Any]], name: str, data: Any
    ) -> None:
        # Each packet of the server answers for one packet on the page; others may lie between.
        why: list[str] = []

        def fits(client: SocketClient) -> bool:
            why.clear()
            for packet in client.packets:
                if packet[0] != name or any(packet is old for old in seen):
                    continue
                try:
                    self.names.compare(data, packet[1], name)
                except MismatchError as error:
                    why.append(str(error))
                else:
                    seen.append(packet)
                    return True
            return False

        try:
            socket.wait_for(fits, deadline_s=30, what=name)
        except AssertionError as error:
            raise MismatchError("; ".join(why) or str(error)) from None
