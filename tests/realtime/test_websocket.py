"""The WebSocket over a real eventlet.wsgi server on loopback, by clients that write raw bytes.

Server and clients are greenlets of one thread. Nothing here waits for a time to pass: a test that
hangs is ended by the deadline, and the sockets have no timeout that could free it earlier.
"""

import base64
import collections
import itertools
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

import engineio
import eventlet
import eventlet.wsgi
import pytest
from eventlet.event import Event
from eventlet.green import socket
from eventlet.queue import Queue
from eventlet.semaphore import Semaphore

from realtime.websocket import (
    ClosedError,
    Green,
    Handler,
    Refusal,
    WebSocket,
    WebSocketApp,
    judge_handshake,
)
from tests.realtime.test_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    client_frame,
    close_frame,
)

DEADLINE_S = 20
LIMIT = 1 << 20
# More than the buffers of both ends of a loopback connection take together.
MORE_THAN_BUFFERS = bytes(32 << 20)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}

NO_RESPONSE: Any = None  # a start_response that must not be called
Serve = Callable[..., tuple[str, int]]


def mark_handled() -> None:
    eventlet.wsgi.WSGI_LOCAL.already_handled = True


GREEN = Green(
    make_lock=Semaphore,
    later=lambda seconds, work: eventlet.hubs.get_hub().schedule_call_global(seconds, work),
    sleep=eventlet.sleep,
    mark_handled=mark_handled,
)


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    with eventlet.Timeout(DEADLINE_S):
        yield


class Protocol(eventlet.wsgi.HttpProtocol):  # type: ignore[misc]
    """Tells what version was asked in, as our server does."""

    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "SERVER_PROTOCOL": self.request_version}


@pytest.fixture
def serve_app() -> Iterator[Callable[[Any], tuple[str, int]]]:
    started = []

    def start(app: Any) -> tuple[str, int]:
        listener = eventlet.listen(("127.0.0.1", 0))
        told = {"log_output": False, "debug": False, "protocol": Protocol}
        task = eventlet.spawn(eventlet.wsgi.server, listener, app, **told)
        started.append((listener, task))
        address: tuple[str, int] = listener.getsockname()
        return address

    yield start
    for listener, task in started:
        task.kill()
        listener.close()


@pytest.fixture
def serve(serve_app: Callable[[Any], tuple[str, int]]) -> Serve:
    """`serve(handler)` runs it for each WebSocket; the address is for `Client`."""

    def start(
        handler: Handler, *, limit: int = LIMIT, close_timeout_s: float = DEADLINE_S
    ) -> tuple[str, int]:
        engine = SimpleNamespace(max_http_buffer_size=limit)
        return serve_app(WebSocketApp(GREEN, handler, engine, close_timeout_s=close_timeout_s))

    return start


