"""What can go wrong, as exceptions with the server's stable codes.

FanfareError            the server refused, or the client did for it; `code` says why
├── EndedError          the client has ended: closed, logged out, or its token can't be renewed
├── UnsubscribedError   access to the stream was lost, or there is none
├── ResetError          the stream can't be gone on with: take a new sync
└── NoAnswerError       nobody answered: the network, or a server that is down
"""

from typing import Any

from fanfare_client.core.events import Reset

JSON = dict[str, Any]
TOKEN_CODES = frozenset({"token_expired", "token_revoked", "unauthorized"})
_RETRYABLE = frozenset(
    {"rate_limited", "too_many_connections", "internal", "draining", "unavailable"}
)


class FanfareError(Exception):
    """The server refused; `code` is stable and the same at every door."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        retryable: bool | None = None,
        retry_after: float = 0.0,
        errors: list[JSON] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.retryable = code in _RETRYABLE if retryable is None else retryable
        self.retry_after = retry_after
        self.errors = errors or []


class EndedError(FanfareError):
    """The client has ended and does nothing more."""


class UnsubscribedError(FanfareError):
    """Access to the stream was lost (`forbidden`), or there is none (`not_found`)."""


class NoAnswerError(FanfareError):
    """No answer came. Whether the server did what it was asked for is not known."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("unavailable", detail, retryable=True)


class ResetError(FanfareError):
    """The stream can't be gone on with from where it was; it stands at `reset.position` now."""

    def __init__(self, reset: Reset) -> None:
        super().__init__(reset.reason, f"{reset.stream} can't be gone on with: take a new sync.")
        self.reset = reset


def from_wire(error: object, *, status: int = 0, retry_after: float = 0.0) -> FanfareError:
    """Return the error that an ack or a problem tells of; what can't be read is told by status."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return FanfareError(_code_of(status), f"HTTP status {status}", retry_after=retry_after)
    told = error.get("retry_after")
    return FanfareError(
        error["code"],
        str(error.get("detail") or ""),
        retryable=error.get("retryable"),
        retry_after=float(told) if isinstance(told, int | float) else retry_after,
        errors=error.get("errors"),
    )


def _code_of(status: int) -> str:
    if status >= 500:
        return "unavailable"
    known = {401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "rate_limited"}
    return known.get(status, "bad_request")
