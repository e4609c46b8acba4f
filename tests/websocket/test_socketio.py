"""Socket.IO 5 on the wire: coming in, namespaces, events, acks, attachments, goodbyes.

The sections are those of the protocol's own page ("Connection to a namespace", "Sending and
receiving data", "Acknowledgement", "Disconnection from a namespace", "Packet encoding"). Where a
stock server would hang up on a malformed event, this one acks it with `bad_request`, as promised.
"""

import json

import pytest

from tests.websocket import said
from tests.websocket.line import BINARY, CLOSE, TEXT, Door, Line, frame

GOODBYE = [(TEXT, b"1"), (CLOSE, b"\x03\xe8")]
PLACEHOLDER = '{"_placeholder":true,"num":0}'


def is_here(line: Line) -> bool:
    """Tell whether a session does what it is asked, and says nothing else before."""
    line.send(frame(TEXT, said.packet(ack_id=99)))
    text = line.hear()
    return text.startswith("4399[") and said.text_of(text.encode()) == said.TEXT


class TestConnect:
    @pytest.mark.parametrize("packet", ["40{}", "40/,{}"])
    def test_the_answer_names_the_session(self, direct, packet):
        """By an id of its own, that is not Engine.IO's."""
        auth = json.dumps({"token": direct.token})
        with direct.open_as_stranger() as line:
            line.say(packet.replace("{}", auth))
            answer = line.hear()
            ready = line.hear()

        assert answer.startswith('40{"sid":"')
        assert ready.startswith('42["ready",{')
        assert json.loads(answer[2:])["sid"] != json.loads(ready[2:])[1]["node"]

    @pytest.mark.parametrize(
        ("auth", "code"),
        [
            ("", "unauthorized"),
            ("null", "unauthorized"),
            ("{}", "unauthorized"),
            ('{"token":""}', "unauthorized"),
            ('{"token":"no"}', "unauthorized"),
            ('{"token":7}', "unauthorized"),
            ('{"token":{"a":1}}', "unauthorized"),
            ("[]", "unauthorized"),
            ('"token"', "unauthorized"),
            ("7", "unauthorized"),
        ],
    )
    def test_a_refusal_is_a_connect_error_with_its_reason(self, direct, auth, code):
        """And the next try on the same connection is judged anew."""
        with direct.open_as_stranger() as line:
            line.say("40" + auth)
            refusal = line.hear()
            line.say("40" + json.dumps({"token": direct.token}))
            answer = line.hear()

        assert refusal.startswith("44{")
        error = json.loads(refusal[2:])
        assert error["message"]
        assert error["data"]["code"] in (code, "invalid")
        assert answer.startswith("40{")

    def test_a_second_connect_changes_nothing(self, door):
        """Neither a second session nor a second greeting."""
        with door.open() as line:
            line.say("40" + json.dumps({"token": door.token}))
            line.say('40{"token":"no"}')
            line.send(frame(TEXT, said.packet()))

            assert line.hear().startswith(f"43{said.ACK}[")

    @pytest.mark.parametrize(
        "packet",
        [
            '42["x",{}]',
            "41",
            "43[]",
            "44{}",
            '451-["x"]',
            "461-[]",
            "47",
            "4",
            "4x",
            "40{",
            "40nonsense",
            "40?",
        ],
    )
    def test_who_begins_with_anything_else_is_sent_away(self, direct, packet):
        with direct.open_as_stranger() as line:
            line.say(packet)

            assert line.read_rest() == GOODBYE


class TestNamespaces:
    @pytest.mark.parametrize("name", ["/other", "/other/deep", "/a b", "/é", "/" + "n" * 199])
    @pytest.mark.parametrize("opened", ["let in", "a stranger"])
    def test_another_one_is_refused_by_its_name(self, direct, opened, name):
        """`44/other,{"message": …}`; what is connected stays so."""
        line = direct.open() if opened == "let in" else direct.open_as_stranger()
        with line:
            line.say(f"40{name},{{}}")
            refusal = line.hear()

            assert refusal.startswith(f"44{name},")
            assert json.loads(refusal.partition(",")[2]) == {"message": "Invalid namespace"}
            assert opened == "a stranger" or is_here(line)

    @pytest.mark.parametrize("packet", ["40/other", "40/other?a=b", "40/other?a=b,{}"])
    def test_it_may_come_without_data_and_with_a_query(self, direct, packet):
        with direct.open() as line:
            line.say(packet)

            assert line.hear() == '44/other,{"message":"Invalid namespace"}'

    def test_one_whose_name_is_longer_than_any_is_not_spoken_of(self, direct):
        """Never under a name that was not asked for."""
        with direct.open() as line:
            line.say("40/" + "n" * 300)

            assert is_here(line)

    def test_the_refusals_have_an_end(self, direct):
        """Or one client could have the server write for ever."""
        with direct.open() as line:
            for number in range(100):
                line.say(f"40/n{number},")
            line.send(frame(TEXT, said.packet()))
            refusals = 0
            while (text := line.hear()).startswith("44/"):
                refusals += 1

        assert text.startswith(f"43{said.ACK}[")
        assert 0 < refusals <= 20

    @pytest.mark.parametrize("packet", ['42/other,["x",{}]', '42/other,7["x",{}]', "43/other,7[1]"])
    def test_an_event_to_one_that_is_not_connected_is_nothing(self, door, packet):
        with door.open() as line:
            line.say(packet)
            line.send(frame(TEXT, said.packet()))

            assert line.hear().startswith(f"43{said.ACK}[")


