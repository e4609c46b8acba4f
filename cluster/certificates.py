"""Certificates for trying TLS out: an authority of one's own, a server's and a client's.

They are good for a day and for this machine's loopback alone; `openssl` makes them.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_DAYS = "1"
_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority (its certificate alone is of use), and what it signed."""

    authority: Path
    server: Pair
    client: Pair


def find_openssl() -> str | None:
    """Return the path of `openssl`, or None where it isn't installed."""
    return shutil.which("openssl")


def make_certificates(folder: Path) -> Certificates:
    """Make an authority in `folder`, and what it signs for a server and for a client."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Pair(folder / "ca.crt", folder / "ca.key")
    options = ["-subj", "/CN=Fanfare test authority", "-days", _DAYS]
    _openssl("req", "-x509", *_new(authority.key), *options, "-out", str(authority.certificate))
    return Certificates(
        authority.certificate,
        server=_sign(folder, "server", authority),
        client=_sign(folder, "client", authority),
    )


def _sign(folder: Path, name: str, authority: Pair) -> Pair:
    made = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text(_NAMES)
    _openssl("req", *_new(made.key), "-subj", f"/CN={name}", "-out", str(request))
    signer = ["-CA", str(authority.certificate), "-CAkey", str(authority.key), "-CAcreateserial"]
    options = ["-days", _DAYS, "-extfile", str(extensions), "-out", str(made.certificate)]
    _openssl("x509", "-req", "-in", str(request), *signer, *options)
    return made


def _new(key: Path) -> list[str]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    return [*curve, "-nodes", "-keyout", str(key)]


def _openssl(*words: str) -> None:
    program = find_openssl()
    if program is None:
        raise FileNotFoundError("no openssl on PATH")
    done = subprocess.run([program, *words], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]} failed:\n{done.stderr}")
