"""The calls over plain HTTP, and the one place that renews the token."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from fanfare_client.core.errors import (
    TOKEN_CODES,
    EndedError,
    FanfareError,
    NoAnswerError,
    from_wire,
)
from fanfare_client.core.timing import Timing

JSON = dict[str, Any]
# Called with the token that was refused, or None at the start.
TokenSource = Callable[[str | None], str | Awaitable[str]]
OnTokens = Callable[[str, str], None]
API = "/api/v1"

log = logging.getLogger("fanfare_client")


class Rest:
    """The calls of one user. A refused token is renewed once; what is refused is raised."""

    def __init__(
        self,
        url: str,
        *,
        token: str | TokenSource,
        refresh_token: str | None,
        on_tokens: OnTokens | None,
        timing: Timing,
        trust_env: bool,
    ) -> None:
        self.url = url.rstrip("/")
        self._access = token if isinstance(token, str) else None
        self._source = None if isinstance(token, str) else token
        self._refresh = refresh_token
        self._on_tokens = on_tokens
        self._timing = timing
        self._renewing = asyncio.Lock()
        self._http = httpx.AsyncClient(trust_env=trust_env, timeout=timing.request_s)

    async def token(self) -> str:
        """Return the access token."""
        return self._access or await self.renew(None)

    async def renew(self, refused: str | None) -> str:
        """Return a token other than `refused`; many who ask at once cause one renewal.

        Raises: EndedError when there is none; NoAnswerError when that could not be found out.
        """
        async with self._renewing:
            if self._access is None or self._access == refused:
                self._access = await self._fresh(refused)
            return self._access

    async def get(self, path: str, **params: Any) -> JSON:
        """GET under the API; parameters that are None are left out."""
        given = {name: value for name, value in params.items() if value is not None}
        return body_of(await self.request("GET", path, params=given))

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: JSON | None = None,
        params: JSON | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        """Make a call. Raises: FanfareError with the server's code; NoAnswerError."""
        token = await self.token()
        for refused in (token, None):
            try:
                return await self._send(method, path, token, json, params, timeout_s)
            except FanfareError as error:
                if refused is None or error.code not in TOKEN_CODES:
                    raise
                token = await self._renewed(refused, error)
        raise AssertionError("the second try returns or raises")

    @asynccontextmanager
    async def stream(
        self, path: str, params: JSON, *, silence_s: float
    ) -> AsyncIterator[httpx.Response]:
        """Open a stream of server-sent events with the token of now; none is renewed."""
        headers = {"Authorization": f"Bearer {await self.token()}", "Accept": "text/event-stream"}
        timeout = httpx.Timeout(self._timing.request_s, read=silence_s)
        address = self.url + API + path
        try:
            async with self._http.stream(
                "GET", address, params=params, headers=headers, timeout=timeout
            ) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise _error_of(response)
                yield response
        except httpx.HTTPError as error:
            raise _no_answer(error) from error

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        token: str,
        json: JSON | None,
        params: JSON | None,
        timeout_s: float | None,
    ) -> httpx.Response:
        try:
            response = await self._http.request(
                method,
                self.url + API + path,
                json=json,
                params=params,
                headers={"Authorization": f"Bearer {token}"},
                timeout=timeout_s or self._timing.request_s,
            )
        except httpx.HTTPError as error:
            raise _no_answer(error) from error
        if not response.is_success:
            raise _error_of(response)
        return response

    async def _renewed(self, refused: str, why: FanfareError) -> str:
        try:
            return await self.renew(refused)
        except EndedError as error:
            raise EndedError(why.code, why.detail) from error

    async def _fresh(self, refused: str | None) -> str:
        if self._refresh is not None:
            return await self._refreshed()
        if self._source is None:
            raise EndedError("token_expired", "The token was refused, and there is no other.")
        try:
            made = self._source(refused)
            return await made if inspect.isawaitable(made) else made
        except FanfareError:
            raise
        except Exception as error:
            log.warning("token() failed: %r", error)
            raise NoAnswerError(f"token() failed: {error!r}") from error

    async def _refreshed(self) -> str:
        try:
            answer = await self._send("POST", "/auth/refresh", str(self._refresh), None, None, None)
        except FanfareError as error:
            if error.code in TOKEN_CODES:
                raise EndedError(error.code, error.detail) from error
            raise
        pair = body_of(answer)
        self._refresh = pair["refresh_token"]
        if self._on_tokens is not None:
            self._on_tokens(pair["access_token"], pair["refresh_token"])
        return str(pair["access_token"])


class UnreachableError(NoAnswerError):
    """Nobody listens there: nothing was sent, so nothing was done."""


def body_of(response: httpx.Response) -> JSON:
    """Return the object in an answer. Raises: NoAnswerError where it holds none."""
    if response.status_code in (202, 204) and not response.content:
        return {}
    try:
        body = response.json()
    except ValueError as error:
        raise NoAnswerError("The answer is not JSON: something stands in between.") from error
    if not isinstance(body, dict):
        raise NoAnswerError("The answer is no object: something stands in between.")
    return body


def _no_answer(error: httpx.HTTPError) -> NoAnswerError:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return UnreachableError(str(error))
    return NoAnswerError(f"{type(error).__name__}: {error}")


def _error_of(response: httpx.Response) -> FanfareError:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    after = response.headers.get("Retry-After", "")
    wait = float(after) if after.isdigit() else 0.0
    return from_wire(problem, status=response.status_code, retry_after=wait)
