"""`make cluster`: a whole installation in the foreground, until Ctrl-C.

From the environment come NODES (3), PORT of nginx (5000), and CLUSTER_DIR to keep the data in;
words such as LOG_LEVEL=debug are settings of every node.
"""

import os
import secrets
import signal
import sys
import time
from pathlib import Path

from cluster import process
from cluster.cluster import DATABASE, Cluster, ClusterOptions
from cluster.nodes import ROOT
from cluster.process import ProcessError
from cluster.redis import RedisOptions

LOOK_EVERY_S = 0.2
REDIS_CONF = ROOT / "deploy" / "redis" / "redis.conf"


class _EndError(Exception):
    """Somebody asked for the end."""


def main() -> int:
    """Start everything, tell where it is, and stay until told to end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    process.die_with_us()
    process.allow_files()
    try:
        options = _options()
        print("Starting PostgreSQL, Redis, the nodes and nginx …", flush=True)
        with Cluster(options) as cluster:
            try:
                _tell(cluster)
                _watch(cluster)
            except _EndError:
                print("\nStopping all of it …", flush=True)
            finally:
                _let_nothing_disturb()
    except _EndError:
        print("Stopped before all of it had started; nothing is left running.", flush=True)
    except (ProcessError, FileNotFoundError, ValueError) as error:
        print(f"{error}\nNothing is left running.", file=sys.stderr)
        return 1
    return 0


def _options() -> ClusterOptions:
    folder = os.environ.get("CLUSTER_DIR")
    settings = dict(word.partition("=")[::2] for word in sys.argv[1:])
    return ClusterOptions(
        nodes=int(os.environ.get("NODES") or 3),
        port=int(os.environ.get("PORT") or 5000),
        folder=Path(folder) if folder else None,
        # Its port is open to everybody on this machine.
        redis=RedisOptions(
            password=secrets.token_hex(24),
            settings={"include": str(ROOT / "deploy/redis/redis.conf")},
        ),
        settings=settings,
    )


def _end(*_signal: object) -> None:
    _let_nothing_disturb()
    raise _EndError


def _let_nothing_disturb() -> None:
    # Ctrl-C twice must not leave half of it running.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _tell(cluster: Cluster) -> None:
    env = cluster.folder / "env"
    env.touch(mode=0o600)
    env.write_text("".join(f"{name}='{value}'\n" for name, value in cluster.environment().items()))
    if cluster.nginx is not None:
        print(f"Fanfare, {len(cluster.nodes)} nodes behind one address: {cluster.url}")
    else:
        print(f"Fanfare, {len(cluster.nodes)} nodes, each at its port: no nginx is installed.")
    for node in cluster.nodes:
        print(f"  {node.name:11}{node.url}  process {node.pid}, log {node.log_path}")
    print(f"  Redis      {cluster.redis.address}  process {cluster.redis.pid}")
    print(f"  PostgreSQL psql -h {cluster.postgres.folder} -U fanfare {DATABASE}")
    kept = "kept" if cluster.options.folder else "removed at the end; CLUSTER_DIR=… keeps it"
    print(f"  data       {cluster.folder} ({kept})")
    print(f"  run.py     (set -a; . {env}; python run.py create-admin ada)")
    print("Ctrl-C stops all of it.", flush=True)


def _watch(cluster: Cluster) -> None:
    lost: set[str] = set()
    while True:
        for name, part in cluster.parts.items():
            if name not in lost and not part.is_running():
                lost.add(name)
                print(f"{name} has ended; the others go on.", flush=True)
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
