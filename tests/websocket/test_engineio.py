"""Engine.IO 4 on the wire: the open packet, heartbeats, upgrades, goodbyes, strange packets.

The sections are those of the protocol's own page ("Handshake", "Heartbeat", "Upgrade", "Packet
encoding"). What stock clients never send and the page does not name is settled here.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.regression.wires import Polling
from tests.support.client import registered
from tests.support.server import Server
from tests.websocket import said
from tests.websocket.conftest import MAX_PACKET_BYTES
from tests.websocket.line import (
    BINARY,
    CLOSE,
    SOCKET_IO,
    TEXT,
    Door,
    Line,
    close_frame,
    frame,
    handshake,
)

WRONG = [b"7", b"8", b"9", b"x", b"-1", b"", b" 4", "٤2[]".encode()]


class TestHandshake:
    def test_the_open_packet_says_all_that_a_client_has_to_know(self, served):
        """And no upgrade is offered to who is there already."""
        with Line(served) as line:
            line.upgrade()
            told = json.loads(line.hear().removeprefix("0"))

        assert told.pop("sid")
        assert told == {
            "upgrades": [],
            "pingInterval": 25_000,
            "pingTimeout": 20_000,
            "maxPayload": MAX_PACKET_BYTES,
        }

    def test_no_two_sessions_have_one_name(self, served):
        names = set()
        for _ in range(20):
            with Line(served) as line:
                line.upgrade()
                names.add(json.loads(line.hear()[1:])["sid"])

        assert len(names) == 20


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that pings each second, and waits one for the answer."""
    settings: dict[str, Any] = {"PING_INTERVAL_S": 1, "PING_TIMEOUT_S": 1}
    folder = tmp_path_factory.mktemp("pings")
    with Server(None, instance=folder, **settings) as server, registered(server.url) as someone:
        yield Door(server, str(someone.access_token), is_upgraded=False)


class TestHeartbeat:
    def test_the_server_pings_and_who_answers_stays(self, impatient):
        with impatient.open() as line:
            for _ in range(3):
                assert line.read() == (TEXT, b"2")
                line.say("3")
            line.say('421["x"]')

            assert line.hear_ack(1)["error"]["code"] == "bad_request"

    def test_who_does_not_answer_is_closed(self, impatient):
        with impatient.open() as line:
            ping, last = line.read_rest()

        assert ping == (TEXT, b"2")
        assert last == (CLOSE, b"\x03\xe9ping timeout")

    def test_a_ping_of_websockets_own_is_no_answer(self, impatient):
        """Only Engine.IO's pong counts: a proxy in between may answer the other kind."""
        with impatient.open() as line:
            assert line.read() == (TEXT, b"2")
            line.send(frame(10))
            (last,) = line.read_rest()

        assert last[0] == CLOSE

    def test_a_pong_that_nobody_asked_for_changes_nothing(self, direct):
        with direct.open() as line:
            line.say("3")
            line.send(frame(TEXT, said.packet()))

            assert said.heard(line) == said.TEXT

    def test_a_ping_of_the_client_is_not_answered(self, direct):
        """It was the client's in version 3; in version 4 it is the server's alone."""
        with direct.open() as line:
            line.say("2")
            line.send(frame(TEXT, said.packet()))

            assert said.heard(line) == said.TEXT


