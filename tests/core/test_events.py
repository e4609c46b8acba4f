"""The wire form of events and signals, which types are whose, and strict JSON."""

import json as plain

import pytest

from core import json
from core.errors import InvalidError, RateLimitedError, describe
from core.events import Event, Signal, channel_stream, is_application_type, user_stream
from core.times import to_rfc3339

AT = 1_795_168_800_123
EVENT = Event("channel:1", 42, "9f3c", "order.paid", '{"a": [1.0,"é"]}', "ada", "k", AT)


class TestEvent:
    def test_its_wire_form(self):
        assert plain.loads(EVENT.json) == {
            "stream": "channel:1",
            "offset": 42,
            "type": "order.paid",
            "data": {"a": [1.0, "é"]},
            "actor": "ada",
            "key": "k",
            "at": "2026-11-20T10:00:00.123Z",
        }

    def test_its_data_is_passed_on_as_it_is(self):
        """Never parsed and rendered again: every reader sees the same bytes."""
        assert '"data":{"a": [1.0,"é"]}'.encode() in EVENT.json

    def test_it_is_rendered_once(self):
        assert EVENT.json is EVENT.json

    def test_its_position_is_behind_it(self):
        assert EVENT.position.as_json() == {"offset": 42, "epoch": "9f3c"}


class TestSignal:
    def test_it_has_no_offset_and_no_key(self):
        signal = Signal("user:1", "typing", "{}", None, AT)

        assert plain.loads(signal.json).keys() == {"stream", "type", "data", "actor", "at"}


class TestTypes:
    @pytest.mark.parametrize(
        "text", ["order.paid", "a.b.c", "a-b_c.0", "messages.sent", "users.x", "a._", "z9.-"]
    )
    def test_an_applications(self, text):
        assert is_application_type(text)

    @pytest.mark.parametrize(
        "text",
        [
            *("message.created", "channel.x", "member.x", "read.x", "notification.x"),
            *("session.revoked", "typing.x", "presence.x", "typing", "order", "", ".", "a."),
            *(".a", "A.b", "9.a", "a..b", "a.b ", "a.b\n", "a.B", "a.é", "message.a.b"),
        ],
    )
    def test_not_an_applications(self, text):
        assert not is_application_type(text)


class TestNames:
    def test_of_streams(self):
        assert (channel_stream("1"), user_stream("1")) == ("channel:1", "user:1")


class TestTimes:
    @pytest.mark.parametrize(
        ("at_ms", "text"),
        [
            (0, "1970-01-01T00:00:00.000Z"),
            (AT, "2026-11-20T10:00:00.123Z"),
            (1_999, "1970-01-01T00:00:01.999Z"),
        ],
    )
    def test_rfc3339(self, at_ms, text):
        """Whole milliseconds, always three digits: texts sort as the times do."""
        assert to_rfc3339(at_ms) == text


class TestJson:
    @pytest.mark.parametrize(
        "text", [b"", b"{", b"NaN", b"[1,]", b'"\xff"', b'"\\ud800"', b"'a'", b"[" * 100_000, "{"]
    )
    def test_what_is_none_is_refused(self, text):
        with pytest.raises(json.JsonError):
            json.loads(text)

    def test_equal_values_have_one_canonical_form(self):
        """Or a retry that writes its fields in another order would look like another call."""
        assert json.dumps_canonical({"b": [{"d": 1, "c": 2}], "a": 0}) == json.dumps_canonical(
            {"a": 0, "b": [{"c": 2, "d": 1}]}
        )


class TestErrors:
    def test_what_is_told_of_them(self):
        assert describe(InvalidError.of("name", "is bad")) == {
            "code": "invalid",
            "detail": "name: is bad",
            "retryable": False,
            "errors": [{"field": "name", "message": "is bad"}],
        }
        assert describe(RateLimitedError("Slower.", 2.5))["retry_after"] == 2.5

    def test_each_class_has_its_own_code(self):
        """A code that two errors share could not be acted on."""
        from core import errors  # noqa: PLC0415 - the module itself is looked at

        classes = [
            cls
            for cls in vars(errors).values()
            if isinstance(cls, type) and issubclass(cls, errors.FanfareError)
        ]
        codes = [cls.code for cls in classes if cls is not errors.FanfareError]

        assert len(codes) == len(set(codes))
        assert set(codes) == {
            *("bad_request", "invalid", "unauthorized", "token_expired", "token_revoked"),
            *("forbidden", "not_found", "conflict", "precondition_failed", "too_large"),
            *("rate_limited", "too_many_connections", "too_many_subscriptions"),
            *("draining", "unavailable", "internal"),
        }
