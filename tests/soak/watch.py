"""What a process holds, sampled from outside and by what it tells of itself."""

import re
import time
from pathlib import Path

from tests.regression.wires import call
from tests.soak.judge import Sample
from tests.support.server import Server

_GAUGES = re.compile(r"^fanfare_(greenlets|sessions) (\S+)$", re.MULTILINE)


class Watch:
    """The samples of one server, in order."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began_s = time.monotonic()
        self.samples: list[Sample] = []

    def look(self) -> Sample:
        """Take one more."""
        process = Path(f"/proc/{self._server.pid}")
        status = (process / "status").read_text()
        told = dict(_GAUGES.findall(call(self._server, "GET", "/metrics").text))
        sample = Sample(
            at_s=time.monotonic() - self._began_s,
            memory_mib=int(status.partition("VmRSS:")[2].split()[0]) / 1024,
            files=len(list((process / "fd").iterdir())),
            greenlets=float(told["greenlets"]),
            sessions=float(told["sessions"]),
        )
        self.samples.append(sample)
        return sample
