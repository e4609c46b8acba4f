"""Fan-out to plain and compressed connections in one room: the same frames in the same order."""

import zlib
from typing import Any

import pytest
from hypothesis import given, settings

from realtime import room as room_module
from realtime.deflate import WINDOW_BITS, Packing
from realtime.frames import encode_text
from realtime.hub import Frame, Hub
from tests.realtime import test_room
from tests.realtime.test_room import (
    PLENTY,
    STEPS,
    STREAM,
    Client,
    Loop,
    Model,
    signal,
    watch,
    wires,
)


class Counting(Packing):
    """Counts what it packs."""

    packed = 0

    def pack(self, text: bytes) -> bytes:
        Counting.packed += 1
        return super().pack(text)


PACKING = Counting(6, 60)


class Packed(Client):
    """A connection that agreed to compression."""

    @property
    def packing(self) -> Packing:
        return PACKING

    def deliver(self, frame: Frame) -> None:
        super().deliver(Sealed(frame.packed(PACKING)))

    @property
    def raw(self) -> bytes:
        return self.taken + self.kept

    @property
    def got(self) -> bytes:
        return b"".join(encode_text(text) for text in unpack(self.raw))


class Sealed(Frame):
    """A frame whose form is settled."""

    __slots__ = ("_sealed",)

    def __init__(self, data: bytes) -> None:
        super().__init__("event", b"")
        self._sealed = data

    @property
    def wire(self) -> bytes:
        return self._sealed


def unpack(data: bytes) -> list[bytes]:
    """Read a server's frames; torn ones are not to be read."""
    texts = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        payload, rest = data[start : start + size], data[start + size :]
        assert len(payload) == size
        assert data[0] in (0x81, 0xC1)
        if data[0] == 0xC1:
            payload = zlib.decompress(payload + b"\x00\x00\xff\xff\x03\x00", -WINDOW_BITS)
        texts.append(payload)
        data = rest
    return texts


def wide(number: int) -> Frame:
    """An event that is worth compressing, but for every third."""
    body = b"word " * (20 if number % 3 else 1)
    return Frame("event", b'{"offset":%d,"body":"%s"}' % (number, body), STREAM)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def hub(loop: Loop) -> Hub:
    return Hub(loop.soon)


@pytest.fixture(autouse=True)
def count_anew() -> None:
    Counting.packed = 0


def publish(hub: Hub, *numbers: int) -> list[Frame]:
    frames = [wide(number) for number in numbers]
    for number, frame in zip(numbers, frames, strict=True):
        hub.fan_out(STREAM, number, frame)
    return frames


class TestOnce:
    def test_for_a_thousand_watchers_an_event_is_compressed_once(self, hub, loop):
        clients = [watch(hub, Packed()) for _ in range(1000)]
        [frame] = publish(hub, 1)
        loop.settle()

        assert Counting.packed == 1
        assert {client.got for client in clients} == {wires(frame)}
        assert all(client.raw[0] == 0xC1 for client in clients)

    def test_also_where_some_are_slow_come_late_or_take_it_plain(self, hub, loop):
        clients: list[Any] = [watch(hub, Packed(space=7 * (n % 2))) for n in range(10)]
        clients += [watch(hub, Client()) for _ in range(5)]
        first = publish(hub, 1, 2)
        clients.append(watch(hub, Packed(), offset=0))
        hub.hold(STREAM, late := Packed())
        second = publish(hub, 4)
        hub.release(STREAM, late, 2)
        loop.settle()
        for client in clients:
            client.drain(PLENTY)
        loop.settle()

        assert Counting.packed == 3
        assert {client.got for client in clients[:-1]} == {wires(*first, *second)}
        assert late.got == wires(*second)

    def test_what_is_too_small_is_tried_once_and_is_the_same_bytes_for_all(self, hub, loop):
        small = Frame("event", b"{}", STREAM)
        packed, plain = watch(hub, Packed()), watch(hub, Client())
        hub.fan_out(STREAM, 1, small)
        loop.settle()

        assert packed.raw == plain.got == small.wire
        assert small.packed(PACKING) is small.wire

    def test_where_nobody_agreed_nothing_is_compressed(self, hub, loop):
        clients = [watch(hub, Client()) for _ in range(3)]
        frames = publish(hub, *range(1, 20))
        loop.settle()

        assert Counting.packed == 0
        assert {client.got for client in clients} == {wires(*frames)}
        assert {client.writes for client in clients} == {1}


