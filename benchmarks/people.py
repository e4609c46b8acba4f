"""Makes many users at once, each signed in: `python -m benchmarks.people 3000 < /dev/null`.

It prints their access tokens as JSON. Registering them one by one would hash a password each, for
minutes; nobody here signs in by one.
"""

import json
import sys

from api.tokens import Tokens
from app import create_core
from config import load
from core.ids import new_id
from core.services import accounts as services
from core.store import accounts
from core.store.database import Write
from core.times import now_ms

_NO_PASSWORD = "!"
_TTL_S = 3_600


def main() -> None:
    """Make so many users as the first argument says."""
    core = create_core(load())
    with core.db.write() as write:
        logins = [_add(write, number) for number in range(int(sys.argv[1]))]
    print(json.dumps([_token(core.tokens, login) for login in logins]))
    core.db.close()


def _add(write: Write, number: int) -> services.Login:
    user_id = services.add_user(
        write, username=f"guest-{number}", password_hash=_NO_PASSWORD, display_name="A guest"
    )
    session_id, now = new_id(), now_ms()
    accounts.add_session(
        write,
        {
            "id": session_id,
            "user_id": user_id,
            "refresh_id": new_id(),
            "user_agent": "",
            "created_ms": now,
            "last_used_ms": now,
            "expires_ms": now + _TTL_S * 1000,
        },
    )
    return services.Login({"id": user_id}, session_id, "")


def _token(tokens: Tokens, login: services.Login) -> str:
    return tokens.access(login, _TTL_S)


if __name__ == "__main__":
    main()
