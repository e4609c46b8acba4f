"""A client as the contract wants it: it keeps its position, and comes back with it.

It checks each event as it comes: the offset is its position's plus one, or the test fails.
"""

from typing import Any

from tests.delivery.raw import Packet, RawSocket

JSON = dict[str, Any]


class Reader:
    """Follows one stream over as many connections as it takes.

    `seen` holds every event of the stream, in the order in which they came.
    """

    def __init__(self, stream: str, position: JSON | None = None) -> None:
        self.stream = stream
        self.position = position
        self.seen: list[JSON] = []
        self.resets: list[JSON] = []
        self.pages = 0

    @property
    def offsets(self) -> list[int]:
        """The offsets of what it saw."""
        return [event["offset"] for event in self.seen]

    def subscribe(self, connection: RawSocket, limit: int = 500, **more: Any) -> None:
        """Subscribe from where it stands, page after page, until it is live."""
        while True:
            wish = {"stream": self.stream, "limit": limit, **more}
            if self.position is not None:
                wish["after"] = self.position
            at = len(connection.packets)
            ack = connection.ok("subscribe", wish)
            early = [p for p in connection.packets[at:-1] if p[0] == "event" and self.is_mine(p[1])]
            assert not early, f"events came before the ack: {early}"
            if not self.take_ack(ack):
                return

    def take_ack(self, ack: JSON) -> bool:
        """Take what an ack brings; tell whether there is more to ask for."""
        self.pages += 1
        if ack["reset"] is not None:
            self.resets.append(ack["reset"])
            assert ack["events"] == []
            assert ack["more"] is False
            self.position = ack["position"]
            return False
        if self.position is None:
            first = ack["events"][0]["offset"] if ack["events"] else ack["position"]["offset"] + 1
            self.position = {**ack["position"], "offset": first - 1}
        for event in ack["events"]:
            self.take(event)
        assert ack["position"] == self.position, "the ack's position is not its last event's"
        return bool(ack["more"])

    def take(self, event: JSON) -> None:
        """Take one event: it is the next one, or something is wrong."""
        assert event["stream"] == self.stream
        assert self.position is not None
        assert event["offset"] == self.position["offset"] + 1, (
            f"after {self.position['offset']} came {event['offset']}"
        )
        self.seen.append(event)
        self.position = {**self.position, "offset": event["offset"]}

    def take_packet(self, packet: Packet) -> bool:
        """Take a packet if it is an event of this stream; tell whether it was."""
        if packet[0] == "event" and self.is_mine(packet[1]):
            self.take(packet[1])
            return True
        return False

    def read_to(self, connection: RawSocket, offset: int) -> None:
        """Read live events until it stands at `offset`."""
        while self.position is None or self.position["offset"] < offset:
            self.take_packet(connection.read())

    def is_mine(self, event: JSON) -> bool:
        """Tell whether an event is of the stream that it follows."""
        return bool(event["stream"] == self.stream)