class TestBothKinds:
    def test_they_get_the_same_each_in_one_write(self, hub, loop):
        clients: list[Any] = [watch(hub, kind()) for kind in (Client, Packed) * 3]
        frames = publish(hub, *range(1, 9))
        loop.settle()

        assert {client.got for client in clients} == {wires(*frames)}
        assert {client.writes for client in clients} == {1}
        assert len(clients[1].raw) < len(clients[0].got)

    @pytest.mark.parametrize("kinds", [(Client, Packed), (Packed, Client), (Packed, Packed)])
    def test_order_holds_while_shares_wait(self, hub, loop, monkeypatch, kinds):
        monkeypatch.setattr(room_module, "_SHARE", 4)
        clients = [watch(hub, kind()) for kind in kinds for _ in range(9)]
        frames = []
        for number in range(1, 12):
            frames += publish(hub, number)
            loop.turn()
        loop.settle()

        assert {client.got for client in clients} == {wires(*frames)}

    def test_who_leaves_before_its_kind_has_its_turn_is_given_what_waits(self, hub, loop):
        plain, packed = watch(hub, Client()), watch(hub, Packed())
        [frame] = publish(hub, 1)
        loop.turn()
        assert (plain.got, packed.raw) == (frame.wire, b"")
        hub.drop(STREAM, packed)
        publish(hub, 2)
        loop.settle()

        assert packed.got == frame.wire

    def test_the_maker_of_a_signal_gets_it_not_whatever_its_kind(self, hub, loop):
        plain, packed = watch(hub, Client()), watch(hub, Packed())
        first, second = signal(1), signal(2)
        hub.fan_out_signal(STREAM, first, but=packed)
        hub.fan_out_signal(STREAM, second, but=plain)
        [frame] = publish(hub, 1)
        loop.settle()

        assert packed.got == wires(second, frame)
        assert plain.got == wires(first, frame)

    def test_who_blocks_is_gone_on_with_in_its_own_form(self, hub, loop):
        packed, plain = watch(hub, Packed(space=3)), watch(hub, Client(space=3))
        frames = publish(hub, 1, 2)
        loop.settle()
        frames += publish(hub, 3, 4)
        loop.settle()
        for client in (packed, plain):
            client.drain(PLENTY)

        assert packed.got == plain.got == wires(*frames)

    def test_who_is_gone_is_forgotten(self, hub, loop):
        client = watch(hub, Packed())
        room = hub._rooms[STREAM]
        publish(hub, 1)
        loop.settle()
        was = list(room._packed or ())
        hub.drop(STREAM, client)

        assert (was, room._packed) == ([client], {})


class MixedModel(Model):
    """The same walk with connections of both kinds."""

    def make_client(self, which: int) -> Client:
        return Packed() if which % 2 else Client()


class TestRandomly:
    @pytest.fixture(autouse=True)
    def small_shares_and_wide_events(self, monkeypatch):
        monkeypatch.setattr(room_module, "_SHARE", 2)
        monkeypatch.setattr(test_room, "event", wide)

    @settings(max_examples=300, deadline=None)
    @given(steps=STEPS)
    def test_each_gets_all_of_its_time_once_and_in_order(self, steps):
        model = MixedModel()
        for name, which in steps:
            model.step(name, which)
        for which in list(model.held):
            model.release(which)
        model.loop.settle()

        assert model.got() == model.wanted