class Client:
    """One raw connection; it reads nothing unless it is told to."""

    def __init__(self, address: tuple[str, int], path: str = "/", *, upgrade: bool = True):
        self.sock = eventlet.connect(address)
        self.buffer = b""
        self.path = path
        if upgrade:
            status, self.headers, _ = self.ask(HANDSHAKE)
            assert status == "HTTP/1.1 101 Switching Protocols"

    def ask(
        self, headers: dict[str, str], *, method: str = "GET"
    ) -> tuple[str, dict[str, str], bytes]:
        lines = [f"{method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            self.read_more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status, *lines = head.decode().split("\r\n")
        answer = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return status, answer, self.read(int(answer.get("content-length", 0)))

    def send(self, opcode: int, payload: bytes = b"", *, final: bool = True) -> None:
        self.sock.sendall(client_frame(opcode, payload, final=final))

    def close(self, code: int = 1000) -> None:
        self.sock.sendall(close_frame(code))

    def read_more(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            raise EOFError
        self.buffer += data

    def read(self, size: int) -> bytes:
        parts, missing = [self.buffer[:size]], size - len(self.buffer)
        self.buffer = self.buffer[size:]
        while missing > 0:
            parts.append(self.sock.recv(min(missing, 1 << 20)))
            missing -= len(parts[-1])
            if not parts[-1]:
                raise EOFError
        return b"".join(parts)

    def receive(self) -> tuple[int, bytes]:
        """The next frame: whole, unmasked, with no reserved bit."""
        first, size = self.read(2)
        assert first & 0xF0 == 0x80
        assert size < 128
        if size == 126:
            [size] = struct.unpack("!H", self.read(2))
        elif size == 127:
            [size] = struct.unpack("!Q", self.read(8))
        return first & 0x0F, self.read(size)

    def receive_close(self) -> int:
        opcode, payload = self.receive()
        assert opcode == CLOSE
        return int.from_bytes(payload[:2])

    def read_to_end(self) -> tuple[bytes, str]:
        """What comes until the end, and which: eventlet's own recv shows a reset as an end."""
        data = self.buffer
        while True:
            try:
                part = self.sock.fd.recv(1 << 20)
            except BlockingIOError:
                eventlet.hubs.trampoline(self.sock.fd, read=True)
                continue
            except ConnectionResetError:
                return data, "reset"
            if not part:
                return data, "end"
            data += part


def echo(ws: WebSocket) -> None:
    while (message := ws.wait()) is not None:
        ws.send(message)


class Held:
    """A handler that hands its WebSocket out and reads until the end."""

    def __init__(self) -> None:
        self.opened: Queue = Queue()
        self.messages: Queue = Queue()

    def __call__(self, ws: WebSocket) -> None:
        self.opened.put(ws)
        while True:
            message = ws.wait()
            self.messages.put(message)
            if message is None:
                return

    def ws(self) -> WebSocket:
        ws: WebSocket = self.opened.get()
        return ws

    def message(self) -> str | bytes | None:
        message: str | bytes | None = self.messages.get()
        return message


class Sending:
    """A `send` in a greenlet of its own."""

    def __init__(self, ws: WebSocket, message: str | bytes) -> None:
        self.ws = ws
        self.fd = ws.socket.fileno()
        self.task = eventlet.spawn(self.run, message)

    def run(self, message: str | bytes) -> str:
        try:
            self.ws.send(message)
        except ClosedError:
            return "closed"
        return "sent"

    def until_stuck(self) -> "Sending":
        """Return once the socket's buffer is full and the greenlet is parked."""
        hub = eventlet.hubs.get_hub()
        while self.fd not in [listener.fileno for listener in hub.get_writers()]:
            eventlet.sleep(0)
        return self

    def result(self) -> str:
        result: str = self.task.wait()
        return result


class TestHandshake:
    def test_the_accept_header_proves_that_the_key_was_read(self, serve):
        client = Client(serve(echo))

        assert client.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert client.headers["upgrade"] == "websocket"

    def test_no_extension_or_subprotocol_is_accepted(self, serve):
        client = Client(serve(echo), upgrade=False)
        offers = {
            "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
            "Sec-WebSocket-Protocol": "chat",
        }
        status, headers, _ = client.ask({**HANDSHAKE, **offers})

        assert " 101 " in status
        assert set(headers) == {"upgrade", "connection", "sec-websocket-accept"}

    def test_small_frames_are_not_held_back(self, serve):
        held = Held()
        client = Client(serve(held))

        assert held.ws().socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.close()

    @pytest.mark.parametrize("version", [None, "", "8", "14", "13, 8", "+13"])
    def test_another_version_is_426_and_told_which_would_do(self, serve, version):
        client = Client(serve(echo), upgrade=False)
        headers = {**HANDSHAKE, "Sec-WebSocket-Version": version or ""}
        if version is None:
            del headers["Sec-WebSocket-Version"]
        status, answer, body = client.ask(headers)

        assert status == "HTTP/1.1 426 Upgrade Required"
        assert answer["sec-websocket-version"] == "13"
        assert b"13" in body

    @pytest.mark.parametrize(
        "key",
        [
            None,
            "",
            "not base64 at all",
            base64.b64encode(bytes(15)).decode(),
            base64.b64encode(bytes(17)).decode(),
            f"{KEY},{KEY}",
            KEY.replace("=", ""),
            f"{KEY[:-3]}é==",
        ],
    )
    def test_a_key_that_is_not_16_bytes_is_400(self, serve, key):
        client = Client(serve(echo), upgrade=False)
        headers = {**HANDSHAKE, "Sec-WebSocket-Key": key or ""}
        if key is None:
            del headers["Sec-WebSocket-Key"]
        status, _, body = client.ask(headers)

        assert status == "HTTP/1.1 400 Bad Request"
        assert b"Sec-WebSocket-Key" in body

    @pytest.mark.parametrize(
        "headers",
        [
            {"Upgrade": "h2c"},
            {"Connection": "keep-alive"},
            {"Content-Length": "5"},
            {"Transfer-Encoding": "chunked"},
        ],
    )
    def test_what_is_no_plain_upgrade_is_400(self, headers):
        """A body above all: its bytes would be read as frames."""
        refusal = judge_handshake(environ_of({**HANDSHAKE, **headers}))

        assert isinstance(refusal, Refusal)
        assert refusal.status == "400 Bad Request"

    def test_another_method_is_405(self, serve):
        client = Client(serve(echo), upgrade=False)
        status, headers, _ = client.ask({**HANDSHAKE, "Content-Length": "0"}, method="POST")

        assert status == "HTTP/1.1 405 Method Not Allowed"
        assert headers["allow"] == "GET"

    def test_tokens_are_compared_without_case_and_among_others(self):
        headers = {"Upgrade": "h2c, WebSocket", "Connection": "keep-alive, UPGRADE"}

        assert judge_handshake(environ_of({**HANDSHAKE, **headers})) is None

    def test_a_refused_connection_serves_the_next_request(self, serve):
        client = Client(serve(echo), upgrade=False)
        client.ask({**HANDSHAKE, "Sec-WebSocket-Version": "8"})
        status, _, _ = client.ask(HANDSHAKE)
        client.send(TEXT, b"hello")

        assert " 101 " in status
        assert client.receive() == (TEXT, b"hello")

    def test_gunicorns_socket_does_as_well_and_need_not_be_tcp(self):
        ours, theirs = socket.socketpair()
        environ = {**environ_of(HANDSHAKE), "gunicorn.socket": ours}
        app = WebSocketApp(GREEN, echo, SimpleNamespace(max_http_buffer_size=LIMIT))
        serving = eventlet.spawn(app, environ, NO_RESPONSE)
        theirs.sendall(client_frame(TEXT, b"hello") + close_frame(1000))
        theirs.shutdown(socket.SHUT_WR)
        serving.wait()

        assert theirs.recv(1 << 16).endswith(b"\r\n\r\n\x81\x05hello\x88\x02\x03\xe8")

    def test_the_wsgi_server_is_told_that_it_may_stop_and_need_not_answer(self):
        """Else a graceful stop waits for the client, and a 500 is logged for each connection."""
        ours, theirs = socket.socketpair()
        told: list[str] = []
        green = GREEN._replace(mark_handled=lambda: told.append("handled"))
        environ = {
            **environ_of(HANDSHAKE),
            "gunicorn.socket": ours,
            "eventlet.set_idle": lambda: told.append("idle"),
        }
        app = WebSocketApp(
            green, lambda ws: told.append("run"), SimpleNamespace(max_http_buffer_size=LIMIT)
        )
        theirs.shutdown(socket.SHUT_WR)

        assert list(app(environ, NO_RESPONSE)) == []
        assert told == ["idle", "run", "handled"]


def environ_of(headers: dict[str, str]) -> dict[str, Any]:
    names = {"Content-Length": "CONTENT_LENGTH"}
    environ = {
        names.get(name, "HTTP_" + name.upper().replace("-", "_")): value
        for name, value in headers.items()
    }
    return {"REQUEST_METHOD": "GET", **environ}


class TestMessages:
    @pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, LIMIT])
    def test_messages_of_every_size_come_and_go(self, serve, size):
        client = Client(serve(echo))
        payload = b"x" * size
        for opcode in (TEXT, BINARY):
            eventlet.spawn(client.send, opcode, payload)

            assert client.receive() == (opcode, payload)

    def test_the_reader_takes_bytes_as_they_come(self, serve):
        client = Client(serve(echo))
        for byte in client_frame(TEXT, "größe".encode()):
            client.sock.sendall(bytes([byte]))
            eventlet.sleep(0)

        assert client.receive() == (TEXT, "größe".encode())

    def test_many_messages_in_one_segment_keep_their_order(self, serve):
        client = Client(serve(echo))
        client.sock.sendall(b"".join(client_frame(TEXT, b"%d" % n) for n in range(500)))

        assert [client.receive()[1] for _ in range(500)] == [b"%d" % n for n in range(500)]

    def test_a_ping_between_fragments_is_answered_before_the_message_ends(self, serve):
        client = Client(serve(echo))
        client.send(TEXT, b"one ", final=False)
        client.send(PING, b"there?")

        assert client.receive() == (PONG, b"there?")
        client.send(CONTINUATION, b"two")
        assert client.receive() == (TEXT, b"one two")

    def test_the_newest_of_several_pings_is_answered(self, serve):
        """RFC 6455, 5.5.3 allows it; so a flood of pings can't make the server write as much."""
        client = Client(serve(echo))
        client.sock.sendall(b"".join(client_frame(PING, b"%d" % n) for n in range(10)))
        pongs: list[tuple[int, bytes]] = []
        while not pongs or pongs[-1] != (PONG, b"9"):
            pongs.append(client.receive())

        assert len(pongs) <= 10

    def test_a_pong_that_nobody_asked_for_is_ignored(self, serve):
        client = Client(serve(echo))
        client.send(PONG, b"x")
        client.send(TEXT, b"y")

        assert client.receive() == (TEXT, b"y")


