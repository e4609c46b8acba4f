"""Who is here, and who is online."""

from flask import Response

from api import schemas
from api.parts import parts
from api.respond import ok, with_digest
from api.routing import Api
from core.callers import Caller
from core.errors import InvalidError, NotFoundError
from core.events import channel_stream
from core.ids import is_id
from core.services import channels

api = Api("presence")
_MOST_USERS = 100


@api.route(
    "GET",
    "/channels/{channel}/presence",
    {200: schemas.Roster},
    refuses=[NotFoundError],
    is_conditional=True,
)
def get_roster(caller: Caller, channel: str) -> Response:
    """Read who is present in a channel, on any node; of many only how many they are."""
    row = channels.get_channel(parts().db, caller, channel)
    return with_digest(ok(parts().presence.roster(channel_stream(row.id))))


@api.route(
    "GET",
    "/presence",
    {200: schemas.OnlineUsers},
    query=schemas.PresenceQuery,
    is_conditional=True,
)
def list_online(caller: Caller, query: schemas.PresenceQuery) -> Response:
    """Read whether users are connected, to any node. One that does not exist is offline."""
    asked = [part for part in query.users.split(",") if part]
    names = list(dict.fromkeys(caller.user_id if part == "me" else part for part in asked))
    if not 1 <= len(names) <= _MOST_USERS:
        raise InvalidError.of("users", f"names 1 to {_MOST_USERS} users")
    known = [name for name in names if is_id(name)]
    online = {one["user_id"]: one for one in parts().presence.online(known)}
    return with_digest(ok({"people": [online.get(name) or _stranger(name) for name in names]}))


def _stranger(name: str) -> dict[str, object]:
    return {"user_id": name, "online": False, "status": None, "since": None}
