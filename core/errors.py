"""One tree of errors; `code` is protocol, the same at every door, and is never reused.

FanfareError
├── BadRequestError  InvalidError  TooLargeError  ConflictError  PreconditionFailedError
├── UnauthorizedError ── TokenExpiredError  TokenRevokedError
├── ForbiddenError  NotFoundError
├── RateLimitedError  TooManyConnectionsError  TooManySubscriptionsError
└── UnavailableError ── DrainingError  InternalError
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field of an input and what is wrong with it."""

    field: str
    message: str


class FanfareError(Exception):
    """Something that a client is told, by a stable code and a sentence."""

    code = "internal"
    retryable = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequestError(FanfareError):
    """The request can't be read at all."""

    code = "bad_request"


class InvalidError(FanfareError):
    """The request was read, and fields of it break the schema or a rule."""

    code = "invalid"

    def __init__(self, detail: str, faults: Sequence[FieldFault] = ()) -> None:
        super().__init__(detail)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, field: str, message: str) -> "InvalidError":
        """Name one field that is at fault."""
        return cls(f"{field}: {message}", [FieldFault(field, message)])


class UnauthorizedError(FanfareError):
    """No proof of who is calling, or none that holds."""

    code = "unauthorized"


class TokenExpiredError(UnauthorizedError):
    """The token was good and has run out: refresh it."""

    code = "token_expired"


class TokenRevokedError(UnauthorizedError):
    """The session behind the token has ended: log in again."""

    code = "token_revoked"


class ForbiddenError(FanfareError):
    """The caller may see the thing, but not do this to it."""

    code = "forbidden"


class NotFoundError(FanfareError):
    """There is no such thing, or none that the caller may see."""

    code = "not_found"


class ConflictError(FanfareError):
    """The change clashes with what is there: a taken name, a key used for something else."""

    code = "conflict"


class PreconditionFailedError(FanfareError):
    """`If-Match` named another version than the present one."""

    code = "precondition_failed"


class TooLargeError(FanfareError):
    """The input is over a limit of size."""

    code = "too_large"


class RateLimitedError(FanfareError):
    """Too much too fast; `retry_after_s` says when it may go on."""

    code = "rate_limited"
    retryable = True

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class TooManyConnectionsError(FanfareError):
    """The user has as many open connections as a user may have."""

    code = "too_many_connections"
    retryable = True


class TooManySubscriptionsError(FanfareError):
    """The connection watches as many streams as one may watch."""

    code = "too_many_subscriptions"


class UnavailableError(FanfareError):
    """A part that the answer needs is away for the moment.

    Nothing was changed, unless the database went away in the middle of a commit: then a retry
    with the same key finds out.
    """

    code = "unavailable"
    retryable = True


class DrainingError(UnavailableError):
    """The node ends and takes nobody in: another, or its successor, does."""

    code = "draining"


class InternalError(FanfareError):
    """A fault of ours. The log has the story, under the request's id."""

    code = "internal"
    retryable = True


def describe(error: FanfareError) -> dict[str, object]:
    """Give an error's wire form: what every door tells of it."""
    told: dict[str, object] = {
        "code": error.code,
        "detail": error.detail,
        "retryable": error.retryable,
    }
    if isinstance(error, InvalidError) and error.faults:
        told["errors"] = [{"field": f.field, "message": f.message} for f in error.faults]
    if isinstance(error, RateLimitedError):
        told["retry_after"] = error.retry_after_s
    return told