class TestFaults:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (b"\x81\x02hi", 1002),
            (client_frame(TEXT, b"x", rsv=4), 1002),
            (client_frame(3), 1002),
            (client_frame(PING, final=False), 1002),
            (client_frame(CONTINUATION, b"x"), 1002),
            (close_frame(1005), 1002),
            (client_frame(CLOSE, b"x"), 1002),
            (client_frame(TEXT, b"\xff"), 1007),
            (client_frame(BINARY, bytes(LIMIT + 1))[:16], 1009),
        ],
    )
    def test_the_close_frame_names_the_fault(self, serve, data, code):
        held = Held()
        client = Client(serve(held))
        client.sock.sendall(client_frame(TEXT, b"before") + data + client_frame(TEXT, b"after"))

        assert client.receive_close() == code
        assert client.read_to_end() == (b"", "end")
        assert [held.message(), held.message()] == ["before", None]

    def test_endless_fragments_are_refused_at_the_limit(self, serve):
        """The client that goes on sending still gets the close frame, not a reset."""
        held = Held()
        client = Client(serve(held, limit=64 << 10))
        client.send(BINARY, bytes(1 << 10), final=False)
        fragments = client_frame(CONTINUATION, bytes(1 << 10), final=False) * 4096
        sending = eventlet.spawn(client.sock.sendall, fragments)

        assert client.receive_close() == 1009
        assert held.message() is None
        sending.wait()
        client.sock.close()

    def test_a_client_that_never_stops_after_its_fault_is_reset(self, serve):
        held = Held()
        client = Client(serve(held, close_timeout_s=0.05))
        client.sock.sendall(b"\x81\x02hi")
        flood = itertools.repeat(bytes(1 << 16))
        with pytest.raises(ConnectionError):
            collections.deque(map(client.sock.sendall, flood), maxlen=0)

        assert held.ws().socket.fileno() == -1


