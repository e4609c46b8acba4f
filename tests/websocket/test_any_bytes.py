"""Whatever bytes a client sends: the server goes on for everybody else, and keeps nothing of it.

The streams are made of frames and packets that mean something, then damaged and cut at random.
"""

import json
import random
from contextlib import suppress

from tests.fuzz.seeds import SEEDS
from tests.regression.wires import metric
from tests.support.wait import wait_until
from tests.websocket import said
from tests.websocket.line import BINARY, PING, TEXT, Door, Line, frame, handshake

NUMBER = 150
MOST_FRAMES = 12


def made_up(rng: random.Random, packets: list[bytes]) -> bytes:
    """Make a stream of frames, whole or damaged."""
    frames = [
        frame(
            rng.choice((TEXT, TEXT, TEXT, BINARY, PING)),
            rng.choice(packets)[: rng.choice((5, 100, 3000))],
            final=rng.random() < 0.8,
        )
        for _ in range(rng.randrange(1, MOST_FRAMES))
    ]
    stream = bytearray(b"".join(rng.sample(SEEDS["wsproto"], 1) + frames))
    for _ in range(rng.choice((0, 0, 1, 5))):
        stream[rng.randrange(len(stream))] = rng.randrange(256)
    return bytes(stream)


def send_in_pieces(line: Line, stream: bytes, rng: random.Random) -> None:
    """Send it, cut anywhere; the server may hang up on the way."""
    with suppress(ConnectionError):
        while stream:
            size = rng.choice((1, 7, 100, len(stream)))
            line.send(stream[:size])
            stream = stream[size:]


class TestAnyBytes:
    def test_nobody_else_notices_and_nothing_is_left(self, door: Door, rng: random.Random):
        packets = [b"4" + packet for packet in SEEDS["packets"]]
        packets += [
            b"42" + json.dumps(["resume", {"positions": {}}]).encode(),
            b"",
            b"1",
            b"2probe",
        ]
        before = len(door.server.log)
        with door.open() as other:
            for number in range(NUMBER):
                opened = door.open if number % 3 else door.open_as_stranger
                with opened() as line:
                    send_in_pieces(line, made_up(rng, packets), rng)
                other.send(frame(TEXT, said.packet(ack_id=number)))

                assert said.heard(other, number) == said.TEXT
        wait_until(
            lambda: metric(door.server, "fanfare_sessions") == 0,
            deadline_s=60,
            every_s=0.1,
            what="the end of every session",
        )

        assert "Traceback" not in door.server.log[before:]
        assert "level='error'" not in door.server.log[before:]

    def test_nor_of_bytes_that_are_no_handshake(self, direct: Door, rng: random.Random):
        before = len(direct.server.log)
        whole = handshake()
        for _ in range(NUMBER):
            head = bytearray(whole[: rng.choice((20, 100, len(whole)))])
            for _ in range(rng.randrange(1, 6)):
                head[rng.randrange(len(head))] = rng.randrange(256)
            with Line(direct.server) as line:
                send_in_pieces(line, bytes(head), rng)
        with direct.open() as line:
            line.send(frame(TEXT, said.packet()))

            assert said.heard(line) == said.TEXT
        assert "Traceback" not in direct.server.log[before:]
