"""Tokens: what is usual is read quickly, and never anything that the library would refuse."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from flask import Flask

from api import tokens as tokens_module
from api.tokens import Tokens, read_usual
from core.errors import TokenExpiredError, UnauthorizedError
from core.services.accounts import Login

KEY = "tests-only-0123456789-abcdefghijklmnop-0123456789-abcdefghijklmnop"
NOW_S = 1_790_000_000.0
GOOD = {"sub": "u1", "sid": "s1", "type": "access", "jti": "j1", "fresh": False}
TIMES = {"iat": int(NOW_S), "nbf": int(NOW_S), "exp": int(NOW_S) + 60}
LOGIN = Login({"id": "u1"}, "s1", "r1")


@pytest.fixture
def tokens() -> Tokens:
    app = Flask(__name__)
    app.config["JWT_SECRET_KEY"] = KEY
    return Tokens(app, access_ttl_s=60, refresh_ttl_s=600)


def signed(claims: Any, *, key: str = KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm)


def with_body(token: str, body: bytes) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{urlsafe_b64encode(body).decode().rstrip('=')}.{signature}"


def usual(token: str) -> dict[str, Any] | None:
    return read_usual(token, KEY.encode(), NOW_S)


class TestWhatIsUsual:
    def test_a_token_of_ours_takes_no_library(self, tokens, monkeypatch):
        pair = tokens.pair(LOGIN)
        monkeypatch.setattr(tokens_module, "decode_token", None)

        assert tokens.verify_access(pair[0]).session_id == "s1"
        assert tokens.verify_refresh(pair[1]).token_id == "r1"

    def test_it_says_what_the_library_says(self, tokens, monkeypatch):
        made = [*tokens.pair(LOGIN), tokens.access(LOGIN, 5)]
        kinds = ["access", "refresh", "access"]
        quick = [tokens._verify(token, kind) for token, kind in zip(made, kinds, strict=True)]
        monkeypatch.setattr(tokens_module, "read_usual", lambda *_: None)
        tokens._verified.clear()

        slow = [tokens._verify(token, kind) for token, kind in zip(made, kinds, strict=True)]
        assert quick == slow

    @pytest.mark.parametrize("name", ["iat", "nbf"])
    def test_its_time_has_to_have_come(self, name):
        early = {**GOOD, **TIMES, name: int(NOW_S) + 1}

        assert usual(signed({**GOOD, **TIMES})) == {**GOOD, **TIMES}
        assert usual(signed(early)) is None

    def test_its_time_must_not_be_over(self):
        assert usual(signed({**GOOD, **TIMES, "exp": int(NOW_S)})) is None

    @pytest.mark.parametrize("name", ["iat", "nbf", "exp", "jti"])
    @pytest.mark.parametrize("value", [None, "1", 1.5, True, [1]])
    def test_what_is_of_another_kind_is_the_librarys(self, name, value):
        if name == "jti" and value == "1":
            value = 1
        assert usual(signed({**GOOD, **TIMES, name: value})) is None


class TestForgeries:
    def test_no_character_of_a_token_can_be_another(self):
        token = signed({**GOOD, **TIMES})
        for at, was in enumerate(token):
            for other in {"A", "B", "=", ".", "\n", "é"} - {was}:
                assert usual(token[:at] + other + token[at + 1 :]) is None, (at, other)

    def test_neither_more_nor_less_of_it_is_read(self):
        token = signed({**GOOD, **TIMES})

        for other in (
            token[:-1],
            token + "A",
            token + "=",
            token + ".",
            "." + token,
            "",
            ".",
            "..",
        ):
            assert usual(other) is None

    def test_it_is_signed_with_our_key_by_our_algorithm(self):
        claims = {**GOOD, **TIMES}
        unsigned = jwt.encode(claims, "", "none")

        assert usual(signed(claims, key=KEY[::-1])) is None
        assert usual(signed(claims, algorithm="HS512")) is None
        assert usual(unsigned) is None
        assert usual(unsigned.replace(unsigned.split(".")[0], signed(claims).split(".")[0])) is None

    def test_another_body_needs_another_signature(self):
        admin = json.dumps({**GOOD, **TIMES, "sub": "u2"}).encode()

        assert usual(with_body(signed({**GOOD, **TIMES}), admin)) is None

    def test_another_head_is_the_librarys(self):
        """Also where our key signed it: what it says of the algorithm has to hold."""
        head = urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        body = f"{head}.{signed({**GOOD, **TIMES}).split('.')[1]}"
        made = hmac.digest(KEY.encode(), body.encode(), "sha256")

        assert usual(f"{body}.{urlsafe_b64encode(made).decode().rstrip('=')}") is None

    def test_what_we_would_never_sign_is_the_librarys(self):
        """Who has the key may sign anything: it must not become an error of ours."""
        for body in (b"no JSON", b"[1]", b"\xff", b"null", b""):
            token = jwt.api_jws.encode(body, KEY, "HS256", headers={"typ": "JWT"})
            assert usual(token) is None


class TestVerifying:
    def test_refusals_are_the_librarys(self, tokens):
        now = int(time.time())
        times = {"iat": now - 9, "nbf": now - 9}
        expired = signed({**GOOD, **times, "exp": now - 1})
        early = signed({**GOOD, "iat": now - 9, "nbf": now + 99, "exp": now + 999})

        with pytest.raises(TokenExpiredError):
            tokens.verify_access(expired)
        for token in (early, expired[:-2] + "AA", "nonsense", "é.é.é"):
            with pytest.raises(UnauthorizedError):
                tokens.verify_access(token)

    def test_each_kind_is_for_its_use(self, tokens):
        access, refresh = tokens.pair(LOGIN)

        with pytest.raises(UnauthorizedError):
            tokens.verify_access(refresh)
        with pytest.raises(UnauthorizedError):
            tokens.verify_refresh(access)