class TestClose:
    @pytest.mark.parametrize("payload", [b"", struct.pack("!H", 1000), struct.pack("!H", 4321)])
    def test_the_clients_close_is_answered_with_its_code_and_ends_all(self, serve, payload):
        held = Held()
        client = Client(serve(held))
        client.send(TEXT, b"last")
        client.send(CLOSE, payload)

        assert client.receive() == (CLOSE, payload)
        assert client.read_to_end() == (b"", "end")
        assert [held.message(), held.message()] == ["last", None]

    def test_messages_in_front_of_a_close_are_all_delivered(self, serve):
        held = Held()
        client = Client(serve(held))
        client.sock.sendall(client_frame(TEXT, b"x") * 300 + close_frame(1000))

        assert [held.message() for _ in range(301)] == ["x"] * 300 + [None]

    def test_a_close_from_here_frees_the_parked_reader_once_the_client_answers(self, serve):
        held = Held()
        client = Client(serve(held))
        ws = held.ws()
        ws.close(4000, "enough")
        client.send(TEXT, b"late")

        assert client.receive() == (CLOSE, struct.pack("!H", 4000) + b"enough")
        client.close(4000)
        assert held.message() is None
        assert client.read_to_end() == (b"", "end")

    def test_a_close_from_here_frees_the_parked_reader_when_nobody_answers(self, serve):
        """Eventlet's own left it parked until the idle timeout, 45 s with the defaults."""
        held = Held()
        client = Client(serve(held, close_timeout_s=0.05))
        ws = held.ws()
        ws.close()

        assert held.message() is None
        assert client.read_to_end() == (b"\x88\x02\x03\xe8", "reset")

    def test_a_close_from_here_may_cross_with_the_clients(self, serve):
        """The client's came in front of ours, and no second one will come to be waited for."""
        results = Queue()

        def close_after_one(ws: WebSocket) -> None:
            results.put(ws.wait())
            ws.close(4000)
            results.put(ws.wait())

        client = Client(serve(close_after_one))
        client.sock.sendall(client_frame(TEXT, b"x") + close_frame(1000))

        assert [results.get(), results.get()] == ["x", None]
        assert client.receive_close() == 4000

    def test_nothing_is_sent_after_a_close(self, serve):
        held = Held()
        client = Client(serve(held))
        ws = held.ws()
        ws.close()
        ws.close(4001)
        with pytest.raises(ClosedError):
            ws.send("late")
        client.close()

        assert client.read_to_end() == (b"\x88\x02\x03\xe8", "end")

    def test_a_close_does_not_wait_for_a_stuck_writer_for_ever(self, serve):
        held = Held()
        client = Client(serve(held, close_timeout_s=0.05))
        ws = held.ws()
        sending = Sending(ws, MORE_THAN_BUFFERS).until_stuck()
        ws.close()

        assert sending.result() == "closed"
        assert held.message() is None
        assert client.read_to_end()[1] == "reset"

    def test_a_close_goes_out_after_the_frame_that_is_on_its_way(self, serve):
        held = Held()
        client = Client(serve(held))
        ws = held.ws()
        sending = Sending(ws, MORE_THAN_BUFFERS).until_stuck()
        ws.close()

        assert client.receive() == (BINARY, MORE_THAN_BUFFERS)
        assert client.receive_close() == 1000
        assert sending.result() == "sent"
        client.close()
        assert held.message() is None

    def test_a_handler_that_returns_closes_with_1000(self, serve):
        client = Client(serve(lambda ws: ws.send("bye")))

        assert client.receive() == (TEXT, b"bye")
        assert client.receive_close() == 1000
        client.close()
        assert client.read_to_end() == (b"", "end")

    def test_a_handler_that_fails_closes_with_1011_and_is_logged(self, serve, caplog):
        """No HTTP error may land among the frames, as the WSGI server would write it."""

        def fail(ws: WebSocket) -> NoReturn:
            raise ZeroDivisionError

        client = Client(serve(fail))

        assert client.receive_close() == 1011
        client.close()
        assert client.read_to_end() == (b"", "end")
        assert [record.message for record in caplog.records] == ["websocket handler failed"]

    def test_a_client_that_vanishes_ends_the_reader(self, serve):
        held = Held()
        Client(serve(held)).sock.close()

        assert held.message() is None

    def test_a_reader_whose_descriptor_the_hub_finds_reused_ends(self, serve):
        held = Held()
        client = Client(serve(held))
        fd = held.ws().socket.fileno()
        eventlet.sleep(0)
        eventlet.hubs.notify_opened(fd)

        assert held.message() is None
        assert client.read_to_end() == (b"", "reset")

    def test_a_client_that_vanishes_frees_a_stuck_writer(self, serve):
        held = Held()
        client = Client(serve(held))
        sending = Sending(held.ws(), MORE_THAN_BUFFERS).until_stuck()
        client.sock.close()

        assert sending.result() == "closed"
        assert held.message() is None


