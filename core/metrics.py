"""What is counted, for `/metrics`. Names follow Prometheus; labels are few and bounded."""

from prometheus_client import Counter, Gauge

CONNECTIONS = Gauge("fanfare_connections", "Open authenticated sockets.")
STREAMS = Gauge("fanfare_streams", "Streams followed on this node.")
EVENTS = Counter("fanfare_events", "Events committed by this node.")
DELIVERIES = Counter("fanfare_deliveries", "Events handed to watchers of this node.")
REPAIRS = Counter("fanfare_repairs", "Reads of the log because a hint was missing.")
CUTS = Counter("fanfare_cuts", "Connections cut off because they did not keep up.")
PACKETS = Counter("fanfare_packets", "Packets handled.", ["event", "outcome"])
REQUESTS = Counter("fanfare_http_requests", "HTTP requests answered.", ["method", "status"])
