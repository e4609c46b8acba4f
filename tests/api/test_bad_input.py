"""What bad input gets: a clear error at the door, with a stable code, and nothing half done.

Each row is tried over REST and, where the socket has such a thing, over the socket.
"""

import base64
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from core.errors import UnauthorizedError
from core.passwords import Passwords
from core.services import accounts
from tests.api.people import (
    NOBODYS_ID,
    done,
    faults,
    log_of,
    make_channel,
    post,
    problem,
)
from tests.support.client import PASSWORD, RefusedError, RestClient, SocketClient, unique
from tests.support.wait import wait_until

LIMIT = 65_536
BIG = 200_000_000


@pytest.fixture(scope="module")
def room(ada, ben):
    """A private channel of ada's and ben's, with one message, that no refused call may touch."""
    channel = make_channel(ada, "private", slug=unique("room"), members=[ben])
    return channel | {"message": post(ada, channel, "The first")["id"]}


@pytest.fixture
def untouched(ada, room):
    """After the test the room is as it was: nothing of what was refused has been done."""

    def look():
        path = f"/channels/{room['id']}"
        return done(ada.get(f"{path}/sync")), done(ada.get(path)), log_of(ada, room)

    before = look()
    yield
    assert look() == before


@pytest.fixture
def line(ada, connect):
    """A socket of ada's."""
    return connect(ada)


def calls(room):
    """Each call that takes a body, with one that it would take."""
    path = f"/channels/{room['id']}"
    event = {"type": "a.b", "data": 1}
    stream = {"stream": f"channel:{room['id']}"}
    return {
        "register": ("POST", "/auth/register", {"username": unique(), "password": PASSWORD}),
        "login": ("POST", "/auth/login", {"username": "ada", "password": PASSWORD}),
        "me": ("PATCH", "/me", {"display_name": "Ada"}),
        "password": ("PUT", "/me/password", {"current_password": "x", "new_password": PASSWORD}),
        "channel": ("POST", "/channels", {"name": "x", "kind": "public"}),
        "change": ("PATCH", path, {"name": "x"}),
        "member": ("PUT", f"{path}/members/me", {"role": "member"}),
        "read": ("PUT", f"{path}/read", {"offset": 1}),
        "message": ("POST", f"{path}/messages", {"body": "x"}),
        "edit": ("PATCH", f"{path}/messages/{room['message']}", {"body": "x"}),
        "event": ("POST", f"{path}/events", event),
        "publish": ("POST", "/publish", {"events": [event | stream]}),
        "notify": ("POST", "/notifications", {"user_ids": [], "kind": "a", "title": "t"}),
        "notifications": ("POST", "/notifications/read", {"ids": []}),
    }


def packets(room):
    """Each packet, with an argument that it would take."""
    channel, stream = {"channel": room["id"]}, {"stream": f"channel:{room['id']}"}
    return {
        "subscribe": stream,
        "unsubscribe": stream,
        "resume": {"positions": {stream["stream"]: {"offset": 0, "epoch": "x"}}},
        "publish": {**stream, "type": "a.b", "data": 1},
        "message.create": {**channel, "body": "x"},
        "message.update": {**channel, "id": room["message"], "body": "x"},
        "message.delete": {**channel, "id": room["message"]},
        "typing": channel,
        "read": {**channel, "offset": 1},
        "auth.refresh": {"token": "x"},
    }


CALLS = [
    *("register", "login", "me", "password", "channel", "change", "member", "read"),
    *("message", "edit", "event", "publish", "notify", "notifications"),
]
PACKETS = [
    *("subscribe", "unsubscribe", "resume", "publish", "message.create", "message.update"),
    *("message.delete", "typing", "read", "auth.refresh"),
]
BROKEN = {
    "nothing": b"",
    "half": b'{"name": "x',
    "two": b"{}{}",
    "a comma": b'{"name": "x",}',
    "single quotes": b"{'name': 'x'}",
    "a comment": b'{"name": "x"} // x',
    "NaN": b'{"name": NaN}',
    "infinity": b'{"name": -Infinity}',
    "invalid UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "a lone surrogate": b'{"name": "\\ud800"}',
    "an overlong NUL": b'{"name": "\xc0\x80"}',
    "a raw control": b'{"name": "\x01"}',
    "a form": b"name=x&kind=public",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
}
NO_TEXT = {"invalid UTF-8", "UTF-16", "an overlong NUL"}  # a text frame can't hold them
WRONG: list[Any] = [None, True, 0, 1.5, "x", [], [{}]]