class TestAbort:
    def test_a_parked_reader_is_woken_and_the_client_sees_a_reset(self, serve):
        held = Held()
        client = Client(serve(held))
        ws = held.ws()
        eventlet.sleep(0)
        ws.abort()

        assert held.message() is None
        assert client.read_to_end() == (b"", "reset")

    def test_a_stuck_writer_and_the_parked_reader_are_woken(self, serve):
        held = Held()
        client = Client(serve(held))
        ws = held.ws()
        sending = Sending(ws, MORE_THAN_BUFFERS).until_stuck()
        waiting = Sending(ws, "behind it")
        eventlet.sleep(0)
        ws.abort()

        assert sending.result() == "closed"
        assert waiting.result() == "closed"
        assert held.message() is None
        assert client.read_to_end()[1] == "reset"

    def test_it_may_be_called_by_a_timer_of_the_hub(self, serve):
        """A timer runs inside the hub, where nothing may park, and just before the hub sleeps."""
        held = Held()
        client = Client(serve(held))
        sending = Sending(held.ws(), MORE_THAN_BUFFERS).until_stuck()
        eventlet.hubs.get_hub().schedule_call_global(0, sending.ws.abort)

        assert sending.result() == "closed"
        assert held.message() is None
        assert client.read_to_end()[1] == "reset"

    def test_the_descriptor_is_given_back_at_once_where_nobody_is_parked(self, serve):
        """The handler may be busy for long: the reset doesn't wait for it."""
        aborted, go_on = Event(), Event()

        def busy(ws: WebSocket) -> None:
            ws.abort()
            aborted.send(ws.socket.fileno())
            go_on.wait()

        client = Client(serve(busy))

        assert client.read_to_end() == (b"", "reset")
        assert aborted.wait() == -1
        go_on.send()

    def test_messages_that_came_before_are_not_delivered_after(self, serve):
        results = Queue()

        def abort_after_one(ws: WebSocket) -> None:
            results.put(ws.wait())
            ws.abort()
            results.put(ws.wait())

        Client(serve(abort_after_one)).sock.sendall(client_frame(TEXT, b"x") * 10)

        assert [results.get(), results.get()] == ["x", None]

    def test_whatever_follows_is_harmless(self, serve):
        held = Held()
        Client(serve(held))
        ws = held.ws()
        ws.abort()
        ws.abort()
        ws.close()
        with pytest.raises(ClosedError):
            ws.send("late")

        assert held.message() is None
        assert ws.wait() is None

    def test_the_number_of_the_socket_is_never_closed_twice(self, serve):
        """A late abort, as of a close's timer, must not hit the connection that has it now."""
        held = Held()
        address = serve(held)
        first = Client(address)
        old = held.ws()
        old.abort()
        held.message()
        first.sock.close()
        second = Client(address)
        held.ws()
        old.abort()
        second.send(TEXT, b"still here")

        assert held.message() == "still here"


