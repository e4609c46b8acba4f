"""Every wait of the client, in seconds. The defaults are the protocol's advice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """A test, or a network that is known to be slow, takes other values than these."""

    socket_s: float = 2.5  # until `ready` of the socket
    sse_s: float = 2.0  # until `event: ready`: a proxy that buffers shows nothing
    poll_s: float = 10.0  # until the first reply
    ack_s: float = 4.0  # a socket that leaves a request unanswered for so long is left
    wait_s: float = 25.0  # how long a poll may wait
    silence_s: float = 40.0  # without a byte, while the server sends a comment every 15 s
    request_s: float = 15.0  # any other call
    probe_s: float = 10.0  # on a lower door: until a higher one is tried again; doubles
    probe_most_s: float = 300.0
    backoff_s: float = 0.5  # after a failure; doubles
    backoff_most_s: float = 30.0
    steady_s: float = 5.0  # a door that stood for so long was no failure
    close_s: float = 2.0  # for a goodbye
