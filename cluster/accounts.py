"""Whom a server runs as: root's servers as somebody without rights, everybody else's as himself."""

import contextlib
import os
import pwd
from pathlib import Path
from typing import Any


def unprivileged() -> pwd.struct_passwd | None:
    """Return the account that root's servers take; None for anybody but root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("servers do not run as root here, and there is no user `nobody`")


def account_options(account: pwd.struct_passwd | None, folder: Path) -> dict[str, Any]:
    """Return what subprocess.Popen needs to start a program in `folder` as that account."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
    if account is None:
        return {"env": environment, "cwd": folder}
    own = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return {"env": environment, "cwd": folder, **own}
