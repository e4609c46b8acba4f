"""Tokens: JWTs by Flask-JWT-Extended, and the claims that the core takes from them.

An access token names a user and a session. A refresh token also names its place in the session's
chain, so that a used one is recognised.
"""

import hashlib
from datetime import timedelta
from typing import Any

import jwt
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token

from core.callers import Claims
from core.errors import TokenExpiredError, UnauthorizedError
from core.services.accounts import Login

_MAX_CHARS = 4096
_LATEST_S = 2**40
_MOST_VERIFIED = 10_000
_ALGORITHM = "HS256"


class Tokens:
    """Makes and checks tokens, with the secret of one application."""

    def __init__(self, app: Flask, *, access_ttl_s: float, refresh_ttl_s: float) -> None:
        self.access_ttl_s = access_ttl_s
        self.refresh_ttl_s = refresh_ttl_s
        self._app = app
        # A signature that held once holds for ever; time and session are looked at each time.
        # By digests of the tokens, which are a fifth as long, and nobody's to use.
        self._verified: dict[bytes, Claims] = {}
        app.config.update(JWT_ALGORITHM=_ALGORITHM, JWT_COOKIE_CSRF_PROTECT=False)
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
        digest = hashlib.sha256(f"{kind} {token}".encode(errors="surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is not None:
            return known
        claims = self._claims(token, kind)
        if len(self._verified) >= _MOST_VERIFIED:
            self._verified.clear()
        self._verified[digest] = claims
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
        try:
            # By the library under Flask-JWT-Extended, which takes five times as long to ask it.
            return dict(jwt.decode(token, self._key, [_ALGORITHM]))
        except jwt.ExpiredSignatureError:
            raise TokenExpiredError("The token has expired.") from None
        except (jwt.PyJWTError, ValueError):
            raise UnauthorizedError("The token is not one of ours.") from None
