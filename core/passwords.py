"""Passwords as argon2id hashes, made away from the event loop.

A hash takes some 20 ms and 19 MiB on purpose (OWASP's second profile), so it runs on a real
thread, a few at a time, handed in as `offload`.
"""

from collections.abc import Callable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

Offload = Callable[[Callable[[], str | bool]], str | bool]

MEMORY_KIB = 19_456
PASSES = 2


def run_here(work: Callable[[], str | bool]) -> str | bool:
    """Offload to nowhere: for the command line and tests."""
    return work()


class Passwords:
    """Hashes passwords and checks them."""

    def __init__(self, offload: Offload = run_here) -> None:
        self._offload = offload
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)
        self._nobodys = self._hasher.hash("nobody's password")

    def hash(self, password: str) -> str:
        """Hash a password for keeping."""
        return str(self._offload(lambda: self._hasher.hash(password)))

    def matches(self, password_hash: str | None, password: str) -> bool:
        """Tell whether the password is the one; takes as long where there is no hash."""
        expected = password_hash or self._nobodys
        matches = bool(self._offload(lambda: self._verify(expected, password)))
        return matches and bool(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
