"""Who is calling: what the doors hand to the services once a token has been proved."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says, its signature and time already checked."""

    user_id: str
    session_id: str
    expires_at_ms: int
    token_id: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """A user with a live session."""

    user_id: str
    username: str
    session_id: str
    is_admin: bool
    expires_at_ms: int