class TestTwoWriters:
    def test_frames_of_greenlets_that_send_at_once_are_not_mixed(self, serve):
        held = Held()
        client = Client(serve(held))
        ws = held.ws()
        large = [bytes([n]) * (8 << 20) for n in range(4)]
        sendings = [Sending(ws, payload) for payload in large]
        sendings[0].until_stuck()

        assert [client.receive() for _ in large] == [(BINARY, payload) for payload in large]
        assert [sending.result() for sending in sendings] == ["sent"] * 4

    def test_the_reader_reads_on_while_a_writer_is_stuck_and_pings_are_answered_after(self, serve):
        """If it waited to send the pong, a client that sends before it reads would hang with it."""
        held = Held()
        client = Client(serve(held))
        sending = Sending(held.ws(), MORE_THAN_BUFFERS).until_stuck()
        for n in range(100):
            client.send(PING, b"%d" % n)
        client.send(TEXT, b"I haven't read anything yet")

        assert held.message() == "I haven't read anything yet"
        assert client.receive() == (BINARY, MORE_THAN_BUFFERS)
        assert client.receive() == (PONG, b"99")
        assert sending.result() == "sent"

    def test_a_writer_that_is_killed_in_mid_frame_takes_the_connection_with_it(self, serve):
        """What came after half a frame could only be read as garbage."""
        held = Held()
        client = Client(serve(held))
        sending = Sending(held.ws(), MORE_THAN_BUFFERS).until_stuck()
        sending.task.kill()

        assert held.message() is None
        assert client.read_to_end()[1] == "reset"