class TestUpgrade:
    @pytest.fixture
    def polling(self, direct: Door) -> Iterator[Polling]:
        with Polling(direct.server, direct.token) as session:
            yield session

    def test_a_probe_is_answered_and_its_session_goes_on(self, polling, direct):
        """Also what was on its way while it changed over."""
        with Line(direct.server) as line:
            line.upgrade(f"{SOCKET_IO}&sid={polling.sid}")
            line.say("2probe")
            probed = line.hear()
            polling.post("4" + said.packet().decode().removeprefix("4"))
            line.say("5")
            while (text := line.hear()) == "6":
                pass

        assert probed == "3probe"
        assert said.text_of(text.encode()) == said.TEXT

    def test_who_polls_meanwhile_is_let_go(self, polling, direct):
        """A noop ends the poll, so that nothing is told on the old way any more."""
        parked = Line(direct.server)
        parked.send(f"GET {polling.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        with Line(direct.server) as line:
            line.upgrade(f"{SOCKET_IO}&sid={polling.sid}")
            line.say("2probe")
            assert line.hear() == "3probe"
            line.say("5")
            line.send(frame(TEXT, said.packet()))

            assert said.heard(line) == said.TEXT
        with parked:
            status, headers = parked.read_head()

            assert status == 200
            assert parked.take(int(headers["content-length"])) == b"6"

    @pytest.mark.parametrize("probe", ["2", "2x", "3probe", "5", "40"])
    def test_anything_else_than_a_probe_is_not_upgraded(self, polling, direct, probe):
        """And polling goes on."""
        with Line(direct.server) as line:
            line.upgrade(f"{SOCKET_IO}&sid={polling.sid}")
            line.say(probe)
            (last,) = line.read_rest()

        assert last[0] == CLOSE
        assert polling.post('429["x"]').status_code == 200
        assert polling.read_until("439[")

    def test_a_session_upgrades_once(self, direct):
        """The second WebSocket of a session is refused, and the first goes on."""
        upgraded = Door(direct.server, direct.token, is_upgraded=True)
        with upgraded.open() as first, Line(direct.server) as second:
            second.send(handshake(path=f"{SOCKET_IO}&sid={first.sid}"))
            status, _ = second.read_head()
            first.send(frame(TEXT, said.packet()))

            assert status == 400
            assert said.heard(first) == said.TEXT

    def test_a_session_that_began_as_a_websocket_is_not_upgraded(self, direct):
        with Line(direct.server) as first, Line(direct.server) as second:
            first.upgrade()
            sid = json.loads(first.hear()[1:])["sid"]
            second.send(handshake(path=f"{SOCKET_IO}&sid={sid}"))

            assert second.read_head()[0] == 400


class TestGoodbyes:
    def test_a_close_packet_closes(self, door):
        with door.open() as line:
            line.say("1")
            last = line.read()
            line.send(close_frame(1000))

            assert last == (CLOSE, b"\x03\xe8")
            assert line.read_rest() == []

    def test_what_stands_in_front_of_it_is_handled(self, direct):
        with direct.open() as line:
            line.send(frame(TEXT, said.packet()))
            body = said.heard(line)
            line.send(frame(TEXT, b"1"), frame(TEXT, said.packet("late")))

            assert body == said.TEXT
            assert line.read_rest() == [(CLOSE, b"\x03\xe8")]


class TestPackets:
    @pytest.mark.parametrize("kind", ["0{}", "5", "6", "2probe", "3probe"])
    def test_what_means_nothing_here_is_ignored(self, direct, kind):
        """Open, upgrade and noop are the server's own, or come at another time."""
        with direct.open() as line:
            line.say(kind)
            line.send(frame(TEXT, said.packet()))

            assert said.heard(line) == said.TEXT

    @pytest.mark.parametrize("payload", WRONG)
    @pytest.mark.parametrize("opened", ["let in", "a stranger"])
    def test_a_packet_of_no_kind_closes(self, direct, payload, opened):
        line = direct.open() if opened == "let in" else direct.open_as_stranger()
        with line:
            line.send(frame(TEXT, payload))
            (last,) = line.read_rest()

        assert last == (CLOSE, b"\x03\xeathis is no packet of Engine.IO")

    def test_a_packet_may_be_as_long_as_was_said(self, door):
        with door.open() as line:
            line.send(frame(TEXT, said.packet(size=MAX_PACKET_BYTES)))

            assert said.heard(line) == said.TEXT

    @pytest.mark.parametrize("size", [0, 1, 1000])
    def test_bytes_that_nothing_announced_are_ignored(self, door, size):
        with door.open() as line:
            line.send(frame(BINARY, bytes(size)), frame(TEXT, said.packet()))

            assert said.heard(line) == said.TEXT

    def test_a_stranger_who_sends_bytes_is_closed(self, direct):
        with direct.open_as_stranger() as line:
            line.send(frame(BINARY, b"x"))

            assert line.read_rest() == [(TEXT, b"1"), (CLOSE, b"\x03\xe8")]

    def test_a_close_frame_of_websockets_own_ends_the_session_too(self, door):
        with door.open() as line:
            line.send(close_frame(1001))

            assert line.read_rest() == [(CLOSE, b"\x03\xe9")]
