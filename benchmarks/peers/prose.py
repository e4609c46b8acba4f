"""What docs/benchmarks.md says around its figures."""

from dataclasses import dataclass

BEGINNING = """
# Benchmarks

Fanfare beside others, on one machine, in one session, by one command. **This page is made by that
command; it is never edited.** It holds what was measured, also where Fanfare is slower.

```sh
make bench                          # everything; takes hours
make bench ARGS="--peers"           # what is on this page; an hour
make bench ARGS="--only fanout"     # one table, in its place on this page
make bench ARGS="--peers --quick"   # a look; writes nothing here
```

You need two cores, Python, a C compiler, and for the peers Node.js with npm and nginx with its
module nchan (Debian: `gcc libc6-dev nodejs npm nginx libnginx-mod-nchan`). What is missing is left
out, and said. The peers' packages are installed by name, at the versions of
`benchmarks/peers/package-lock.json` and `benchmarks/peers/requirements.txt`, into
`benchmarks/.peers`, and nowhere else.

- **The server has a core of its own**, with its Redis where it needs one; the load generator
  (`benchmarks/load`, in C) and PostgreSQL have the others. The generator does not sleep while it
  measures throughput or latency, so no server pays for waking it up.
- **Runs are interleaved**: each round starts every server anew, in a turned order, and ratios are
  taken between runs of the same round. A figure is the median of all rounds, with its range.
- **Per CPU-second of the server**: what strangers do on the machine slows a run down, and hardly
  changes what a CPU-second buys. A core is one CPU-second a second.
- **Every run is checked** for completeness and order at every watcher. A run with a loss, a
  repeat or a wrong order is marked as incomplete, and has no part in a median.
- **Each peer is a small program as its documentation recommends**, with production settings; see
  `benchmarks/peers/programs`. They have no users, rights or log of their own: nobody is
  authenticated there, and nothing is kept. Fanfare checks a signed token at each connect, and a
  right at each subscribe and publish, here as always. The C loop is no server but the limit of one
  `send()` a delivery: no rooms, no pings, no limits.
- **An event's data has about 120 bytes** for all. Fanfare's frame adds the stream, the type, the
  publisher and the time, so it is the longest.
"""


@dataclass(frozen=True, slots=True)
class Prose:
    """A heading, and what stands under it."""

    title: str
    text: str


MEASURES = {
    "fanout": Prose(
        "Fan-out",
        """
One room; a closed loop keeps 1, 16 or 64 events in flight, a new one going out when the oldest has
landed at every watcher. Fanfare's publisher speaks `publish` over its socket: signals
(`ephemeral: true`), and in its last row durable events, each committed to the database before it
goes out. The database's own CPU time is not in the figure.
""",
    ),
    "fanout-redis": Prose(
        "Fan-out through Redis",
        """
Two nodes and a Redis, all on the server's core. The same watchers on the first node are told what
is published there, and what is published at the second. The figure is that of the first node.
""",
    ),
    "latency": Prose(
        "Latency",
        """
An open loop: events are due at a fixed rate, whether the server keeps up or not, and each one's
clock starts when it was due. So a server that stalls pays for all that it kept waiting.
""",
    ),
    "memory": Prose(
        "Memory",
        """
Idle connections, with the headers of a browser and three subscriptions each (nchan: one, it has no
more on a connection). RSS of the server with all of them, less that before the first, divided. A
server that accepts compression is asked again without the offer, which is kind to it.
""",
    ),
    "connects": Prose(
        "Connecting",
        """
The handshake, the Socket.IO connect where there is one, and one subscription, until it is acked.
Fanfare authenticates each; the peers let everybody in. In the storm all call at once.
""",
    ),
    "acks": Prose(
        "Acked publishes",
        "Signals that nobody watches, sent over the socket, each of which is answered.",
    ),
    "durable": Prose(
        "Durable publishes",
        """
Events of the log, sent by clients that wait for each ack, which comes after the commit.
SQLite works on the server's core; PostgreSQL has the other one, beside the load.
""",
    ),
    "stalled": Prose(
        "Stalled watchers",
        """
Events of 30 KB, 50 a second, to 20 watchers, of whom 2 stop reading. Fanfare's events are durable:
who stalled is cut off, and finds all of them in the log. The peers keep them in memory, or wait for
who does not read, and keep the others waiting: then a run is incomplete.
""",
    ),
    "flat": Prose(
        "Ten times more",
        """
What a delivery, or a page, costs Fanfare with ten times more rooms (and watchers), registered users
or history than before, and a page at the far end of a long channel.
""",
    ),
    "pages": Prose(
        "Reading over HTTP",
        """
The newest 50 messages of a channel, a snapshot of it, and a page that has not changed, from the
same rows of one PostgreSQL. All three servers run at once on the server's core, and are asked in
turn. The peers check no token and no right; their snapshots have somewhat less in them. The
database's CPU time is not in the figure.
""",
    ),
}
