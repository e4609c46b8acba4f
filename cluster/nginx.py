"""nginx before some nodes, with the configuration of deploy/nginx, as an unprivileged user."""

import os
import re
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cluster.accounts import account_options, unprivileged
from cluster.folders import short_folder
from cluster.ports import LOOPBACK, free_port
from cluster.process import Process, ProcessError

TEMPLATES = Path(__file__).parents[1] / "deploy" / "nginx"


def find_nginx() -> Path | None:
    """Return the path of nginx: one's own choice, PATH, or where Debian keeps it."""
    # Debian's folder for programs of root is on no other user's PATH.
    own = os.environ.get("FANFARE_NGINX_BIN")
    found = own or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


@dataclass(frozen=True, kw_only=True)
class NginxOptions:
    """How nginx is set up; `values` are variables of deploy/nginx/README.md."""

    port: int = 0  # 0 takes a free one
    certificates: Path | None = None  # the folder of fullchain.pem and privkey.pem: TLS
    values: Mapping[str, str] = field(default_factory=dict)


class Nginx:
    """nginx before `nodes`: their names, as they stand in the ids of sessions, and addresses.

    It keeps its port over every restart.
    """

    def __init__(
        self,
        nodes: Mapping[str, str],
        options: NginxOptions | None = None,
        *,
        binary: Path | None = None,
    ) -> None:
        found = binary or find_nginx()
        if found is None:
            raise FileNotFoundError("no nginx on PATH or in /usr/sbin")
        self.binary = found
        self.options = options or NginxOptions()
        self._nodes = nodes
        self.port = self.options.port or free_port()
        self.https_port = free_port() if self.options.certificates else 0
        self._account = unprivileged()
        self.folder = short_folder("fanfare-nginx-", self._account)
        self._process = Process("nginx", self.folder / "log")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it answers."""
        if self.https_port:
            return f"https://localhost:{self.https_port}"
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its main process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it complained of so far."""
        return self._process.log

    @property
    def access_log(self) -> str:
        """The calls that it passed on so far, each a line of JSON."""
        path = self.folder / "access.log"
        return path.read_text() if path.exists() else ""

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.is_running()

    def check(self) -> str:
        """Let nginx judge the configuration (`nginx -t`), and return what it says.

        Raises: ProcessError, with what it says, when it is at fault.
        """
        self._render()
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [*self._command(), "-t"],
            check=False,
            capture_output=True,
            text=True,
            **account_options(self._account, self.folder),
        )
        if done.returncode != 0:
            raise ProcessError(f"nginx -t failed:\n{done.stderr}")
        return done.stderr

    def start(self, *, deadline_s: float = 30.0) -> None:
        """Start it and wait until it takes connections.

        Raises: ProcessError, with its log, when it does not.
        """
        self._render()
        command = [*self._command(), "-g", "daemon off;"]
        self._process.start(command, **account_options(self._account, self.folder))
        end = time.monotonic() + deadline_s
        while self.is_running() and time.monotonic() < end:
            if self._takes_connections():
                return
            time.sleep(0.02)
        self.kill()
        raise self._process.failure("did not start")

    def stop(self, *, deadline_s: float = 20.0) -> int | None:
        """End it; whoever is connected is cut off."""
        return self._process.stop(deadline_s=deadline_s)

    def kill(self) -> None:
        """End it with its workers, as a power cut would."""
        self._process.kill_group()

    def restart(self) -> None:
        """End it if it runs, and start it at the same address."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _command(self) -> list[str]:
        config = str(self.folder / "nginx.conf")
        return [str(self.binary), "-p", str(self.folder), "-c", config, "-e", "stderr"]

    def _render(self) -> None:
        for path in TEMPLATES.glob("*.template"):
            text = fill(path.read_text(), self._values())
            (self.folder / path.stem).write_text(text)
        if self.options.certificates is not None:
            self._copy_certificates(self.options.certificates)

    def _copy_certificates(self, folder: Path) -> None:
        # Its account may not be able to read where they lie.
        for name in ("fullchain.pem", "privkey.pem"):
            copy = self.folder / name
            copy.touch(mode=0o600)
            copy.write_bytes((folder / name).read_bytes())
            if self._account is not None:
                os.chown(copy, self._account.pw_uid, self._account.pw_gid)

    def _values(self) -> dict[str, str]:
        servers = [f"server {place} max_fails=1 fail_timeout=2s;" for place in self._nodes.values()]
        routes = [f'"~^{name}\\.[\\w-]+$" {place};' for name, place in self._nodes.items()]
        return {
            "NODES": " ".join(servers),
            "SID_ROUTES": " ".join(routes),
            "RESOLVER": "",
            "SCHEME": "https" if self.https_port else "http",
            "HTTP_PORT": f"{LOOPBACK}:{self.port}",
            "HTTPS_PORT": f"{LOOPBACK}:{self.https_port}",
            "CERTIFICATES": str(self.folder),
            "CONFIG": str(self.folder),
            "TEMP": str(self.folder),
            "ACCESS_LOG": str(self.folder / "access.log"),
            "MAX_BODY_BYTES": "1048576",
            "CONNECTIONS": str(min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[0])),
            # Everybody comes from one address here.
            "CONNECTS_PER_S": "10000",
            "CONNECT_BURST": "10000",
            "OUTER_PROXY": "unix:",
            **self.options.values,
        }

    def _takes_connections(self) -> bool:
        try:
            raw = socket.create_connection((LOOPBACK, self.https_port or self.port), timeout=5)
        except OSError:
            return False
        raw.close()
        # Somebody else's port is refused to nginx, which tries for some seconds and then ends.
        return self.is_running() and (self.folder / "nginx.pid").exists()


def fill(text: str, values: Mapping[str, str]) -> str:
    """Fill in ${NAME} as envsubst does; nginx's own variables are written $name and stay."""
    return re.sub(r"\$\{([A-Z_]+)\}", lambda found: values[found[1]], text)
