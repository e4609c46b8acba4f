"""What is counted, for `/metrics`. Names follow Prometheus; labels are few and bounded."""

from typing import Final

from prometheus_client import Counter, Gauge

# What stands at one moment is summed over the workers that live.
_LIVE: Final = "livesum"

CONNECTIONS = Gauge("fanfare_connections", "Open authenticated sockets.", multiprocess_mode=_LIVE)
FOLLOWERS = Gauge(
    "fanfare_followers", "Polls that wait and streams of SSE.", multiprocess_mode=_LIVE
)
FOLLOWERS_GONE = Counter(
    "fanfare_followers_gone", "Polls and streams of SSE whose client went away."
)
SESSIONS = Gauge(
    "fanfare_sessions", "Sessions of Engine.IO, strangers' too.", multiprocess_mode=_LIVE
)
GREENLETS = Gauge("fanfare_greenlets", "Greenlets that live.", multiprocess_mode=_LIVE)
STREAMS = Gauge("fanfare_streams", "Streams followed on this node.", multiprocess_mode=_LIVE)
EVENTS = Counter("fanfare_events", "Events committed by this node.")
ROUNDS = Counter("fanfare_rounds", "Transactions that publishes and messages were written in.")
DELIVERIES = Counter("fanfare_deliveries", "Events handed to watchers of this node.")
REPAIRS = Counter("fanfare_repairs", "Reads of the log because a hint was missing.")
CUTS = Counter("fanfare_cuts", "Connections cut off because they did not keep up.")
BUS_UP = Gauge(
    "fanfare_bus_up",
    "Whether this node's heartbeat over Redis comes round.",
    multiprocess_mode="livemin",
)
BUS_HINTS = Counter("fanfare_bus_hints", "Hints of events heard from Redis, own ones too.")
BUS_DROPPED = Counter("fanfare_bus_dropped", "Messages that could not be given to Redis.")
BUS_STRANGE = Counter("fanfare_bus_strange", "Messages of nodes with another wire version.")
ACCESS_MISSED = Counter(
    "fanfare_access_missed", "Ends of access learnt from the database, not from the bus."
)
DB_STATEMENTS = Counter("fanfare_db_statements", "Statements that the database was sent.")
PACKETS = Counter("fanfare_packets", "Packets handled.", ["event", "outcome"])
PRESENT = Gauge(
    "fanfare_present",
    "Streams that connections of this node are present in.",
    multiprocess_mode=_LIVE,
)
PRESENCE_FAILURES = Counter("fanfare_presence_failures", "Calls for presence that failed.")
PRESENCE_SWEPT = Counter("fanfare_presence_swept", "People swept away after nodes that died.")
REQUESTS = Counter("fanfare_http_requests", "HTTP requests answered.", ["method", "status"])
