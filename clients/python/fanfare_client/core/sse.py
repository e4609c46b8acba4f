"""Server-sent events, from text as it comes."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sent:
    """One event of the stream; `id` is the last that was told, which is where to go on from."""

    event: str
    data: str
    id: str


@dataclass(slots=True)
class Parser:
    """Feed it text, cut anywhere; it gives what is complete."""

    id: str = ""
    _rest: str = ""
    _event: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, text: str) -> list[Sent]:
        """Return the events that end in this piece."""
        whole = self._rest + text
        # A CR at the end may be half of a CRLF.
        held = "\r" if whole.endswith("\r") else ""
        whole = whole.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        *lines, rest = whole.split("\n")
        self._rest = rest + held
        return [sent for line in lines for sent in self._line(line)]

    def _line(self, line: str) -> list[Sent]:
        if not line:
            return self._end()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self.id = value
        return []

    def _end(self) -> list[Sent]:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return [Sent(event, "\n".join(data), self.id)] if data else []
