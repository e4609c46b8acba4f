"""What the application is told of the connection."""

from dataclasses import dataclass

from fanfare_client.core.chooser import Door


@dataclass(frozen=True, slots=True)
class State:
    """`state` is connecting, live, reconnecting, offline (nobody listens there) or ended.

    `retry_at` is when it will be tried again, in seconds since 1970.
    """

    state: str
    door: Door | None = None
    detail: str = ""
    retry_at: float | None = None
