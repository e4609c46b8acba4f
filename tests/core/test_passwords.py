"""Passwords are kept as argon2id hashes, and a wrong name costs what a wrong password costs."""

from argon2 import extract_parameters
from argon2.low_level import Type

from core.passwords import MEMORY_KIB, PASSES, Passwords


class TestPasswords:
    def test_the_right_one_matches_and_no_other(self, passwords):
        kept = passwords.hash("correct horse")

        assert passwords.matches(kept, "correct horse")
        for other in ("correct hors", "Correct horse", "correct horse ", "", "\x00"):
            assert not passwords.matches(kept, other)

    def test_nobody_has_a_password(self, passwords):
        """Not even the one that is hashed in a stranger's place."""
        assert not passwords.matches(None, "nobody's password")
        assert not passwords.matches("", "nobody's password")

    def test_what_is_no_hash_matches_nothing(self, passwords):
        assert not passwords.matches("none", "none")

    def test_equal_passwords_have_different_hashes(self, passwords):
        assert passwords.hash("correct horse") != passwords.hash("correct horse")

    def test_they_are_costly_on_purpose(self, passwords):
        found = extract_parameters(passwords.hash("correct horse"))

        assert (found.type, found.memory_cost, found.time_cost) == (Type.ID, MEMORY_KIB, PASSES)
        assert MEMORY_KIB * PASSES >= 19_456 * 2  # OWASP's second profile

    def test_the_work_is_handed_over_each_time(self):
        """It would stop the event loop; and a stranger costs as much as a user."""
        handed = []

        def offload(work):
            handed.append(work)
            return work()

        passwords = Passwords(offload)
        kept = passwords.hash("correct horse")
        passwords.matches(kept, "wrong")
        passwords.matches(None, "wrong")

        assert len(handed) == 3
