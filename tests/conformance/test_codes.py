"""Codes: the same mistake has the same code at every door, and errors have one form."""

import pytest

from tests.conformance.fallback import Poll, Sse
from tests.conformance.people import Room, numbered
from tests.conformance.wire import RefusedError, Socket

NOWHERE = "nowhere-to-be-found"
GARBAGE = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"


class TestForm:
    def test_an_error_over_http_is_a_problem(self, ada):
        response = ada.call("GET", f"/channels/{NOWHERE}")
        body = response.json()

        assert response.headers["Content-Type"].startswith("application/problem+json")
        assert body.keys() >= {"type", "title", "status", "detail", "code", "request_id"}
        assert (response.status_code, body["status"], body["code"]) == (404, 404, "not_found")
        assert response.headers["X-Request-Id"] == body["request_id"]

    def test_an_error_of_fields_names_them(self, ada, room):
        body = ada.call("POST", f"{room.path}/messages", {"body": 7, "colour": "red"}).json()

        assert (body["status"], body["code"]) == (422, "invalid")
        assert {error["field"] for error in body["errors"]} == {"body", "colour"}
        assert all(error["message"] for error in body["errors"])

    def test_an_error_over_the_socket_is_an_ack(self, ada):
        with ada.socket() as socket:
            ack = socket.call("subscribe", {"stream": f"channel:{NOWHERE}"})

        assert ack["ok"] is False
        assert ack["error"].keys() >= {"code", "detail", "retryable"}
        assert (ack["error"]["code"], ack["error"]["retryable"]) == ("not_found", False)

    def test_an_error_of_fields_over_the_socket_names_them(self, ada):
        with ada.socket() as socket:
            error = socket.refusal("subscribe", {"stream": 7})

        assert error["code"] == "invalid"
        assert [one["field"] for one in error["errors"]] == ["stream"]

    @pytest.mark.parametrize("raw", [b"{", b"\xff\xfe", b"[1]", b'"x"'])
    def test_a_body_that_is_no_object_of_json_is_refused(self, ada, room, raw):
        headers = {"Content-Type": "application/json"}
        status, code = ada.refusal("POST", f"{room.path}/messages", raw=raw, headers=headers)

        assert (status, code) in ((400, "bad_request"), (422, "invalid"))