class TestBrokenJson:
    @pytest.mark.parametrize("name", ["channel", "message", "event", "publish"])
    def test_over_rest(self, ada, room, untouched, name):
        method, path, _ = calls(room)[name]
        header = {"Content-Type": "application/json"}

        for how, text in BROKEN.items():
            response = ada.call(method, path, data=text, headers=header)
            assert response.status_code == 400, (how, response.text)
            problem(response, 400, "bad_request")

    @pytest.mark.parametrize("name", CALLS)
    def test_for_every_call(self, ada, room, untouched, name):
        method, path, _ = calls(room)[name]

        problem(ada.call(method, path, data=b'{"a": '), 400, "bad_request")

    def test_over_the_socket(self, ada, room, untouched, line):
        """Each is acked with an error, and the connection lives on."""
        for how in BROKEN.keys() - NO_TEXT:
            argument = BROKEN[how].decode(errors="replace")
            ack = raw_ack(line, f'["message.create",{argument or ","}]')
            assert ack["error"]["code"] == "bad_request", how

        assert line.ok("typing", {"channel": room["id"]}) == {"ok": True}

    @pytest.mark.parametrize(
        "items", ["[]", "[1]", "[null,{}]", '[{"a":1}]', '["typing"]', '["typing",[],{}]', "{}"]
    )
    def test_what_is_no_event_is_told_so(self, line, items):
        assert raw_ack(line, items)["error"]["code"] == "bad_request"


def raw_ack(line, body):
    """Send a packet whose text after its number is `body`, and return its ack."""
    answers = []
    number = line._io._generate_ack_id("/", lambda *data: answers.append(data[0]))
    line._io.eio.send(f"2{number}{body}")
    wait_until(lambda: answers, deadline_s=30, what=f"an ack to {body[:80]}")
    return answers[0]


class TestWrongTypes:
    @pytest.mark.parametrize("name", CALLS)
    def test_a_body_is_an_object(self, ada, room, untouched, name):
        method, path, _ = calls(room)[name]

        for wrong in WRONG:
            body = json.dumps(wrong).encode()
            assert faults(ada.call(method, path, data=body)) == {"(whole)"}, wrong

    @pytest.mark.parametrize("name", CALLS)
    def test_each_field_has_its_type(self, ada, room, untouched, name):
        """No text is bent into a number, no number into text, no 1 into true."""
        method, path, good = calls(room)[name]

        for field, value in good.items():
            for wrong in (None, True, 1, 1.5, "1", [1], {"a": 1}):
                if not fits(name, field, value, wrong):
                    response = ada.call(method, path, {**good, field: wrong})
                    assert response.status_code == 422, (field, wrong, response.text)
                    assert all(fault.partition(".")[0] == field for fault in faults(response))

    @pytest.mark.parametrize("name", PACKETS)
    def test_a_packet_takes_one_object(self, room, untouched, line, name):
        for wrong in WRONG:
            assert line.refusal(name, wrong)["code"] == "bad_request", wrong
        assert raw_ack(line, f'["{name}"]')["error"]["code"] == "bad_request"

    @pytest.mark.parametrize("name", PACKETS)
    def test_and_each_of_its_fields_has_its_type(self, room, untouched, line, name):
        good = packets(room)[name]

        for field, value in good.items():
            for wrong in (None, True, 1, 1.5, "", [1], {"a": 1}):
                if not fits(name, field, value, wrong):
                    error = line.refusal(name, {**good, field: wrong})
                    assert error["code"] == "invalid", (field, wrong)
                    assert error["errors"]


def fits(name, field, value, wrong) -> bool:
    """Tell whether a value that is meant to be wrong is right after all."""
    if field == "data" or (wrong is None and field in ("role", "ids")):
        return True
    return type(value) is type(wrong) and isinstance(value, str | int) and wrong != ""


