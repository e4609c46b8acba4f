"""Tokens: JWTs by Flask-JWT-Extended, and the claims that the core takes from them.

An access token names a user and a session. A refresh token also names its place in the session's
chain, so that a used one is recognised.
"""

import base64
import hmac
import time
from datetime import timedelta
from typing import Any

import jwt
from flask import Flask
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    decode_token,
)
from flask_jwt_extended.exceptions import JWTExtendedException

from core import json
from core.callers import Claims
from core.errors import TokenExpiredError, UnauthorizedError
from core.services.accounts import Login

_MAX_CHARS = 4096
_LATEST_S = 2**40
_MOST_VERIFIED = 10_000
# What every token of ours begins with: {"alg":"HS256","typ":"JWT"}.
_HEAD = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"


class Tokens:
    """Makes and checks tokens, with the secret of one application."""

    def __init__(self, app: Flask, *, access_ttl_s: float, refresh_ttl_s: float) -> None:
        self.access_ttl_s = access_ttl_s
        self.refresh_ttl_s = refresh_ttl_s
        self._app = app
        # A signature that held once holds for ever; time and session are looked at each time.
        self._verified: dict[tuple[str, str], Claims] = {}
        app.config.update(JWT_ALGORITHM="HS256", JWT_COOKIE_CSRF_PROTECT=False)
        JWTManager(app)
        self._key = str(app.config["JWT_SECRET_KEY"]).encode()

    def pair(self, login: Login) -> tuple[str, str]:
        """Make an access token and a refresh token."""
        claims = {"sid": login.session_id, "rid": login.refresh_id}
        with self._app.app_context():
            refresh = create_refresh_token(
                login.user["id"],
                expires_delta=timedelta(seconds=self.refresh_ttl_s),
                additional_claims=claims,
            )
        return self.access(login, self.access_ttl_s), refresh

    def access(self, login: Login, ttl_s: float) -> str:
        """Make an access token."""
        with self._app.app_context():
            token = create_access_token(
                login.user["id"],
                expires_delta=timedelta(seconds=ttl_s),
                additional_claims={"sid": login.session_id},
            )
        return str(token)

    def verify_access(self, token: str) -> Claims:
        """Check an access token.

        Raises:
            UnauthorizedError, TokenExpiredError.
        """
        return self._verify(token, "access")

    def verify_refresh(self, token: str) -> Claims:
        """Check a refresh token.

        Raises:
            UnauthorizedError, TokenExpiredError.
        """
        return self._verify(token, "refresh")

    def _verify(self, token: str, kind: str) -> Claims:
        known = self._verified.get((kind, token))
        if known is not None:
            return known
        claims = self._claims(token, kind)
        if len(self._verified) >= _MOST_VERIFIED:
            self._verified.clear()
        self._verified[kind, token] = claims
        return claims

    def _claims(self, token: str, kind: str) -> Claims:
        found = self._decode(token)
        if found.get("type") != kind:
            raise UnauthorizedError(f"This is not a token for this use: {kind} is wanted.")
        rid = found.get("rid", "")
        user_id, session_id, expires = found.get("sub"), found.get("sid"), found.get("exp")
        texts = all(isinstance(part, str) for part in (user_id, session_id, rid))
        if not texts or not isinstance(expires, int | float) or expires > _LATEST_S:
            raise UnauthorizedError("The token is not one of ours.")
        return Claims(str(user_id), str(session_id), int(expires * 1000), rid)

    def _decode(self, token: str) -> dict[str, Any]:
        if len(token) > _MAX_CHARS:
            raise UnauthorizedError("The token is not one of ours.")
        quick = read_usual(token, self._key, time.time())
        if quick is not None:
            return quick
        try:
            with self._app.app_context():
                return dict(decode_token(token))
        except jwt.ExpiredSignatureError:
            raise TokenExpiredError("The token has expired.") from None
        except (jwt.PyJWTError, JWTExtendedException, ValueError, KeyError):
            raise UnauthorizedError("The token is not one of ours.") from None


def read_usual(token: str, key: bytes, now_s: float) -> dict[str, Any] | None:
    """Read a token that is in all as ours are, signed and good now; None: let the library judge.

    What is read here the library would read, too, in 0.2 ms. In a storm that is the most of what
    it takes to let somebody in whose token was not seen before.
    """
    signed, _, signature = token.rpartition(".")
    head, _, body = signed.partition(".")
    if head != _HEAD or not token.isascii():
        return None
    made = base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), "sha256")).rstrip(b"=")
    if not hmac.compare_digest(made, signature.encode()):
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except ValueError:  # what is no base64, or no JSON
        return None
    return claims if isinstance(claims, dict) and _is_good(claims, now_s) else None


def _is_good(claims: dict[str, Any], now_s: float) -> bool:
    times: list[Any] = [claims.get(name) for name in ("iat", "nbf", "exp")]
    if any(type(at) is not int for at in times) or not isinstance(claims.get("jti"), str):
        return False
    since, not_before, until = times
    return bool(since <= now_s and not_before <= now_s < until)