class TestIdleTimeout:
    def test_a_silent_client_is_given_up(self, serve):
        """Set on `socket`, as engineio does it."""
        results = Queue()

        def idle(ws: WebSocket) -> None:
            ws.socket.settimeout(0.05)
            results.put(ws.wait())

        client = Client(serve(idle))

        assert results.get() is None
        assert client.read_to_end() == (b"", "reset")

    def test_a_client_that_does_not_read_is_given_up(self, serve):
        results = Queue()

        def stuck(ws: WebSocket) -> None:
            ws.socket.settimeout(0.05)
            try:
                ws.send(MORE_THAN_BUFFERS)
            except ClosedError as error:
                results.put(error)
                raise

        client = Client(serve(stuck))

        assert isinstance(results.get(), ClosedError)
        assert client.read_to_end()[1] == "reset"


class FullSocket:
    """There's always more to read until the end, so the reader never parks."""

    def __init__(self, *reads: bytes) -> None:
        self.reads = iter(reads)

    def recv(self, size: int) -> bytes:
        return next(self.reads, b"")

    def __getattr__(self, name: str) -> Any:
        return lambda *args: -1


class TestFairness:
    @pytest.mark.parametrize(
        ("reads", "turns"),
        [
            ([client_frame(PING, b"xx") * 2048] * 100, 100),
            ([client_frame(BINARY, bytes(16384 * 100))[:16384], *[bytes(16384)] * 99], 100),
            ([client_frame(TEXT, b"xx") * 1280], 20),
        ],
    )
    def test_a_client_that_floods_lets_the_others_have_their_turns(self, reads, turns):
        """A greenlet that never parks stops every other connection of the node."""
        taken = []
        ws = WebSocket(FullSocket(*reads), GREEN, 2 << 20, 1.0)  # type: ignore[arg-type]

        def other() -> None:
            while True:
                taken.append(1)
                eventlet.sleep(0)

        task = eventlet.spawn(other)
        while ws.wait() is not None:
            pass
        task.kill()

        assert len(taken) >= turns - 1


