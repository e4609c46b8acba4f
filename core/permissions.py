"""Who may do what in a channel, as pure functions of the channel's kind and the caller's role."""

from typing import Literal

Kind = Literal["public", "private", "direct"]
Role = Literal["owner", "moderator", "member", "guest"]

_RANK = {"guest": 1, "member": 2, "moderator": 3, "owner": 4}


def rank(role: str | None) -> int:
    """Order the roles; somebody without one ranks 0."""
    return _RANK[role] if role else 0


def may_read(kind: str, role: str | None) -> bool:
    """A public channel is open to every signed-in user; the others to their members."""
    return kind == "public" or role is not None


def may_post(role: str | None) -> bool:
    """Posting takes membership; guests listen."""
    return rank(role) >= rank("member")


def may_moderate(role: str | None) -> bool:
    """Moderators remove other people's messages and manage members below them."""
    return rank(role) >= rank("moderator")


def may_own(role: str | None) -> bool:
    """Owners delete the channel and make other owners."""
    return rank(role) >= rank("owner")


def may_join(kind: str, wanted: str) -> bool:
    """Anybody may make themselves a member of a public channel, and nothing more."""
    return kind == "public" and wanted == "member"


def may_set_role(mine: str | None, present: str | None, wanted: str) -> bool:
    """Moderators and owners give roles up to their own to people who do not outrank them."""
    return may_moderate(mine) and rank(mine) >= max(rank(present), rank(wanted))


def may_remove(mine: str | None, theirs: str | None) -> bool:
    """Moderators and owners remove people who do not outrank them."""
    return may_moderate(mine) and rank(mine) >= rank(theirs)
