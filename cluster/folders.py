"""Temporary folders that are short enough for a socket, and open to whom a server runs as."""

import os
import pwd
import stat
import tempfile
from pathlib import Path

SOCKET_PATH_LIMIT = 100  # bytes; the kernel takes no longer path for a socket
_ROOM = len("12345678/.s.PGSQL.5432")


def short_folder(prefix: str, account: pwd.struct_passwd | None = None) -> Path:
    """Make a folder of one's own whose sockets have paths that the kernel takes.

    With an `account` it belongs to that one, and can be reached by it.
    """
    for base in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes it safe
        fits = len(os.fsencode(base)) + len(prefix) + _ROOM < SOCKET_PATH_LIMIT
        if fits and (account is None or open_to_all(Path(base))):
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
            if account is not None:
                os.chown(folder, account.pw_uid, account.pw_gid)
            return folder
    raise RuntimeError("no temporary folder is short and open enough for a server's socket")


def open_to_all(path: Path) -> bool:
    """Tell whether anybody may reach what lies in `path`."""
    places = [path, *path.resolve().parents]
    return all(place.stat().st_mode & stat.S_IXOTH for place in places)
