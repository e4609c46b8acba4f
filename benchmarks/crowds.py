"""Loads of thousands of people: present and doing nothing, or all coming back at once."""

import os
import sys
import time
from typing import Any

import orjson

from benchmarks.machine import Meter
from benchmarks.swarm import Guest, Swarm
from benchmarks.window import percentile
from benchmarks.wire import Address, SocketIo, WireError, counter

Json = dict[str, Any]
_AT_ONCE = 64  # connections that are made at a time, where it is no storm
_MISSED = 3  # events of each stream that the clients of the dead node miss
_AFTER = 2  # events of each stream that come when all are back
_REST_S = 3.0


def _say(word: str) -> None:
    print(word, flush=True)


def _packet(name: str, argument: Json) -> bytes:
    return b'421["%s",%s]' % (name.encode(), orjson.dumps(argument))


def presence(task: Json) -> Json:
    """Hold people on two nodes, on the first of them present, and see what rest costs each."""
    # One swarm, so that nobody's pings are left unanswered while others connect.
    swarm = Swarm(
        [
            Guest(token, _packet("subscribe", {"stream": _of(task["streams"], number), **extra}))
            for number, token in enumerate(task["tokens"])
            for extra in ({"presence": True}, {})
        ]
    )
    swarm.dial([tuple(address) for address in task["addresses"]], at_once=_AT_ONCE)
    _say("open")
    runs = [_rest(swarm, task) for _ in range(task["repeats"])]
    _say("rested")
    sys.stdin.readline()
    return {"runs": runs}


def _of(streams: list[str], number: int) -> str:
    return streams[number % len(streams)]


def _rest(swarm: Swarm, task: Json) -> Json:
    meter = Meter({**task["pids"], "generator": os.getpid()})
    swarm.rest(task["seconds"])
    used = meter.read()
    return {"seconds": used.wall_s, "cpu_s": used.cpu_s, "foreign_s": used.foreign_s}


class _Observers:
    """Watchers on the nodes that stay, which keep the tails of the streams in their memory."""

    def __init__(self, nodes: list[Address], streams: list[str], token: str) -> None:
        self._at: dict[SocketIo, int] = {}
        for node in nodes:
            for stream in streams:
                client = SocketIo(node, token)
                self._at[client] = client.call("subscribe", {"stream": stream})["position"][
                    "offset"
                ]

    def wait_for(self, events: int) -> None:
        """Wait until each of them has seen so many events more, in order."""
        for client, at in self._at.items():
            while len(client.events) < events:
                client.receive()
            found = [event["offset"] for event in client.events]
            if found != list(range(at + 1, at + events + 1)):
                raise WireError(f"a watcher that stood at {at} was given {found}")
            self._at[client] = at + events
            client.events.clear()


def _statements(nodes: list[Address]) -> float:
    return sum(counter(node, "fanfare_db_statements_total") for node in nodes)


def storm(task: Json) -> Json:
    """All clients of a node that is killed resume on the others, at the same moment."""
    first, *others = [tuple(address) for address in task["addresses"]]
    streams = task["streams"]
    swarm = Swarm(
        [
            Guest(token, _packet("subscribe", {"stream": _of(streams, number)}))
            for number, token in enumerate(task["tokens"])
        ]
    )
    swarm.dial([first], at_once=_AT_ONCE)
    before, began = _statements(others), time.perf_counter()
    swarm.rest(_REST_S)
    background_per_s = (_statements(others) - before) / (time.perf_counter() - began)
    writer = SocketIo(others[0], task["writer"])
    observers = _Observers(others, streams, task["writer"])
    _say("open")
    sys.stdin.readline()
    swarm.wait(lambda: len(swarm.ended) == len(swarm.guests), "the end of the node")
    swarm.ended.clear()
    _write(writer, streams, _MISSED)
    observers.wait_for(_MISSED)
    result = _come_back(swarm, others, task)
    _write(writer, streams, _AFTER)
    observers.wait_for(_AFTER)
    seen = _MISSED + _AFTER
    swarm.wait(lambda: all(guest.has_seen(seen) for guest in swarm.guests), "what came after")
    return {**result, "background_per_s": background_per_s}


def _come_back(swarm: Swarm, nodes: list[Address], task: Json) -> Json:
    for guest in swarm.guests:
        guest.packet = _packet("resume", {"positions": guest.positions()})
    meter, before = Meter({**task["pids"], "generator": os.getpid()}), _statements(nodes)
    began = time.perf_counter()
    swarm.dial(nodes, at_once=len(swarm.guests))
    used, after = meter.read(), _statements(nodes)
    took = [guest.live_at - began for guest in swarm.guests]
    if not all(guest.has_seen(_MISSED) for guest in swarm.guests):
        raise WireError("somebody was let in without what it had missed")
    return {
        "seconds": max(took),
        "p50_s": percentile(took, 0.5),
        "cpu_s": used.cpu_s,
        "foreign_s": used.foreign_s,
        "statements": after - before,
        "count": len(took),
    }


def _write(writer: SocketIo, streams: list[str], events: int) -> None:
    for number in range(events):
        for stream in streams:
            channel = stream.partition(":")[2]
            writer.call("message.create", {"channel": channel, "body": f"message {number}"})
