"""permessage-deflate from the handshake to the last event: by both ways in, to stock clients."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cluster.nginx import Nginx
from realtime import handshakes
from realtime.websocket import is_deflated
from tests.clients.scripts import walk
from tests.realtime.test_deflate import inflate, packed_frame
from tests.realtime.test_frames import TEXT, client_frame
from tests.regression.wires import Polling, descriptors, dial, metric
from tests.serving.conftest import wait_for_workers, with_workers
from tests.serving.test_handshakes import USUAL, quick, usual_with
from tests.support import needs
from tests.support.client import RestClient, SocketClient, registered, unique
from tests.support.server import Server
from tests.support.wait import wait_until

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
YES = b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_con"
SETTINGS: dict[str, Any] = {"WS_COMPRESSION_LEVEL": 6, "MAX_EVENTS_PER_S": 10_000}
# The answers of the usual way and of the quick one.
Ways = [pytest.param(False, id="guarded"), pytest.param(True, id="quick")]


def answer_to(head: bytes, *, is_quick: bool, compresses: bool) -> bytes:
    """Give what a handshake is answered with, or b"" where it is refused or left to others."""
    if is_quick:
        return quick(compresses=compresses).greet(head) or b""
    told: list[Any] = []
    wanted: dict[str, Any] = {
        "name": "n1",
        "serves_polling": True,
        "is_draining": bool,
        "origins": [],
    }
    wanted |= {"open": lambda _environ, answer: told.append(answer), "compresses": compresses}
    environ = handshakes.read_usual_head(head)
    app = handshakes.guard_handshakes(None, handshakes.Terms(**wanted))
    app(environ, lambda status, headers: told.append(b""))
    return bytes(told[0])


@pytest.mark.parametrize("is_quick", Ways)
class TestTheAnswer:
    def test_an_offer_is_accepted_where_it_is_on(self, is_quick):
        answer = answer_to(usual_with(OFFER), is_quick=is_quick, compresses=True)

        assert answer.startswith(b"HTTP/1.1 101 ")
        assert answer.index(b"\r\n\r\n") == len(answer) - 4
        assert b"\r\n" + YES in answer

    def test_off_it_is_not_answered(self, is_quick):
        """Whatever is in it."""
        for offer in (OFFER, OFFER + b'; "', OFFER[:26] + b";;"):
            answer = answer_to(usual_with(offer), is_quick=is_quick, compresses=False)

            assert answer == answer_to(USUAL, is_quick=is_quick, compresses=False) != b""

    @pytest.mark.parametrize("offer", [b"", b"x-other", b"permessage-deflate; unheard_of"])
    def test_what_will_not_do_is_not_answered_and_connects(self, is_quick, offer):
        head = usual_with(b"Sec-WebSocket-Extensions: " + offer)
        answer = answer_to(head, is_quick=is_quick, compresses=True)

        assert answer == answer_to(USUAL, is_quick=is_quick, compresses=False) != b""

    def test_the_window_that_is_asked_for_is_answered(self, is_quick):
        head = usual_with(OFFER + b", permessage-deflate; server_max_window_bits=14")
        first = answer_to(head, is_quick=is_quick, compresses=True)
        head = usual_with(OFFER + b"; server_max_window_bits=14")
        second = answer_to(head, is_quick=is_quick, compresses=True)

        assert b"bits" not in first
        assert b"; server_max_window_bits=12\r\n" in second

    def test_a_malformed_header_is_refused(self, is_quick):
        head = usual_with(OFFER + b";")

        assert answer_to(head, is_quick=is_quick, compresses=True) == b""


def handshake(server: Server, *headers: bytes) -> bytes:
    """Shake hands over TCP, and give the answer up to the open packet."""
    head = USUAL
    for header in headers:
        head = head[:-2] + header + b"\r\n\r\n"
    with dial(server) as connection:
        connection.sendall(head)
        return read_to(b'"sid"', connection)


def read_to(wanted: bytes, connection: socket.socket) -> bytes:
    """Read until something has come."""
    received = b""
    while wanted not in received:
        part = connection.recv(4096)
        assert part, received
        received += part
    return received


@pytest.fixture(scope="module")
def compressing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that compresses."""
    with Server(instance=tmp_path_factory.mktemp("compressing"), **SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def workers(
    redis_server: Any, migrated_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Two gunicorn workers that compress."""
    folder = tmp_path_factory.mktemp("workers")
    settings = with_workers(redis_server, folder, **{**SETTINGS, "WORKERS": 2})
    with Server(migrated_database, instance=folder, migrate=False, **settings) as running:
        wait_for_workers(running, 2)
        yield running


@pytest.fixture(params=["compressing", "workers"])
def either(request: pytest.FixtureRequest) -> Server:
    """One after the other: `run.py serve`, and gunicorn."""
    server: Server = request.getfixturevalue(request.param)
    return server


class TestTheHandshake:
    def test_over_tcp_the_offer_is_answered(self, either):
        assert is_deflated(handshake(either, OFFER))
        assert not is_deflated(handshake(either))

    def test_on_the_wire_the_greeting_is_a_compressed_frame(self, either):
        """Some 600 bytes, the first thing that is large enough."""
        with registered(either.url) as ada, dial(either) as connection:
            connection.sendall(usual_with(OFFER))
            read_to(b'"sid"', connection)
            hello = "40" + json.dumps({"token": ada.access_token})
            connection.sendall(client_frame(TEXT, hello.encode()))
            frame = read_to(b"\xc1", connection)
        frame = frame[frame.index(b"\xc1") :]

        assert inflate(frame[: 4 + int.from_bytes(frame[2:4])], 15).startswith(b'42["ready",{')

    def test_offers_in_several_headers_are_one_list(self, compressing):
        """Two of a name are unusual: this goes through the HTTP server."""
        other = b"Sec-WebSocket-Extensions: permessage-deflate; unheard_of"

        assert YES in handshake(compressing, other, OFFER)

    def test_a_malformed_offer_is_told_as_such(self, compressing):
        with dial(compressing) as connection:
            connection.sendall(usual_with(OFFER + b";"))
            answer = connection.recv(65_536)

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Sec-WebSocket-Extensions" in answer

    def test_off_the_offer_is_not_answered(self, shared_server):
        assert not is_deflated(handshake(shared_server, OFFER))

    def test_what_began_with_polling_may_be_compressed_after_its_upgrade(self, compressing):
        with registered(compressing.url) as ada, Polling(compressing, ada.access_token) as session:
            path = f"/socket.io/?EIO=4&transport=websocket&sid={session.sid}".encode()
            head = usual_with(OFFER).replace(b"/socket.io/?EIO=4&transport=websocket", path)
            with dial(compressing) as connection:
                connection.sendall(head)
                answer = read_to(b"\r\n\r\n", connection)

        assert is_deflated(answer)


class Deflating:
    """aiohttp's WebSocket: one user's, who follows a channel. It counts the bytes that come."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[Any] = []

    async def connect(self, token: str | None, stream: str) -> None:
        await self.socket.receive_str()
        await self.socket.send_str("40" + json.dumps({"token": token}))
        await self._read_to('42["ready"')
        await self.socket.send_str(f'421["subscribe",{json.dumps({"stream": stream})}]')
        assert '"ok":true' in await self._read_to("431")

    async def _read_to(self, start: str) -> str:
        while not (text := await self.socket.receive_str()).startswith(start):
            self.take(text)
        return text

    def take(self, text: str) -> None:
        if text.startswith('42["event"'):
            self.events.append(json.loads(text[2:])[1])

    async def read(self, number: int) -> list[Any]:
        while len(self.events) < number:
            self.take(await self.socket.receive_str())
        return self.events


def make_channel(person: RestClient) -> str:
    body = {"name": "Wide", "kind": "public", "slug": unique("wide")}
    return str(person.post("/channels", body).json()["id"])


DATA = [{"number": n, "text": "what is said again and again " * (n % 40)} for n in range(60)]


async def follow(url: str, token: str | None, channel: str, offers: list[int]) -> list[list[Any]]:
    """Follow a channel with a connection for each offer while events come; give each one's."""
    address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as session:
        clients = []
        for bits in offers:
            socket = await session.ws_connect(address, compress=bits)
            assert bool(socket.compress) == (bits >= 12)
            clients.append(Deflating(socket))
            await clients[-1].connect(token, f"channel:{channel}")
        # A large packet of a client is compressed, too.
        body = {"stream": f"channel:{channel}", "type": "a.b"}
        for number, data in enumerate(DATA):
            packet = json.dumps(["publish", {**body, "data": data, "key": str(number)}])
            await clients[number % len(clients)].socket.send_str("42" + packet)
            await clients[0].read(number + 1)
        events = [await client.read(len(DATA)) for client in clients]
        for client in clients:
            await client.socket.close()
    return events


class TestStockClients:
    def test_plain_and_compressed_watchers_get_the_same_events(self, either):
        """aiohttp: without an offer, with windows of 15 and 12 bits, and with one of 9 bits."""
        with registered(either.url) as ada:
            channel = make_channel(ada)
            told = asyncio.run(
                asyncio.wait_for(follow(either.url, ada.access_token, channel, [0, 15, 12, 9]), 60)
            )

        assert [event["data"] for event in told[0]] == DATA
        assert told == [told[0]] * 4
        assert [event["offset"] for event in told[0]] == sorted(e["offset"] for e in told[0])

    def test_nginx_passes_it_through(self, compressing):
        needs.require_nginx()
        with (
            Nginx({"n1": f"127.0.0.1:{compressing.port}"}) as nginx,
            registered(compressing.url) as ada,
        ):
            work = follow(nginx.url, ada.access_token, make_channel(ada), [15, 0])
            told = asyncio.run(asyncio.wait_for(work, 60))

        assert [[event["data"] for event in each] for each in told] == [DATA, DATA]

    def test_node_and_python_follow_beside_each_other(
        self, node: str, compressing: Server, tmp_path: Path
    ):
        """The stock client for Node.js offers compression by itself, that for Python never."""
        with registered(compressing.url) as ada:
            channel = make_channel(ada)
            with SocketClient(compressing.url, ada.access_token) as python:
                python.ok("subscribe", {"stream": f"channel:{channel}"})
                script = needs.JS / "deflate.mjs"
                whom = {"token": ada.access_token, "channel": channel}
                walk(node, script, compressing, tmp_path / "errors.txt", whom=lambda _: whom)
                python.wait_for(lambda client: len(client.events) >= 60, deadline_s=60, what="all")

        sizes = [len(event["data"]["text"]) for event in python.events]
        assert sizes == [200 * number for number in range(20)] * 3

    def test_a_bomb_ends_its_connection_alone(self, compressing):
        """4 MiB in 4 KiB: closed as too big, and everybody else is served on."""

        async def throw(url: str) -> tuple[int | None, int]:
            async with aiohttp.ClientSession() as session:
                address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
                socket = await session.ws_connect(address, compress=15)
                await socket.receive_str()
                await socket.send_str("4" + "x" * (4 << 20))
                message = await socket.receive()
                while message.type is aiohttp.WSMsgType.TEXT:
                    message = await socket.receive()
                return socket.close_code, bool(socket.compress)

        with (
            registered(compressing.url) as ada,
            SocketClient(compressing.url, ada.access_token) as other,
        ):
            closed = asyncio.run(asyncio.wait_for(throw(compressing.url), 60))
            assert other.ok("subscribe", {"stream": f"channel:{make_channel(ada)}"})

        assert closed == (1009, True)
        wait_until(
            lambda: metric(compressing, "fanfare_sessions") == 0,
            deadline_s=60,
            what="the end of it",
        )

    def test_whoever_goes_in_the_middle_of_a_message_leaves_nothing(self, compressing):
        """Its inflater, its descriptor and its session go with it; also while it rests."""
        before = descriptors(compressing)
        bomb = packed_frame(b"3" + b"x" * 400_000)
        for number in range(60):
            with dial(compressing) as connection:
                connection.sendall(usual_with(OFFER))
                read_to(b'"sid"', connection)
                connection.sendall(bomb * (number % 3) + bomb[: 7 + number])
        wait_until(lambda: metric(compressing, "fanfare_sessions") == 0, deadline_s=60)

        wait_until(lambda: descriptors(compressing) <= before, deadline_s=60)