@pytest.fixture
def engine() -> engineio.Server:
    server = engineio.Server(
        async_mode="eventlet", cors_allowed_origins=[], monitor_clients=False, async_handlers=False
    )
    server._async = {
        **server._async,
        "websocket": lambda handler, engine: WebSocketApp(GREEN, handler, engine),
    }
    return server


class TestUnderEngineIo:
    """In the slot that it was made for, driven by engineio's own reader and writer."""

    PATH = "/engine.io/?EIO=4&transport="

    @pytest.fixture
    def events(self, engine: engineio.Server) -> Queue:
        events = Queue()
        engine.on("connect", lambda sid, environ: events.put(("connect", sid)))
        engine.on("message", engine.send)
        engine.on("disconnect", lambda sid, reason: events.put(("disconnect", sid)))
        return events

    def connect(self, address: tuple[str, int], events: Queue) -> tuple[Client, str]:
        client = Client(address, self.PATH + "websocket")
        assert client.receive()[1].startswith(b'0{"sid":')
        name, sid = events.get()
        assert name == "connect"
        return client, sid

    def test_packets_come_back_and_the_session_ends_with_the_client(
        self, engine, events, serve_app
    ):
        client, sid = self.connect(serve_app(engineio.WSGIApp(engine)), events)
        client.send(TEXT, b"4hello")
        client.send(BINARY, b"\x00\xff")

        assert client.receive() == (TEXT, b"4hello")
        assert client.receive() == (BINARY, b"\x00\xff")
        client.close()
        assert client.receive_close() == 1000
        assert events.get() == ("disconnect", sid)

    def test_a_disconnect_by_the_server_closes_and_frees_the_reader(
        self, engine, events, serve_app
    ):
        client, sid = self.connect(serve_app(engineio.WSGIApp(engine)), events)
        eventlet.spawn(engine.disconnect, sid)

        assert client.receive() == (TEXT, b"1")
        assert client.receive_close() == 1000
        client.close()
        assert client.read_to_end() == (b"", "end")
        while engine.sockets:
            eventlet.sleep(0)

    def test_a_silent_client_is_dropped_by_the_timeout_that_engineio_sets(
        self, engine, events, serve_app
    ):
        engine.ping_interval, engine.ping_timeout = 0.05, 0.05
        _, sid = self.connect(serve_app(engineio.WSGIApp(engine)), events)

        assert events.get() == ("disconnect", sid)
        while engine.sockets:
            eventlet.sleep(0)

    def test_polling_is_upgraded(self, engine, events, serve_app):
        address = serve_app(engineio.WSGIApp(engine))
        Client(address, self.PATH + "polling", upgrade=False).ask({"Host": "localhost"})
        _, sid = events.get()
        client = Client(address, f"{self.PATH}websocket&sid={sid}")
        client.send(TEXT, b"2probe")
        assert client.receive() == (TEXT, b"3probe")
        client.send(TEXT, b"5")
        client.send(TEXT, b"4hello")

        while (frame := client.receive()) != (TEXT, b"4hello"):
            assert frame == (TEXT, b"6")
        client.close()
        assert client.receive_close() == 1000

    def test_a_refused_upgrade_of_polling_is_not_taken_for_packets(self, engine, events, serve_app):
        """Engineio encodes what it's given in a list as Engine.IO packets, and fails."""
        address = serve_app(engineio.WSGIApp(engine))
        Client(address, self.PATH + "polling", upgrade=False).ask({"Host": "localhost"})
        _, sid = events.get()
        client = Client(address, f"{self.PATH}websocket&sid={sid}", upgrade=False)
        status, _, _ = client.ask({**HANDSHAKE, "Sec-WebSocket-Version": "8"})

        assert status == "HTTP/1.1 426 Upgrade Required"
