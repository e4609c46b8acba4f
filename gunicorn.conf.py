"""gunicorn's settings, made from ours: `gunicorn -c gunicorn.conf.py run:app`.

Read again at SIGHUP; settings that are wrong then leave those before in force.
"""

import sys
from pathlib import Path

_root = Path(__file__).resolve().parent
sys.path.insert(0, str(_root))

from realtime import worker

_settings, raw_env = worker.read_settings(_root / "run.py")
_host = _settings["host"]

bind = f"[{_host}]:{_settings['port']}" if ":" in _host else f"{_host}:{_settings['port']}"
workers = _settings["workers"]
worker_class = "realtime.worker.FanfareWorker"
worker_connections = _settings["worker_connections"]
backlog = worker.BACKLOG
timeout = worker.TIMEOUT_S
# The workers end by themselves within GRACE_S.
graceful_timeout = int(_settings["grace_s"]) + 5
# It would be a thread in a process that forks, and a file in a folder that may be read-only.
control_socket_disable = True

worker.make_metrics_folder()
on_starting = worker.open_doors
pre_fork = worker.give_slot
child_exit = worker.forget_gauges
on_exit = worker.remove_metrics
