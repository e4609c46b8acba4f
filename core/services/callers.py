"""Who is calling, remembered for a moment.

A busy client sends many requests with one token. The memory is shorter than the second within
which a revocation must take effect everywhere, and is dropped at once where it is made.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from core.callers import Caller, Claims
from core.errors import TokenExpiredError
from core.events import Control
from core.times import now_ms

_KEEP_MS = 500
_MOST = 10_000


T = TypeVar("T")
Authenticate = Callable[[Claims], Caller]


class Callers:
    """Turns claims into callers, by a look-up that raises where there is no such caller."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate
        self._known: OrderedDict[tuple[str, str], tuple[int, Caller]] = OrderedDict()
        self._controls = 0

    def authenticate(self, claims: Claims, look_up: Authenticate | None = None) -> Caller:
        """Tell who is calling, as of after the last control that this node heard of.

        `look_up` is a way to authenticate other than this one's own.

        Raises:
            TokenExpiredError, TokenRevokedError.
        """
        now, key = now_ms(), (claims.user_id, claims.session_id)
        known = self._known.get(key)
        if known and known[0] > now and known[1].expires_at_ms == claims.expires_at_ms:
            if claims.expires_at_ms <= now:
                raise TokenExpiredError("The token has expired.")
            return known[1]
        ask = look_up or self._authenticate
        caller = self.ask(lambda: ask(claims))
        self._known[key] = (now + _KEEP_MS, caller)
        self._known.move_to_end(key)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return caller

    def ask(self, look_up: Callable[[], T]) -> T:
        """Look something up that ends with a session, as of after the last control heard of.

        A session that ends while we read may be read as still good, and whoever acts on its end
        may look before we are done. So: read again whenever something ended meanwhile.
        """
        while True:
            seen = self._controls
            found = look_up()
            if seen == self._controls:
                return found

    def forget(self, control: Control) -> None:
        """Drop what a control says is no longer so."""
        self._controls += 1
        for key in [key for key in self._known if key[0] == control.user_id]:
            del self._known[key]