class TestTheSameAtEveryDoor:
    def test_not_found(self, ada, bob):
        """What there is not, and what one may not see, look alike."""
        secret = Room(ada, "private")
        with bob.socket() as socket:
            for channel in (NOWHERE, secret.id):
                stream = f"channel:{channel}"
                event, body = numbered(1), {"body": "Hello"}
                assert {
                    socket.refusal("subscribe", {"stream": stream})["code"],
                    socket.refusal("publish", {"stream": stream, **event})["code"],
                    socket.refusal("message.create", {"channel": channel, **body})["code"],
                    socket.refusal("typing", {"channel": channel})["code"],
                    socket.refusal("read", {"channel": channel, "offset": 1})["code"],
                    bob.refusal("GET", f"/channels/{channel}")[1],
                    bob.refusal("GET", f"/channels/{channel}/sync")[1],
                    bob.refusal("GET", f"/channels/{channel}/events")[1],
                    bob.refusal("POST", f"/channels/{channel}/events", event)[1],
                    bob.refusal("POST", f"/channels/{channel}/messages", body)[1],
                    bob.refusal("PUT", f"/channels/{channel}/read", {"offset": 1})[1],
                } == {"not_found"}

    def test_not_found_over_plain_http(self, ada, bob):
        """Poll, SSE and a cursor: where nothing of what is named may be read."""
        secret = Room(ada, "private")
        for stream in (f"channel:{NOWHERE}", secret.stream, ada.stream):
            streams = {"streams": {stream: None}}

            assert Poll(bob, streams=[stream]).refused().code == "not_found"
            assert Sse(bob, streams=[stream]).refused().code == "not_found"
            assert bob.refusal("POST", "/events/cursor", streams) == (404, "not_found")
        assert bob.refusal("POST", f"{secret.path}/typing") == (404, "not_found")

    def test_another_users_stream_is_not_found(self, ada, bob):
        with bob.socket() as socket:
            assert socket.refusal("subscribe", {"stream": ada.stream})["code"] == "not_found"
            event = {"stream": ada.stream, **numbered(1)}
            assert socket.refusal("publish", event)["code"] == "not_found"

    def test_forbidden(self, ada, bob, private):
        """A guest reads, and posts nothing."""
        ada.ok("PUT", f"{private.path}/members/{bob.id}", {"role": "guest"})
        event, body = numbered(1), {"body": "Hello"}
        with bob.socket() as socket:
            assert socket.ok("subscribe", {"stream": private.stream})["ok"]
            assert {
                socket.refusal("publish", {"stream": private.stream, **event})["code"],
                socket.refusal("message.create", {"channel": private.id, **body})["code"],
                socket.refusal("typing", {"channel": private.id})["code"],
                bob.refusal("POST", f"{private.path}/events", event)[1],
                bob.refusal("POST", f"{private.path}/messages", body)[1],
                bob.refusal("POST", f"{private.path}/typing")[1],
                bob.refusal("PATCH", private.path, {"topic": "Mine"})[1],
            } == {"forbidden"}

    def test_invalid(self, ada, room):
        """A type of the server's own can't be published by anybody else."""
        event = {"type": "message.created", "data": {}}
        with ada.socket() as socket:
            codes = {
                socket.refusal("publish", {"stream": room.stream, **event})["code"],
                socket.refusal("message.create", {"channel": room.id, "body": ""})["code"],
                socket.refusal("subscribe", {"stream": room.stream, "colour": 1})["code"],
                ada.refusal("POST", f"{room.path}/events", event)[1],
                ada.refusal("POST", f"{room.path}/messages", {"body": ""})[1],
                ada.refusal("GET", f"{room.path}/events?limit=0")[1],
            }

        assert codes == {"invalid"}

    def test_unauthorized(self, target, room):
        codes = {
            target.http(0).call("GET", path, token=token).json()["code"]
            for token in (None, "", GARBAGE)
            for path in ("/me", "/events?streams=user:me", "/events/stream?streams=user:me")
        }
        for token in (None, "", GARBAGE):
            with pytest.raises(RefusedError) as refused:
                Socket(target.url(0), token)
            codes.add(refused.value.code)

        assert codes <= {"unauthorized", "invalid"}
        assert "unauthorized" in codes

    def test_bad_request(self, ada):
        with ada.socket() as socket:
            unknown = socket.refusal("dance", {})["code"]

        assert unknown == "bad_request"
        assert ada.refusal("POST", "/me", {}) == (405, "bad_request")

    def test_conflict_of_a_name(self, target, ada):
        body = {"username": ada.user["username"], "password": "correct horse"}
        response = target.http(0).call("POST", "/auth/register", body)

        assert (response.status_code, response.json()["code"]) == (409, "conflict")


class TestRefusedSockets:
    def test_a_refusal_says_why_in_one_form(self, target):
        """`connect_error` of a stock client has it as `data`."""
        with pytest.raises(RefusedError) as refused:
            Socket(target.url(0), GARBAGE)

        assert refused.value.data.keys() >= {"code", "detail"}
        assert refused.value.code == "unauthorized"
        assert refused.value.message

    @pytest.mark.parametrize("auth", [[], "x", 7, {"token": 7}, {"password": "x"}, {}])
    def test_an_odd_proof_is_refused_and_not_dropped(self, target, auth):
        with pytest.raises(RefusedError) as refused:
            Socket(target.url(0), None, auth=auth)

        assert refused.value.code in ("unauthorized", "invalid")