class TestEvents:
    @pytest.mark.parametrize("start", ["42", "42/,"])
    def test_the_namespace_may_be_named_or_left_out(self, door, start):
        with door.open() as line:
            text = said.packet().decode()
            line.say(start + text.removeprefix("42"))

            assert said.heard(line) == said.TEXT

    def test_an_event_that_wants_no_ack_gets_none(self, door):
        with door.open() as line:
            line.say('42["nonsense",{}]')
            line.send(frame(TEXT, said.packet()))

            assert line.hear().startswith(f"43{said.ACK}[")

    @pytest.mark.parametrize(
        "body", ["[]", "[1]", "[null]", '[["x"]]', "{}", "[", '["x"', "nonsense", '["x"]]']
    )
    def test_what_is_no_event_is_acked_as_such(self, door, body):
        """A stock server hangs up; here a client learns what was wrong."""
        with door.open() as line:
            line.say(f"425{body}")

            assert line.hear_ack(5)["error"]["code"] == "bad_request"
            assert is_here(line)

    @pytest.mark.parametrize("kind", ["7", "8", "9", "x", "-", "é", "٢"])
    def test_a_packet_of_no_kind_is_nothing(self, door, kind):
        with door.open() as line:
            line.say(f'4{kind}5["x"]')

            assert is_here(line)


class TestAcks:
    @pytest.mark.parametrize("ack_id", [0, 1, 9, 10, 2**31, 2**32, 999_999_999_999_999])
    def test_an_id_comes_back_as_it_was(self, door, ack_id):
        with door.open() as line:
            line.send(frame(TEXT, said.packet(ack_id=ack_id)))

            assert said.heard(line, ack_id) == said.TEXT

    @pytest.mark.parametrize(
        "given",
        [
            "9999999999999999",  # 16 digits: a number that clients can't tell from the next one
            "1" * 17,
            "1" * 400,
            "-1",
            "+1",
            "1.5",
            "1e3",
            " 1",
            "0x1",
            "٧",  # a digit, but not of the protocol's
            "x",
        ],
    )
    def test_what_is_no_id_is_never_answered_under_another(self, door, given):
        """An ack to `1` for what was sent as `1.5` would be taken for another packet's."""
        with door.open() as line:
            line.say(f'42{given}["nonsense",{{}}]')
            line.send(frame(TEXT, said.packet(ack_id=77)))
            texts = [line.hear()]
            while not texts[-1].startswith("4377["):
                texts.append(line.hear())

        assert [text[:40] for text in texts[:-1]] == []

    @pytest.mark.parametrize("packet", ["43[]", "437[1]", "43", "43x", "437", "43/,7[1]"])
    def test_an_ack_that_nobody_waits_for_is_ignored(self, door, packet):
        with door.open() as line:
            line.say(packet)

            assert is_here(line)


class TestAttachments:
    """Binary data is refused, and what belongs to it never taken for anything else."""

    @pytest.mark.parametrize(
        ("packet", "attachments"),
        [
            (f'451-7["x",{PLACEHOLDER}]', [b"\x00"]),
            (f'452-7["x",{PLACEHOLDER},{PLACEHOLDER}]', [b"\x00", b"42[]"]),
            (f'452-7["x",{PLACEHOLDER}]', [b"one too few"]),
            (f'451-7["x",{PLACEHOLDER}]', [b"one", b"too many"]),
            (f'451-7["x",{PLACEHOLDER}]', []),
            ('450-7["x"]', []),
            (f'451-/,7["x",{PLACEHOLDER}]', [b"x"]),
            ('451-7["x",{"_placeholder":true,"num":5}]', [b"x"]),
            ('451-7["x",{"_placeholder":true,"num":-1}]', [b"x"]),
        ],
    )
    def test_an_event_with_attachments_is_acked_as_refused(self, door, packet, attachments):
        """Whether they come as announced, too few, too many or not at all."""
        with door.open() as line:
            line.send(frame(TEXT, packet.encode()), *(frame(BINARY, it) for it in attachments))

            assert line.hear_ack(7)["error"]["code"] == "bad_request"
            assert is_here(line)

    @pytest.mark.parametrize(
        "packet", ["461-7[]", "45", "45-", "451", "451-", "45999999-7[]", "45x-7[]", "45-1-7[]"]
    )
    def test_what_announces_none_rightly_is_nothing(self, door, packet):
        with door.open() as line:
            line.send(frame(TEXT, packet.encode()), frame(BINARY, b"x"))

            assert is_here(line)

    def test_they_may_come_before_what_announces_them(self, door):
        with door.open() as line:
            line.send(frame(BINARY, b"x"), frame(TEXT, f'451-7["x",{PLACEHOLDER}]'.encode()))

            assert line.hear_ack(7)["error"]["code"] == "bad_request"
            assert is_here(line)


class TestDisconnect:
    @pytest.mark.parametrize("packet", ["41", "41/,"])
    def test_it_ends_the_session_and_the_connection(self, direct, packet):
        """There is no other namespace for which it could stay."""
        with direct.open() as line:
            line.say(packet)

            assert line.read_rest() == GOODBYE

    def test_what_comes_behind_it_has_no_effect(self, direct: Door):
        with direct.open() as line:
            line.send(frame(TEXT, b"41"), frame(TEXT, said.packet()))

            assert line.read_rest() == GOODBYE