class TestFields:
    @pytest.mark.parametrize("name", CALLS)
    def test_unknown_ones_are_named(self, ada, room, untouched, name):
        """A misspelt `repyl_to` must not be dropped in silence."""
        method, path, good = calls(room)[name]

        assert "unknown" in faults(ada.call(method, path, {**good, "unknown": 1}))

    @pytest.mark.parametrize("name", CALLS)
    def test_missing_ones_are_named_all_at_once(self, ada, room, untouched, name):
        optional = {"me": set(), "member": {"role"}, "notifications": {"ids"}}
        optional |= {"notify": {"user_ids"}, "change": {"name"}, "edit": {"body"}}
        method, path, good = calls(room)[name]
        wanted = good.keys() - optional.get(name, set())
        if wanted:
            assert faults(ada.call(method, path, {})) == wanted

    @pytest.mark.parametrize("name", PACKETS)
    def test_over_the_socket_alike(self, room, untouched, line, name):
        good = packets(room)[name]
        unknown = line.refusal(name, {**good, "unknown": 1})
        missing = line.refusal(name, {})

        assert {fault["field"] for fault in unknown["errors"]} == {"unknown"}
        assert {fault["field"] for fault in missing["errors"]} == good.keys()
        assert unknown["code"] == missing["code"] == "invalid"

    def test_a_query_is_judged_too(self, ada, room):
        path = f"/channels/{room['id']}/messages"

        assert faults(ada.get(path, params={"unknown": 1})) == {"unknown"}
        for query in ({"limit": 0}, {"limit": 201}, {"limit": "x"}, {"limit": 1e3}, {"limit": ""}):
            assert faults(ada.get(path, params=query)) == {"limit"}, query
        for field in ("before", "after"):
            for wrong in (-1, 2**53, "x", "1.5", "NaN"):
                assert faults(ada.get(path, params={field: wrong})) == {field}
        assert faults(ada.get(path, params={"sort": "body"})) == {"sort"}
        assert faults(ada.get(path, params={"author": "nobody"})) == {"author"}
        assert faults(ada.get("/channels", params={"kind": "x", "member": "you"})) == {
            *("kind", "member")
        }

    def test_nothing_that_was_sent_is_said_back(self, ada, room):
        """A password in the wrong field must not land in somebody's log of responses."""
        secret = unique("secret")
        response = ada.post("/auth/register", {"username": secret * 9, "password": [secret]})

        assert faults(response) == {"username", "password"}
        assert secret not in response.text


