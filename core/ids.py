"""Fresh names: UUIDv7 for things, random text for secrets and epochs."""

import re
import secrets

import uuid_utils

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """Make an id; ids of one process sort in the order in which they were made."""
    return str(uuid_utils.uuid7())


def is_id(text: str) -> bool:
    """Tell whether `text` has the form of an id."""
    return _ID.fullmatch(text) is not None


def new_secret() -> str:
    """Make 256 random bits, fit for a URL."""
    return secrets.token_urlsafe(32)


def new_epoch() -> str:
    """Make the name of a new numbering of a stream."""
    return secrets.token_hex(4)
