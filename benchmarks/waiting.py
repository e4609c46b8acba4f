"""The load of the doors over plain HTTP: thousands of polls that wait, and of streams, on a node.

Each phase that may be profiled is announced, and begins when it is told to.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from benchmarks.machine import Meter, memory_mib
from benchmarks.readers import PollReader, Reader, SseReader
from benchmarks.swarm import Swarm
from benchmarks.wire import Http, WireError, counter, post, request

Json = dict[str, Any]
PHASES = ("event to all", "polls come again", "rest", "polls that are empty")
_AT_ONCE = 64  # connections that are made, or empty polls that are asked, at a time
_WARMING = 100  # of each kind come and go first: what they leave behind is no client's memory
_SETTLE_S = 0.5


def doors(task: Json) -> Json:
    """Open streams, then polls; tell both of events; let them rest; see what each costs."""
    result = _Doors(task).run()
    # Said in one breath with the last word, it might be read as a part of it.
    sys.stdin.readline()
    return result


class _Doors:
    """One run, with all that it looks after."""

    def __init__(self, task: Json) -> None:
        self._task = task
        self._address = tuple(task["address"])
        tokens, stream, count = task["tokens"], task["stream"], task["count"]
        self._streams = [SseReader(token, stream) for token in tokens[:count]]
        self._polls = [PollReader(token, stream) for token in tokens[count:]]
        self._swarm: Swarm[Reader] = Swarm([*self._streams, *self._polls])

    def run(self) -> Json:
        """Do it all."""
        repeats = range(self._task["repeats"])
        self._warm_up()
        before = self._memory()
        self._come(self._streams)
        with_streams = self._memory()
        of_streams = [self._event(self._streams) for _ in repeats]
        for first in range(0, len(self._polls), _WARMING):
            part = self._polls[first : first + _WARMING]
            self._come(part)
            for poll in part:
                poll.go_on()
        self._wait_for_followers(len(self._swarm.guests))
        with_polls = self._memory()
        rounds = [self._round() for _ in repeats]
        self._close_streams()
        of_polls = [{**self._event(self._polls), "again": self._again()} for _ in repeats]
        self._event(self._polls)
        return {
            "stream_mib": with_streams - before,
            "poll_mib": with_polls - with_streams,
            "streams": of_streams,
            "rounds": rounds,
            "polls": of_polls,
            "empty": self._phase(PHASES[3], self._empty),
        }

    def _round(self) -> Json:
        return {
            "event": self._phase(PHASES[0], lambda: self._event(self._swarm.guests)),
            "again": self._phase(PHASES[1], self._again),
            "rest": self._phase(PHASES[2], self._rest),
        }

    @staticmethod
    def _phase(name: str, work: Callable[[], Json]) -> Json:
        print(name, flush=True)
        sys.stdin.readline()
        result = work()
        print("done", flush=True)
        return result

    # Coming and going.

    def _come(self, who: Sequence[Reader]) -> None:
        self._swarm.dial([self._address], at_once=_AT_ONCE, who=who)

    def _warm_up(self) -> None:
        tokens, stream = self._task["tokens"][:_WARMING], self._task["stream"]
        polls = [PollReader(token, stream) for token in tokens]
        everybody = [*polls, *(SseReader(token, stream) for token in tokens)]
        self._come(everybody)
        for poll in polls:
            poll.go_on()
        self._wait_for_followers(len(everybody))
        self._event(everybody)
        for reader in everybody:
            self._swarm.hang_up(reader)
        self._wait_for_followers(0)

    def _close_streams(self) -> None:
        for stream in self._streams:
            self._swarm.hang_up(stream)
        self._swarm.guests = self._polls
        self._wait_for_followers(len(self._polls))

    def _wait_for_followers(self, count: int) -> None:
        def are_there() -> bool:
            self._swarm.rest(0.1)
            return counter(self._address, "fanfare_followers") == count

        self._swarm.wait(are_there, f"{count} followers")

    # What is measured.

    def _memory(self) -> float:
        """Tell the server's memory once it has collected its garbage: see `profiler/run.py`."""
        self._swarm.rest(_SETTLE_S)
        server = self._task["pids"]["server"]
        os.kill(server, signal.SIGUSR2)
        with closing(Http(self._address)) as client:
            client.ask(request("/healthz", ""))  # answered after it
        return memory_mib(server)

    @contextmanager
    def _metered(self, result: Json) -> Iterator[None]:
        meter = Meter({**self._task["pids"], "generator": os.getpid()})
        yield
        used = meter.read()
        result |= {"seconds": used.wall_s, "cpu_s": used.cpu_s, "foreign_s": used.foreign_s}

    def _event(self, who: Sequence[Reader]) -> Json:
        wanted = [(reader, reader.seen + 1) for reader in who]
        result: Json = {"count": len(who)}
        with closing(Http(self._address)) as writer:
            with self._metered(result):
                began = time.perf_counter()
                writer.send(self._message())
                self._swarm.wait(_all(wanted), "an event")
                took_s = max(reader.seen_at for reader in who) - began
                self._swarm.rest(_SETTLE_S)
            while not (answer := writer.receive()):
                pass
        if answer[0] != 201:
            raise WireError(f"a message was refused: {answer}")
        return {**result, "took_s": took_s}

    def _message(self) -> bytes:
        channel = self._task["stream"].partition(":")[2]
        path = f"/api/v1/channels/{channel}/messages"
        return post(path, self._task["writer"], {"body": "a message".ljust(100)})

    def _again(self) -> Json:
        result: Json = {"count": len(self._polls)}
        before = counter(self._address, "fanfare_db_statements_total")
        with self._metered(result):
            for poll in self._polls:
                poll.go_on()
                self._swarm.turn(0)
            self._wait_for_followers(len(self._swarm.guests))
        after = counter(self._address, "fanfare_db_statements_total")
        return {**result, "statements": after - before}

    def _rest(self) -> Json:
        before, beats = self._told(), self._beats()
        result: Json = {}
        with self._metered(result):
            self._swarm.rest(self._task["seconds"])
        if self._told() != before:
            raise WireError("a poll ended, or an event came, where nothing should happen")
        return {**result, "beats": self._beats() - beats}

    def _told(self) -> int:
        answers = sum(poll.answers for poll in self._polls)
        return answers + sum(reader.seen for reader in self._swarm.guests)

    def _beats(self) -> int:
        return sum(stream.beats for stream in self._streams)

    def _empty(self) -> Json:
        """Each asks once more, without waiting, so many at a time that look-ups are shared."""
        waiting = list(self._polls)
        under_way: list[tuple[PollReader, int]] = []
        result: Json = {"count": len(waiting)}
        with self._metered(result):
            while waiting or under_way:
                while waiting and len(under_way) < _AT_ONCE:
                    poll = waiting.pop()
                    under_way.append((poll, poll.answers))
                    poll.go_on(0)
                self._swarm.turn(0.05)
                under_way = [(poll, count) for poll, count in under_way if poll.answers == count]
        return result


def _all(wanted: list[tuple[Reader, int]]) -> Callable[[], bool]:
    """Make what tells whether all have seen so much; asked again it goes on where it stopped."""

    def have_seen() -> bool:
        while wanted and wanted[-1][0].seen >= wanted[-1][1]:
            wanted.pop()
        return not wanted

    return have_seen
