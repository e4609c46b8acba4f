"""What every door of `run.py tail` is: a way to follow one stream until it ends or is cut."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tail.view import View

# A code that a new token or some patience can't mend.
_FINAL = {"unauthorized", "token_revoked", "not_found", "forbidden", "invalid"}


class TailError(Exception):
    """The stream can't be followed; the message says why."""


class TokenEndedError(TailError):
    """The token has run out: with a new one it may go on."""


class DoorLostError(Exception):
    """A door does not open, or was cut; the message says why.

    `is_ours`: a Fanfare spoke through it, so no other door is better. `retry_after_s` is what it
    asked for.
    """

    def __init__(self, why: str, *, is_ours: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.is_ours = is_ours
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Call:
    """Where to follow, by whose token, and what shows it."""

    url: str
    token: str
    view: View


class Door(Protocol):
    """One of the ways; the budget is how long it may take to open."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def follow(self, call: Call, opened: Callable[[str], None]) -> None:
        """Follow until it ends; tell `opened` when it is open.

        Raises:
            DoorLostError: it did not open, or was cut.
            TailError: no door can do what is asked.
        """


def refusal(code: str, detail: str, retry_after_s: float = 0.0) -> TailError | DoorLostError:
    """Make the error of what a Fanfare refuses."""
    if code == "token_expired":
        return TokenEndedError(detail)
    if code in _FINAL:
        return TailError(detail)
    return DoorLostError(detail, is_ours=True, retry_after_s=retry_after_s)


def goodbye(bye: dict[str, object]) -> TailError | DoorLostError:
    """Make the error of a `bye`."""
    detail = str(bye["detail"])
    if bye["retry"] == "never":
        return TailError(detail)
    return DoorLostError(detail, is_ours=True, retry_after_s=float(str(bye["retry_after"])))
