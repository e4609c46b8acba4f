"""Watchers of Fanfare that stall, are cut off, and come back: they have to be given everything."""

from contextlib import ExitStack, closing

from benchmarks.peers import ours
from benchmarks.peers.loads import run
from benchmarks.peers.results import Json
from benchmarks.stage import Bench, Stage
from benchmarks.wire import Address, SocketIo, WireError

COUNT = 5
_ROUNDS = 1_000  # of catching up, each of which gives at least one event


class Sleeper:
    """A watcher that subscribes and reads no more, until it is told to."""

    def __init__(self, address: Address, token: str, stream: str) -> None:
        self._address, self._token, self._stream = address, token, stream
        self._client = SocketIo(address, token)
        self._position = self._client.call("subscribe", {"stream": stream})["position"]
        self.was_cut = False

    @property
    def at(self) -> int:
        """The offset that it has all events up to."""
        return int(self._position["offset"])

    def close(self) -> None:
        """Leave."""
        self._client.close()

    def read_out(self, top: int) -> None:
        """Read what came before the cut, if there was one."""
        try:
            while self.at < top:
                self._client.receive()
                self._take(self._client.events)
                self._client.events = []
        except (WireError, OSError):
            self.was_cut = True

    def come_back(self, top: int) -> None:
        """Connect anew and resume from where it stood.

        Raises:
            WireError: an event was missing, or came twice.
        """
        self._client.close()
        self._client = SocketIo(self._address, self._token)
        for _ in range(_ROUNDS):
            ack = self._client.call("subscribe", {"stream": self._stream, "after": self._position})
            if ack["reset"]:
                raise WireError(f"a stalled watcher was reset: {ack['reset']}")
            self._take(ack["events"])
            if not ack["more"] or self.at >= top:
                return

    def _take(self, events: list[Json]) -> None:
        for event in events:
            if event["offset"] != self.at + 1:
                raise WireError(f"a stalled watcher at {self.at} was given {event['offset']}")
            self._position = {**self._position, "offset": event["offset"]}


def come_back(bench: Bench, words: list[str], *, seconds: float) -> Json:
    """Load a node with some sleepers, and tell how many were cut, and what all lack in the end."""
    with ExitStack() as stack:
        stage = stack.enter_context(bench.stage())
        served = stack.enter_context(ours.peopled(stage, ours.Shape(durable=True)))
        sleepers = [stack.enter_context(closing(_sleeper(stage))) for _ in range(COUNT)]
        found = run(served, bench.cores, [*served.publish, *words], seconds=seconds)
        top = stack.enter_context(closing(_sleeper(stage))).at
        for sleeper in sleepers:
            sleeper.read_out(top)
            sleeper.come_back(top)
        lacking = sum(top - sleeper.at for sleeper in sleepers)
        cut = sum(sleeper.was_cut for sleeper in sleepers)
    return {"complete": found["complete"], "lacking": lacking, "cut": cut, "events": top}


def _sleeper(stage: Stage) -> Sleeper:
    stream = f"channel:{stage.channels[0]['id']}"
    return Sleeper(stage.address, str(stage.users[1].access_token), stream)