class TestSizes:
    """Counted is the UTF-8 of the data as JSON; for a message, its body and its data."""

    @pytest.mark.parametrize(
        ("body", "data"),
        [
            ("x" * LIMIT, None),
            ("é" * (LIMIT // 2), None),
            ("🎺" * (LIMIT // 4), None),
            ("\n" * LIMIT, None),
            ("x" * (LIMIT - 10), {"a": "xx"}),
        ],
    )
    @pytest.mark.parametrize("over", [0, 1])
    def test_a_message(self, ada, line, body, data, over):
        """64 KiB are taken, at either door; one byte more is too large, and nothing is written."""
        channel = make_channel(ada)
        sent = {"body": body + "x" * over, "data": data}
        path = f"/channels/{channel['id']}/messages"
        if over:
            problem(ada.post(path, sent), 413, "too_large")
            told = line.refusal("message.create", {"channel": channel["id"], **sent})
            assert told["code"] == "too_large"
            assert len(log_of(ada, channel)) == 2
        else:
            by_rest = done(ada.post(path, sent), 201)
            by_socket = line.ok("message.create", {"channel": channel["id"], **sent})["message"]
            assert by_rest["body"] == by_socket["body"] == body
            assert done(ada.get(f"{path}/{by_rest['id']}"))["data"] == data

    @pytest.mark.parametrize("over", [0, 1])
    def test_an_edit(self, ada, over):
        channel = make_channel(ada)
        message = post(ada, channel, "x", data={"a": "y" * 1000})
        room = LIMIT - len(json.dumps(message["data"], separators=(",", ":")))
        path = f"/channels/{channel['id']}/messages/{message['id']}"
        response = ada.patch(path, {"body": "x" * (room + over)})

        assert response.status_code == (413 if over else 200)
        assert done(ada.get(path))["version"] == (3 if over else 4)

    @pytest.mark.parametrize("over", [0, 1])
    def test_an_event(self, ada, line, over):
        channel = make_channel(ada)
        data = "x" * (LIMIT - 2 + over)
        body = {"type": "a.b", "data": data}
        by_rest = ada.post(f"/channels/{channel['id']}/events", body)
        by_socket = line.call("publish", {"stream": f"channel:{channel['id']}", **body})
        signal = ada.post(f"/channels/{channel['id']}/events", {**body, "ephemeral": True})

        assert [by_rest.status_code, signal.status_code] == ([413] * 2 if over else [201, 202])
        assert by_socket.get("error", {}).get("code") == ("too_large" if over else None)
        assert len(log_of(ada, channel)) == (2 if over else 4)

    def test_a_notification(self, admin, newcomer):
        sent = {"user_ids": [newcomer.id], "kind": "a", "title": "t", "data": {"a": "x" * LIMIT}}

        problem(admin.post("/notifications", sent), 413, "too_large")
        assert done(newcomer.get("/notifications"))["items"] == []


class TestHugeBodies:
    """A body of 200 MB is refused before it is read: the client is told while it still has it."""

    def answer(self, server, head: str, body: bytes = b"") -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
            raw.sendall(head.replace("\n", "\r\n").encode() + b"\r\n" + body)
            received = b""
            while b"\r\n\r\n" not in received:
                chunk = raw.recv(65_536)
                if not chunk:
                    break
                received += chunk
        return received

    @pytest.mark.parametrize("signed_in", [True, False])
    @pytest.mark.parametrize(
        "path", ["/channels", "/auth/login", "/auth/register", "/publish", "/me/password"]
    )
    def test_by_its_announced_length(self, shared_server, ada, path, signed_in):
        bearer = f"Authorization: Bearer {ada.access_token}\n" if signed_in else ""
        method = "PUT" if path == "/me/password" else "POST"
        head = f"{method} /api/v1{path} HTTP/1.1\nHost: x\n{bearer}Content-Length: {BIG}\n"
        received = self.answer(shared_server, head + "Content-Type: application/json\n")
        status = received.split(b" ", 2)[1]

        assert status == (b"413" if signed_in or path.startswith("/auth") else b"401")
        assert b"problem+json" in received

    def test_with_an_expectation(self, shared_server, ada):
        """A polite client asks first (curl does): it is not told to go on."""
        head = (
            f"POST /api/v1/channels HTTP/1.1\nHost: x\nAuthorization: Bearer {ada.access_token}\n"
            f"Content-Length: {BIG}\nExpect: 100-continue\n"
        )

        assert self.answer(shared_server, head).startswith(b"HTTP/1.1 413")

    def test_a_body_in_chunks_is_read(self, ada):
        def chunks():
            yield b'{"name": "In chunks", '
            yield b'"kind": "private"}'

        assert done(ada.call("POST", "/channels", data=chunks()), 201)["name"] == "In chunks"

    def test_in_chunks_of_no_announced_length(self, shared_server, ada):
        """It is read to the limit and no further, however long it goes on."""
        head = (
            f"POST /api/v1/channels HTTP/1.1\nHost: x\nAuthorization: Bearer {ada.access_token}\n"
            "Transfer-Encoding: chunked\n\n"
        )
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        sent = 0
        with socket.create_connection(("127.0.0.1", shared_server.port), timeout=30) as raw:
            raw.sendall(head.replace("\n", "\r\n").encode())
            raw.settimeout(5)
            try:
                while sent < BIG:
                    raw.sendall(chunk)
                    sent += 65_536
            except OSError:
                pass
            received = b""
            try:
                while part := raw.recv(65_536):
                    received += part
            except OSError:
                pass

        assert sent < 64 * 1_048_576, "the server went on reading"
        assert not received or received.startswith(b"HTTP/1.1 413")

    @pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999999999999999999"])
    def test_lengths_that_are_none(self, shared_server, ada, length):
        head = (
            f"POST /api/v1/channels HTTP/1.1\nHost: x\nAuthorization: Bearer {ada.access_token}\n"
            f"Content-Length: {length}\n"
        )
        status = self.answer(shared_server, head).split(b" ", 2)[1]

        assert status in (b"400", b"411", b"413")

    def test_a_body_that_breaks_off(self, shared_server, ada, room, untouched):
        path = f"/api/v1/channels/{room['id']}/messages"
        with socket.create_connection(("127.0.0.1", shared_server.port), timeout=30) as raw:
            raw.sendall(
                f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.access_token}\r\n"
                f'Content-Length: 100\r\n\r\n{{"body": "half"}}'.encode()
            )
            raw.shutdown(socket.SHUT_WR)
            received = raw.recv(65_536)

        assert not received or received.startswith(b"HTTP/1.1 400")


class TestText:
    @pytest.mark.parametrize(
        ("name", "field"),
        [
            *(("register", "username"), ("register", "password"), ("login", "username")),
            *(("me", "display_name"), ("channel", "name"), ("change", "name")),
            *(("message", "body"), ("edit", "body"), ("event", "data"), ("event", "type")),
            *(("notify", "title"), ("password", "new_password")),
        ],
    )
    def test_nul_is_not_kept(self, ada, room, untouched, name, field):
        """PostgreSQL could not, so SQLite must not either."""
        method, path, good = calls(room)[name]

        assert faults(ada.call(method, path, {**good, field: "a\x00bcdefgh"})) == {field}

    @pytest.mark.parametrize(
        "data", ["\x00", ["\x00"], {"a": {"b": "\x00"}}, {"\x00": 1}, [[{"a": ["x\x00"]}]]]
    )
    def test_nul_at_any_depth(self, room, untouched, ada, line, data):
        event = {"type": "a.b", "data": data}
        path = f"/channels/{room['id']}"

        assert faults(ada.post(f"{path}/events", event)) == {"data"}
        assert line.refusal("publish", {"stream": f"channel:{room['id']}", **event})["errors"]
        if isinstance(data, dict):
            assert faults(ada.post(f"{path}/messages", {"body": "x", "data": data})) == {"data"}

    @pytest.mark.parametrize("field", ["key", "channel", "body", "reply_to"])
    def test_nor_over_the_socket(self, room, untouched, line, field):
        packet = {"channel": room["id"], "body": "x", field: "a\x00"}

        assert [e["field"] for e in line.refusal("message.create", packet)["errors"]] == [field]

    def test_nor_in_a_query(self, ada, room):
        for path, field in (
            (f"/channels/{room['id']}/messages?q=%00", "q"),
            (f"/channels/{room['id']}/messages?cursor=%00", "cursor"),
            (f"/channels/{room['id']}/events?epoch=%00", "epoch"),
            ("/channels?q=a%00", "q"),
            ("/users?q=%00", "q"),
            ("/users?ids=%00", "ids"),
            ("/notifications?kind=%00", "kind"),
        ):
            assert faults(ada.get(path)) == {field}, path

    def test_a_query_of_invalid_utf8_finds_nothing(self, ada, room):
        response = ada.raw(
            "GET",
            f"/api/v1/channels/{room['id']}/messages?q=%FF%FE",
            headers={"Authorization": f"Bearer {ada.access_token}"},
        )

        assert response.status_code in (200, 400, 422)
        assert response.status_code != 200 or response.json()["items"] == []

    def test_deep_nesting_has_an_end(self, ada, room, untouched, line):
        """Deep enough for anybody, and no deeper than every reader of the log can follow."""
        deep = b"[" * 5_000 + b"]" * 5_000
        body = b'{"type": "a.b", "data": ' + deep + b"}"
        response = ada.call("POST", f"/channels/{room['id']}/events", data=body)
        packet = f'["publish",{{"stream":"user:me","type":"a.b","data":{deep.decode()}}}]'

        assert response.status_code in (400, 422)
        assert raw_ack(line, packet)["error"]["code"] in ("bad_request", "invalid")

    @pytest.mark.parametrize("number", ["1e400", "9" * 400, "-" + "9" * 400, "1" + "0" * 5_000])
    def test_huge_numbers_break_nothing(self, ada, number):
        """Refused, or kept as something that every reader of the log can read."""
        channel = make_channel(ada)
        path = f"/channels/{channel['id']}"
        body = f'{{"type": "a.b", "data": {number}}}'.encode()
        response = ada.call("POST", f"{path}/events", data=body)
        offset = ada.call("PUT", f"{path}/read", data=f'{{"offset": {number}}}'.encode())

        assert response.status_code in (201, 400, 422)
        assert offset.status_code in (400, 422)
        log_of(ada, channel)

    @pytest.mark.parametrize("offset", [-1, 2**53, 2**63, 2**64, -(2**63) - 1])
    def test_offsets_have_bounds(self, ada, room, untouched, line, offset):
        path, stream = f"/channels/{room['id']}", f"channel:{room['id']}"
        after = {"offset": offset, "epoch": "x"}

        assert ada.put(f"{path}/read", {"offset": offset}).status_code in (400, 422)
        assert faults(ada.get(f"{path}/events", params={"after": offset})) == {"after"}
        for name, packet in (
            ("read", {"channel": room["id"], "offset": offset}),
            ("subscribe", {"stream": stream, "after": after}),
            ("resume", {"positions": {stream: after}}),
        ):
            assert line.refusal(name, packet)["code"] in ("invalid", "bad_request")


class TestLimitsOfNames:
    @pytest.mark.parametrize(
        ("name", "field", "good", "bad"),
        [
            ("register", "password", ["x" * 8, "x" * 128, "é" * 128], ["x" * 7, "x" * 129, ""]),
            ("register", "display_name", ["x", "é" * 64], ["", "   ", "x" * 65]),
            ("channel", "name", ["x", "é" * 80], ["", " ", "x" * 81]),
            ("channel", "topic", ["", "é" * 250], ["x" * 251]),
            ("message", "body", ["x"], [""]),
            ("message", "key", ["x", "é" * 128], ["", "x" * 129]),
            ("event", "key", ["x" * 128], ["", "x" * 129]),
        ],
    )
    def test_at_and_over(self, ada, name, field, good, bad):
        """What is at its limit is kept whole; what is over is refused, never cut."""
        channel = make_channel(ada)
        message = {"message": post(ada, channel)["id"]}
        for value in good:
            method, path, body = calls(channel | message)[name]
            response = ada.call(method, path, {**body, field: value})
            assert response.status_code == 201, (value, response.text)
        top = len(log_of(ada, channel))
        for value in bad:
            method, path, body = calls(channel | message)[name]
            assert faults(ada.call(method, path, {**body, field: value})) == {field}
        assert len(log_of(ada, channel)) == top

    @pytest.mark.parametrize(
        "name",
        [
            *("a", "x" * 33, "", "-ab", ".ab", "_ab", "a b", "a/b", "ädä", "ab\n", "a@b"),
            *("a\u200bb", "ＡＤＡ", "a\u0000b", " ab", "ab "),
        ],
    )
    def test_usernames_are_plain(self, ada, name):
        response = RestClient(ada.url).register(name)

        if name != "":  # the client makes up a name in place of none
            assert faults(response) == {"username"}

    @pytest.mark.parametrize("length", [2, 32])
    def test_usernames_at_their_limits(self, ada, length):
        name = unique("u").replace("-", "")[-length:].rjust(length, "x")
        response = RestClient(ada.url).register(name)

        assert response.status_code in ({201} if length == 32 else {201, 409})


class TestWhatIsNotThere:
    """404 for what does not exist, is no id, or is somebody else's business."""

    @pytest.mark.parametrize("name", ["message.create", "message.update", "typing", "read"])
    def test_channels_over_the_socket(self, room, untouched, eve, connect, name):
        socket = connect(eve)
        good = packets(room)[name]
        refs = [room["id"], room["slug"], NOBODYS_ID, "nonsense", "x" * 64]
        told = {json.dumps(socket.refusal(name, {**good, "channel": ref})) for ref in refs}

        assert len(told) == 1
        assert json.loads(told.pop())["code"] == "not_found"

    @pytest.mark.parametrize("name", ["subscribe", "publish"])
    def test_streams_over_the_socket(self, room, untouched, ada, eve, connect, name):
        socket = connect(eve)
        good = packets(room)[name]
        streams = [
            *(f"channel:{room['id']}", f"channel:{room['slug']}", f"channel:{NOBODYS_ID}"),
            *(f"user:{ada.id}", f"user:{NOBODYS_ID}", "user:", "channel:", "channel:me"),
            *("nonsense", ":", f"Channel:{room['id']}", f" channel:{room['id']}", "user:ME"),
        ]

        for stream in streams:
            error = socket.refusal(name, {**good, "stream": stream})
            assert error["code"] == "not_found", stream

    def test_a_resume_of_them_answers_for_each(self, room, ada, eve, connect):
        socket = connect(eve)
        public = make_channel(ada)
        good, hidden = f"channel:{public['id']}", f"channel:{room['id']}"
        at = {"offset": 0, "epoch": "x"}
        ack = socket.ok("resume", {"positions": {good: at, hidden: at, f"user:{ada.id}": at}})

        assert ack["streams"][good]["ok"] is True
        for stream in (hidden, f"user:{ada.id}"):
            assert ack["streams"][stream]["error"]["code"] == "not_found"

    @pytest.mark.parametrize("name", ["message.update", "message.delete"])
    def test_messages_over_the_socket(self, room, untouched, ada, line, name):
        elsewhere = post(ada, make_channel(ada))["id"]
        good = packets(room)[name]

        for message in (NOBODYS_ID, elsewhere):
            assert line.refusal(name, {**good, "id": message})["code"] == "not_found"
        assert line.refusal(name, {**good, "id": "nonsense"})["code"] == "invalid"


class TestEqualTime:
    """A wrong name costs what a wrong password costs: both compute one hash."""

    @pytest.mark.parametrize("known", [True, False])
    def test_the_hash_is_computed_in_both_cases(self, own_database, known):
        computed = []

        def offload(work):
            computed.append(work)
            return work()

        passwords = Passwords(offload)
        terms = accounts.SessionTerms(1000)
        if known:
            password_hash = passwords.hash(PASSWORD)
            with own_database.write() as write:
                accounts.add_user(write, username="ada", password_hash=password_hash)
        computed.clear()
        with pytest.raises(UnauthorizedError):
            accounts.login(
                own_database, passwords, terms, username="ada", password="not the password"
            )

        assert len(computed) == 1
        assert computed[0]() is False


def forge(server, user, **changes):
    """Make a token with the server's own secret, or with something else."""
    secret = (server.instance / "secret_key").read_text().strip()
    now = int(time.time())
    sample = jwt.decode(user.access_token, options={"verify_signature": False})
    key = changes.pop("key", secret)
    algorithm = changes.pop("algorithm", "HS256")
    claims = {**sample, "iat": now, "nbf": now, "exp": now + 60, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm)


def unsigned(user, header):
    """Make a token that says of itself that it needs no signature."""
    parts = user.access_token.split(".")
    text = json.dumps({"typ": "JWT", **header}).encode()
    return f"{base64.urlsafe_b64encode(text).decode().rstrip('=')}.{parts[1]}."


class TestTokens:
    @pytest.fixture
    def forgeries(self, shared_server, ada, ben):
        """Tokens that must not let anybody in, each with the code that it gets."""
        now = int(time.time())
        good = ada.access_token
        head, claims, signature = good.split(".")
        other = ben.access_token.split(".")[1]

        def forged(**changes):
            return forge(shared_server, ada, **changes)

        return {
            "expired": (forged(exp=now - 1, iat=now - 9, nbf=now - 9), "token_expired"),
            "another secret": (forged(key="x" * 64), "unauthorized"),
            "another algorithm": (forged(algorithm="HS512"), "unauthorized"),
            "alg none": (unsigned(ada, {"alg": "none"}), "unauthorized"),
            "alg None": (unsigned(ada, {"alg": "None"}), "unauthorized"),
            "no alg": (unsigned(ada, {}), "unauthorized"),
            "refresh": (ada.refresh_token, "unauthorized"),
            "type made up": (forged(type="admin"), "unauthorized"),
            "other claims": (f"{head}.{other}.{signature}", "unauthorized"),
            "cut": (good[:-4], "unauthorized"),
            "no signature": (f"{head}.{claims}.", "unauthorized"),
            "words": ("not a token", "unauthorized"),
            "dots": ("..", "unauthorized"),
            "long": ("x" * 4000, "unauthorized"),
            "no session": (forged(sid=None), "unauthorized"),
            "a session of nobody": (forged(sid=NOBODYS_ID), "token_revoked"),
            "somebody else's session": (forged(sub=ben.id), "token_revoked"),
            "a number for a user": (forged(sub=1), "unauthorized"),
            "a list for a session": (forged(sid=["x"]), "unauthorized"),
            "no expiry": (forged(exp=None), "unauthorized"),
        }

    def test_by_rest(self, ada, forgeries):
        for what, (token, code) in forgeries.items():
            response = RestClient(ada.url, token=token).get("/me")
            assert response.status_code == 401, (what, response.text)
            assert problem(response, 401, response.json()["code"])["code"] == code, what
            assert code in response.headers["WWW-Authenticate"]

    def test_by_socket(self, ada, forgeries):
        for what, (token, code) in forgeries.items():
            with pytest.raises(RefusedError) as refused:
                SocketClient(ada.url, token).connect()
            assert refused.value.code == code, what

    def test_by_refresh_of_a_socket(self, ada, line, forgeries):
        """The connection lives on with the token that it has."""
        for what, (token, code) in forgeries.items():
            assert line.refusal("auth.refresh", {"token": token})["code"] == code, what
        assert line.connected

    @pytest.mark.parametrize(
        "auth", [None, {}, [], "token", 1, {"token": 1}, {"token": ""}, {"token": None}]
    )
    def test_a_connect_without_one(self, shared_server, auth):
        with pytest.raises(RefusedError) as refused:
            SocketClient(shared_server.url, auth=auth).connect()

        assert refused.value.code in ("invalid", "unauthorized")

    def test_somebody_elses_token_is_no_refresh(self, ada, ben, line):
        error = line.refusal("auth.refresh", {"token": ben.access_token})

        assert error["code"] in ("bad_request", "forbidden", "unauthorized")
        assert line.ok("subscribe", {"stream": "user:me"})["stream"] == f"user:{ada.id}"

    def test_an_access_token_refreshes_nothing(self, newcomer):
        newcomer.refresh_token = newcomer.access_token
        problem(newcomer.refresh(), 401, "unauthorized")

        assert newcomer.get("/me").status_code == 200

    def test_a_forged_refresh_ends_nobodys_session(self, shared_server, newcomer):
        """Only a token that was once good counts as used again."""
        forged = forge(shared_server, newcomer, type="refresh", rid=NOBODYS_ID, key="x" * 64)
        newcomer.refresh_token = forged
        problem(newcomer.refresh(), 401, "unauthorized")

        assert newcomer.get("/me").status_code == 200


class TestCursors:
    @pytest.fixture(scope="class")
    @staticmethod
    def cursor(ada, room):
        for number in range(3):
            make_channel(ada, "private", name=f"Cursor {number}")
        return done(ada.get("/channels", params={"limit": 1, "q": "cursor"}))["next_cursor"]

    def test_one_that_was_tampered_with(self, ada, cursor):
        query = {"limit": 1, "q": "cursor"}
        middle = len(cursor) // 2
        flipped = "A" if cursor[middle] != "A" else "B"
        wrong = [
            *("x", ".", "..", "é", "%", "x" * 1024, cursor[:-4], cursor + "xxxx", cursor[4:]),
            *(cursor[::-1], cursor.swapcase(), cursor[:middle] + flipped + cursor[middle + 1 :]),
            *(cursor + cursor, cursor[middle:] + cursor[:middle]),
        ]

        done(ada.get("/channels", params={**query, "cursor": cursor}))
        for text in wrong:
            assert faults(ada.get("/channels", params={**query, "cursor": text})) == {"cursor"}
        too_long = {**query, "cursor": "x" * 1025}
        assert faults(ada.get("/channels", params=too_long)) == {"cursor"}

    def test_one_of_another_list(self, ada, room, cursor):
        """Or of another filter or order: its mark would mean another place there."""
        others = [
            ("/channels", {}),
            ("/channels", {"q": "curso"}),
            ("/channels", {"q": "cursor", "sort": "-name"}),
            ("/channels", {"q": "cursor", "member": "me"}),
            ("/users", {}),
            ("/notifications", {}),
            ("/auth/sessions", {}),
            (f"/channels/{room['id']}/members", {}),
            (f"/channels/{room['id']}/messages", {}),
            (f"/channels/{room['id']}/events", {}),
        ]

        for path, query in others:
            assert faults(ada.get(path, params={**query, "cursor": cursor})) == {"cursor"}, path

    def test_one_of_another_channels_log(self, ada, room):
        other = make_channel(ada)
        path = f"/channels/{other['id']}/events"
        cursor = done(ada.get(path, params={"limit": 1}))["next_cursor"]
        response = ada.get(f"/channels/{room['id']}/events", params={"cursor": cursor})

        assert faults(response) == {"cursor"}


class TestPositions:
    """Ahead of the top, or of another epoch: a typed reset, at every door."""

    @pytest.mark.parametrize(
        ("offset", "epoch", "reason"),
        [(5, None, "ahead"), (2**53 - 1, None, "ahead"), (2, "deadbeef", "epoch")],
    )
    def test_reset(self, ada, room, untouched, line, offset, epoch, reason):
        stream = f"channel:{room['id']}"
        top = done(ada.get(f"/channels/{room['id']}/sync"))["position"]
        after = {"offset": offset, "epoch": epoch or top["epoch"]}
        wanted = {"reason": reason, "oldest": 1, "top": top}
        query = {"after": offset, "epoch": after["epoch"]}
        page = done(ada.get(f"/channels/{room['id']}/events", params=query))
        subscribed = line.ok("subscribe", {"stream": stream, "after": after})
        line.ok("unsubscribe", {"stream": stream})
        resumed = line.ok("resume", {"positions": {stream: after}})["streams"][stream]

        for answer in (page, subscribed, resumed):
            assert answer["reset"] == wanted
            assert answer["position"] == top
            assert not answer["more"]
        assert subscribed["events"] == resumed["events"] == page["items"] == []


class TestKeysAndRaces:
    def test_a_key_for_another_body(self, ada, line):
        channel, key = make_channel(ada), unique("key")
        sent = {"channel": channel["id"], "body": "Once", "key": key}
        line.ok("message.create", sent)
        refused = [
            line.refusal("message.create", {**sent, "body": "Twice"}),
            line.refusal("message.create", {**sent, "data": {}}),
            line.refusal(
                "publish",
                {"stream": f"channel:{channel['id']}", "type": "a.b", "data": 1, "key": key},
            ),
        ]

        assert [error["code"] for error in refused] == ["conflict"] * 3
        assert [error["retryable"] for error in refused] == [False] * 3
        assert len(log_of(ada, channel)) == 3

    def test_a_packet_for_a_channel_just_left(self, ada, ben, connect):
        channel = make_channel(ada, "private", members=[ben])
        message, socket = post(ben, channel)["id"], connect(ben)
        socket.ok("subscribe", {"stream": f"channel:{channel['id']}"})
        assert ben.delete(f"/channels/{channel['id']}/members/me").status_code == 204
        before = log_of(ada, channel)
        room = channel | {"message": message}

        for name in PACKETS[3:-1]:
            assert socket.refusal(name, packets(room)[name])["code"] == "not_found", name
        assert log_of(ada, channel) == before

    def test_a_username_in_a_race(self, shared_server):
        """Of sixteen at once one is made, the others are told, and the one can log in."""
        name = unique()

        def register(number):
            client = RestClient(shared_server.url)
            response = client.register(name, f"the password of {number}")
            return response.status_code, number

        with ThreadPoolExecutor(16) as pool:
            results = sorted(pool.map(register, range(16)))

        assert [status for status, _ in results] == [201] + [409] * 15
        winner = RestClient(shared_server.url)
        assert winner.login(name, f"the password of {results[0][1]}").status_code == 200
