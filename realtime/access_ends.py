"""What becomes of those whose access ended, at every door that somebody stays connected by."""

from collections.abc import Collection, Iterable
from typing import Generic, Protocol, TypeVar

from core.callers import Caller, Claims
from core.errors import FanfareError, TokenRevokedError
from core.events import Control
from core.services.callers import Callers
from core.services.lookups import Lookups
from realtime import green
from realtime.connections import Connected

REVOKED = ("token_revoked", "The session has ended.", "never")


class Client(Connected, Protocol):
    """Somebody who stays connected and follows streams."""

    caller: Caller

    @property
    def streams(self) -> Collection[str]:
        """What it follows."""

    def say_goodbye(self, code: str, detail: str, retry: str, retry_after: float = 0) -> None:
        """Say why, and end."""


C = TypeVar("C", bound=Client)


class Door(Protocol[C]):
    """Where they came in."""

    def clients_of(self, user_id: str) -> Iterable[C]:
        """Give all of a user, as they are now."""

    def watchers_of(self, stream: str) -> Iterable[C]:
        """Give all that follow a stream, as they are now."""

    def end_subscription(self, client: C, stream: str, code: str, /) -> None:
        """Stop somebody who lost access to a stream, and tell them."""

    def hide(self, client: C, /) -> None:
        """Have somebody no longer be present anywhere."""


class AccessEnds(Generic[C]):
    """Acts on controls, for the clients of one door."""

    def __init__(self, door: Door[C], callers: Callers, lookups: Lookups) -> None:
        self._door = door
        self._callers = callers
        self._lookups = lookups
        # Moves whenever somebody's access ends: what was judged before must be judged again.
        self._changes = 0

    def readable(self, caller: Caller, asked: Iterable[str]) -> dict[str, str]:
        """Give the full names of those streams that the caller may read, as of now.

        Access that ends while we read it is told to clients that follow, and this one does not
        yet: so it is read again whenever some access ended meanwhile.
        """
        while True:
            seen = self._changes
            names = self._lookups.readable_streams(caller, asked)
            if seen == self._changes:
                return names

    def on_control(self, control: Control) -> None:
        """Act on an end of access."""
        self._changes += 1
        if control.kind == "stream_closed":
            for client in self._door.watchers_of(control.stream):
                self._door.end_subscription(client, control.stream, "not_found")
            return
        for client in self._door.clients_of(control.user_id):
            if control.kind == "access_lost":
                self._lose_access(client, control.stream)
            elif control.kind == "user_disabled" or client.caller.session_id == control.session_id:
                client.say_goodbye(*REVOKED)
                self._door.hide(client)

    def _lose_access(self, client: C, stream: str) -> None:
        if not stream:
            # Looked up here, it would make the one who caused it wait for our query.
            green.spawn(self.look_again, client, set(client.streams))
        elif stream in client.streams and not client.caller.is_admin:
            # At once: not even the event that follows may reach them. Administrators read a
            # channel without being members.
            self._door.end_subscription(client, stream, "forbidden")

    def look_again(self, client: C, streams: set[str]) -> None:
        """See which of some streams a client may still read; in doubt, none."""
        before = client.caller
        claims = Claims(before.user_id, before.session_id, before.expires_at_ms)
        try:
            caller = self._callers.authenticate(claims, self._lookups.authenticate)
            if client.caller is before:
                # Else it went on with a fresh token meanwhile.
                client.caller = caller
            kept = self._lookups.readable_streams(caller, streams)
        except FanfareError as error:
            # In doubt, out: the client comes back and is judged anew.
            retry = "never" if isinstance(error, TokenRevokedError) else "now"
            client.say_goodbye(error.code, error.detail, retry)
            return
        for stream in streams - kept.keys():
            self._door.end_subscription(client, stream, "forbidden")
