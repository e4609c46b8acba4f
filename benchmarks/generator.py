"""The load, in a process of its own: one task (JSON) on stdin, one result on stdout.

It shares no code with the server. What counts begins after a warm-up; at the same two moments
CPU time is read, of the server, of PostgreSQL and of this process itself.
"""

import gc
import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import orjson

from benchmarks import crowds, waiting
from benchmarks.window import Window
from benchmarks.wire import Http, SocketIo, WireError

Json = dict[str, Any]
Client = TypeVar("Client", SocketIo, Http, SocketIo | Http)


def _readable(clients: Iterable[Client], wait_s: float) -> list[Client]:
    # Not epoll: its waits are whole milliseconds, too coarse for an open loop.
    return select.select(list(clients), [], [], max(0.0, wait_s))[0]


def _connected(task: Json, one: Json) -> SocketIo:
    """Connect to the node that a client names, or to the one that all have in common."""
    host, port = one["address"] if "address" in one else task["address"]
    return SocketIo((host, port), one["token"])


class Watch:
    """Watchers of streams, each of which has to see every offset, in order."""

    def __init__(self, task: Json) -> None:
        self._at: dict[SocketIo, tuple[str, int]] = {}
        for watcher in task["watchers"]:
            client = _connected(task, watcher)
            ack = client.call("subscribe", {"stream": watcher["stream"]})
            self._at[client] = (ack["stream"], ack["position"]["offset"])
        self.clients = list(self._at)

    def take(self, client: SocketIo) -> list[Json]:
        """Give the events that came to a watcher."""
        stream, at = self._at[client]
        events, client.events = [e for e in client.events if e["stream"] == stream], []
        for event in events:
            if event["offset"] != at + 1:
                raise WireError(f"a watcher that stood at {at} was given {event['offset']}")
            at += 1
        self._at[client] = (stream, at)
        return events

    def have_seen(self, tops: dict[str, int]) -> bool:
        """Tell whether all stand at the tops."""
        return all(at >= tops.get(stream, 0) for stream, at in self._at.values())


class Acks:
    """What writers were told: each ack has to be ok, and no offset may miss or come twice."""

    def __init__(self) -> None:
        self._offsets: dict[str, list[int]] = {}

    def take(self, stream: str, body: Json) -> None:
        """Remember an ack; that of a signal has no position."""
        if not body["ok"]:
            raise WireError(f"a packet was refused: {body}")
        if "position" in body:
            self._offsets.setdefault(stream, []).append(body["position"]["offset"])

    def tops(self) -> dict[str, int]:
        """Give each stream's top, once everything was acked."""
        for stream, offsets in self._offsets.items():
            offsets.sort()
            if offsets != list(range(offsets[0], offsets[0] + len(offsets))):
                raise WireError(f"the offsets of {stream} have gaps or repeats")
        return {stream: offsets[-1] for stream, offsets in self._offsets.items()}


def _message(channel: str, number: int) -> Json:
    body = f"message {number} of the benchmark, as long as people write: about 100 characters. "
    return {"channel": channel, "body": body.ljust(100, "."), "key": f"{os.getpid()}-{number}"}


def _event(channel: str, number: int) -> Json:
    text = f"event {number} of the benchmark, as long as people write: about 100 characters. "
    return {
        "stream": f"channel:{channel}",
        "type": "bench.made",
        "data": text.ljust(100, "."),
        "key": f"{os.getpid()}-{number}",
    }


def _signal(channel: str, _number: int) -> Json:
    data = {"x": 120, "y": 480}
    return {"stream": f"channel:{channel}", "type": "bench.moved", "data": data, "ephemeral": True}


# What writers send: the packet's name and its content.
PACKETS: dict[str, tuple[str, Callable[[str, int], Json]]] = {
    "message": ("message.create", _message),
    "event": ("publish", _event),
    "signal": ("publish", _signal),
}


