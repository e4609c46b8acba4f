"""Who is calling over HTTP: a bearer token, or on a GET a ticket in the address."""

import ipaddress

from flask import request

from api.parts import parts
from core.callers import Caller, Claims
from core.errors import UnauthorizedError
from core.services import accounts


def get_caller(*, with_others: bool = False) -> Caller:
    """Tell who is calling; `with_others`: in a storm of calls, by one query for many of them.

    Raises:
        UnauthorizedError, TokenExpiredError, TokenRevokedError.
    """
    look_up = parts().lookups.authenticate if with_others else None
    return parts().callers.authenticate(_claims(), look_up)


def _claims() -> Claims:
    if "HTTP_AUTHORIZATION" not in request.environ and request.method == "GET":
        ticket = request.args.get("ticket")
        if ticket:
            return accounts.take_ticket(parts().db, ticket)
    return parts().tokens.verify_access(bearer())


def bearer() -> str:
    """Give the bearer token of the request.

    Raises:
        UnauthorizedError: there is none.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthorizedError("A bearer token is needed: Authorization: Bearer …")
    return token.strip()


def address() -> str:
    """Give the address by which a client is counted.

    Of IPv6 that is its network: whoever has one address has 2^64 of them.
    """
    called_from = request.remote_addr or "unknown"
    try:
        found = ipaddress.ip_address(called_from)
    except ValueError:
        return called_from
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), 64), strict=False))
