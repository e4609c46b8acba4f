"""Who may do what, as whole tables: whoever changes a rule changes it here as well."""

import pytest

from core import permissions as may

NOBODY = None
ROLES = ["guest", "member", "moderator", "owner"]
EVERYONE = [NOBODY, *ROLES]


class TestTables:
    @pytest.mark.parametrize(
        ("rule", "allowed"),
        [
            (may.may_post, "member moderator owner"),
            (may.may_moderate, "moderator owner"),
            (may.may_own, "owner"),
            (lambda role: may.may_read("private", role), "guest member moderator owner"),
            (lambda role: may.may_read("direct", role), "guest member moderator owner"),
        ],
    )
    def test_by_role(self, rule, allowed):
        assert [role for role in EVERYONE if rule(role)] == allowed.split()

    def test_a_public_channel_is_read_by_all(self):
        assert all(may.may_read("public", role) for role in EVERYONE)

    def test_joining_is_for_members_of_public_channels(self):
        joined = [
            (k, r) for k in ("public", "private", "direct") for r in ROLES if may.may_join(k, r)
        ]

        assert joined == [("public", "member")]

    @pytest.mark.parametrize(
        ("mine", "present", "wanted"),
        [
            (NOBODY, "", ""),
            ("guest", "", ""),
            ("member", "", ""),
            ("moderator", "nobody guest member moderator", "guest member moderator"),
            ("owner", "nobody guest member moderator owner", "guest member moderator owner"),
        ],
    )
    def test_giving_roles(self, mine, present, wanted):
        """Up to one's own, to people who don't outrank one: nobody makes themselves a boss."""
        allowed = {
            (theirs, role)
            for theirs in EVERYONE
            for role in ROLES
            if may.may_set_role(mine, theirs, role)
        }
        people = [None if name == "nobody" else name for name in present.split()]

        assert allowed == {(theirs, role) for theirs in people for role in wanted.split()}

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            ("member", ""),
            ("guest", ""),
            (NOBODY, ""),
            ("moderator", "guest member moderator"),
            ("owner", "guest member moderator owner"),
        ],
    )
    def test_removing(self, mine, theirs):
        assert [role for role in ROLES if may.may_remove(mine, role)] == theirs.split()
