"""Free ports of this machine, for servers that are restarted at the same address.

They lie outside the range that the kernel takes the ports of clients from. Inside it, a client
that keeps calling a server which is down may be given that very port, and talk to itself.
"""

import secrets
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_240
_TRIES = 200

_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on, and that was not given out before."""
    for _ in range(_TRIES):
        port = secrets.choice(_range())
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port in {_range()}")


def _range() -> range:
    try:
        first = int(_CLIENTS.read_text().split()[0])
    except (OSError, ValueError):  # another system than Linux: what most of them leave alone
        first = 32_768
    # Where a machine gives clients nearly everything, there is no place apart.
    return range(_LOWEST, first) if first > _LOWEST + 1_000 else range(_LOWEST, 65_536)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
