"""Tokens: what is signed by our key, in our way, and good now; and nothing else."""

import hmac
import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from flask import Flask

from api.tokens import Tokens
from core.errors import TokenExpiredError, UnauthorizedError
from core.services.accounts import Login

KEY = "tests-only-0123456789-abcdefghijklmnop-0123456789-abcdefghijklmnop"
GOOD = {"sub": "u1", "sid": "s1", "type": "access", "jti": "j1", "fresh": False}
LOGIN = Login({"id": "u1"}, "s1", "r1")


@pytest.fixture
def tokens() -> Tokens:
    app = Flask(__name__)
    app.config["JWT_SECRET_KEY"] = KEY
    return Tokens(app, access_ttl_s=60, refresh_ttl_s=600)


@pytest.fixture
def claims() -> dict[str, Any]:
    now = int(time.time())
    return {**GOOD, "iat": now, "nbf": now, "exp": now + 600}


def signed(claims: Any, *, key: str = KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm)


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


class TestOurs:
    def test_each_kind_says_what_it_was_made_with(self, tokens):
        access, refresh = tokens.pair(LOGIN)
        of_access, of_refresh = tokens.verify_access(access), tokens.verify_refresh(refresh)

        assert (of_access.user_id, of_access.session_id) == ("u1", "s1")
        assert (of_refresh.session_id, of_refresh.token_id) == ("s1", "r1")

    def test_each_kind_is_for_its_use(self, tokens):
        access, refresh = tokens.pair(LOGIN)

        for verify, other in ((tokens.verify_access, refresh), (tokens.verify_refresh, access)):
            with pytest.raises(UnauthorizedError):
                verify(other)

    def test_its_time_must_not_be_over(self, tokens, claims):
        with pytest.raises(TokenExpiredError):
            tokens.verify_access(signed({**claims, "exp": claims["iat"] - 1}))

    @pytest.mark.parametrize("name", ["iat", "nbf"])
    def test_its_time_has_to_have_come(self, tokens, claims, name):
        with pytest.raises(UnauthorizedError):
            tokens.verify_access(signed({**claims, name: claims["iat"] + 99}))

    @pytest.mark.parametrize("name", ["sub", "sid", "type", "exp"])
    def test_it_says_all_that_is_asked_of_it(self, tokens, claims, name):
        tokens.verify_access(signed(claims))
        wrongs: list[Any] = [None, [], True, "1" if name == "exp" else 7.5]
        for wrong in wrongs:
            with pytest.raises(UnauthorizedError):
                tokens.verify_access(_forced({**claims, name: wrong}))
        del claims[name]
        with pytest.raises(UnauthorizedError):
            tokens.verify_access(signed(claims))


def _forced(claims: dict[str, Any]) -> str:
    # What the library would not sign for us.
    return str(jwt.api_jws.encode(jwt.PyJWT()._encode_payload(claims), KEY, "HS256"))


class TestForgeries:
    def test_no_character_of_a_token_can_be_another(self, tokens, claims):
        token = signed(claims)
        for at, was in enumerate(token):
            for other in {"A", "B", ".", "\n", "é"} - {was}:
                with pytest.raises(UnauthorizedError):
                    tokens.verify_access(token[:at] + other + token[at + 1 :])

    def test_neither_more_nor_less_of_it_is_read(self, tokens, claims):
        token = signed(claims)
        for other in (token[:-1], token + "AAAA", token + ".", "." + token, "", ".", ".."):
            with pytest.raises(UnauthorizedError):
                tokens.verify_access(other)

    def test_it_is_signed_with_our_key_by_our_algorithm(self, tokens, claims):
        unsigned = jwt.encode(claims, "", "none")
        head = signed(claims).split(".")[0]

        for forged in (
            signed(claims, key=KEY[::-1]),
            signed(claims, algorithm="HS512"),
            unsigned,
            unsigned.replace(unsigned.split(".")[0], head),
        ):
            with pytest.raises(UnauthorizedError):
                tokens.verify_access(forged)

    def test_what_its_head_says_of_the_algorithm_holds(self, tokens, claims):
        """Also where our key made the signature."""
        head, payload = base64url(b'{"alg":"none"}'), signed(claims).split(".")[1]
        body = f"{head}.{payload}"
        made = hmac.digest(KEY.encode(), body.encode(), "sha256")

        with pytest.raises(UnauthorizedError):
            tokens.verify_access(f"{body}.{base64url(made)}")

    @pytest.mark.parametrize("body", [b"no JSON", b"[1]", b"\xff", b"null", b""])
    def test_what_we_would_never_sign_is_refused(self, tokens, body):
        """Who has the key may sign anything: it must not become an error of ours."""
        token = jwt.api_jws.encode(body, KEY, "HS256", headers={"typ": "JWT"})

        with pytest.raises(UnauthorizedError):
            tokens.verify_access(token)

    def test_each_kind_is_remembered_for_its_use(self, tokens):
        """Also the second time."""
        access, refresh = tokens.pair(LOGIN)
        for _ in range(2):
            assert tokens.verify_access(access) == tokens.verify_access(access)
            assert tokens.verify_refresh(refresh).token_id == "r1"
            with pytest.raises(UnauthorizedError):
                tokens.verify_access(refresh)

    def test_no_token_is_kept(self, tokens):
        pair = tokens.pair(LOGIN)
        tokens.verify_access(pair[0])
        tokens.verify_refresh(pair[1])

        assert [len(key) for key in tokens._verified] == [32, 32]

    def test_what_is_no_text_is_no_token(self, tokens):
        with pytest.raises(UnauthorizedError):
            tokens.verify_access("\ud800")