def create(task: Json) -> Json:
    """Write as fast as it is acked: each writer has one packet under way."""
    watch, acks = Watch(task), Acks()
    writers = {_connected(task, one): one["channel"] for one in task["writers"]}
    name, make = PACKETS[task["packet"]]
    under_way: dict[SocketIo, float] = {}
    window, number = Window(task), 0

    def write(writer: SocketIo) -> None:
        nonlocal number
        number += 1
        under_way[writer] = time.perf_counter()
        writer.emit(name, make(writers[writer], number), number)

    for writer in writers:
        write(writer)
    while not window.is_over or under_way:
        window.tick()
        for client in _readable([*writers, *watch.clients], 0.05):
            client.receive()
            if client not in writers:
                watch.take(client)
            elif client.acks:
                acks.take(f"channel:{writers[client]}", client.acks.pop()[1])
                window.count(time.perf_counter() - under_way.pop(client))
                if not window.is_over:
                    write(client)
    _drain(window, watch, acks)
    return window.result(written=number)


def _drain(window: Window, watch: Watch, acks: Acks) -> None:
    tops = acks.tops()
    while not watch.have_seen(tops):
        window.tick()
        for client in _readable(watch.clients, 0.05):
            client.receive()
            watch.take(client)


def deliver(task: Json) -> Json:
    """Write at a steady rate, whether the server keeps up or not, and time every delivery.

    The clock of a message starts when it was due to be written, so a server that stalls pays
    for all that it kept waiting.
    """
    period_s = 1 / task["rate"]
    watch, acks = Watch(task), Acks()
    writers = [(_connected(task, one), one["channel"]) for one in task["writers"]]
    channels = dict(writers)
    window, number, acked = Window(task), 0, 0
    began = time.perf_counter()
    while not window.is_over or acked < number:
        window.tick()
        due = began + number * period_s
        while not window.is_over and due <= time.perf_counter():
            writer, channel = writers[number % len(writers)]
            message = {**_message(channel, number), "data": {"due": due}}
            writer.emit("message.create", message, number)
            number += 1
            due = began + number * period_s
        wait_s = 0.05 if window.is_over else due - time.perf_counter()
        for client in _readable([*channels, *watch.clients], wait_s):
            client.receive()
            for _, body in client.acks:
                acks.take(f"channel:{channels[client]}", body)
                acked += 1
                window.count_step()
            client.acks.clear()
            for event in watch.take(client) if client in watch.clients else ():
                window.count(time.perf_counter() - event["data"]["data"]["due"])
    _drain(window, watch, acks)
    return window.result(written=number)


def http(task: Json) -> Json:
    """Send one request again and again over connections that are kept alive."""
    sent = task["request"].encode()
    under_way = {Http(task["address"]): 0.0 for _ in range(task["connections"])}
    window = Window(task)
    size = 0
    for client in under_way:
        under_way[client] = time.perf_counter()
        client.send(sent)
    while not window.is_over:
        window.tick()
        for client in _readable(under_way, 0.05):
            answer = client.receive()
            if answer is None:
                continue
            status, _, body = answer
            if status != task["status"]:
                raise WireError(f"answered {status} in place of {task['status']}: {body[:200]!r}")
            size = len(body)
            now = time.perf_counter()
            window.count(now - under_way[client])
            under_way[client] = now
            client.send(sent)
    return window.result(body_bytes=size)


def idle(task: Json) -> Json:
    """Hold connections open until told to end; the other end looks at the server meanwhile."""
    tokens = task["tokens"]
    clients = [
        SocketIo(task["address"], tokens[n % len(tokens)]) for n in range(task["connections"])
    ]
    print("open", flush=True)
    sys.stdin.readline()
    return {"connections": len(clients)}


LOADS: dict[str, Callable[[Json], Json]] = {
    "create": create,
    "deliver": deliver,
    "http": http,
    "idle": idle,
    "presence": crowds.presence,
    "storm": crowds.storm,
    "doors": waiting.doors,
}


def main() -> None:
    """Do the one task."""
    task = orjson.loads(sys.stdin.readline())
    task["address"] = tuple(task["address"])
    gc.disable()  # a collection in the middle would be taken for the server's delay
    result = LOADS[task["load"]](task)
    print(orjson.dumps(result).decode(), flush=True)


if __name__ == "__main__":
    main()
