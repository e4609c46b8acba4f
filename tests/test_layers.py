"""The arrows of docs/architecture.md: who may import whom, and who may name which library.

A new top-level module has to find its place in these tables, which is a decision; a new import
that breaks one is named with its file and line.
"""

import sys
from collections.abc import Iterable

import pytest

from tests.support.tree import Import, imports, imports_in, modules

CORE = {"core", "core.store", "core.services"}
EDGES = {"api", "realtime", "jobs"}
PURE = {"core", "fanfare_client.core"}

# The part on the left may import the parts on the right, and itself.
ARROWS: dict[str, set[str]] = {
    "core": set(),
    "core.store": {"core"},
    "core.services": {"core", "core.store"},
    "api": CORE,
    "realtime": CORE,
    "jobs": CORE,
    "config": {"core"},
    "migrations": {"core", "core.store"},
    "logs": set(),
    "tail": {"core"},
    "app": {*CORE, *EDGES, "config", "logs", "migrations"},
    "commands": {*CORE, *EDGES, "config", "app", "tail"},
    "run": {*CORE, *EDGES, "config", "app", "commands"},
    "cluster": set(),  # starts programs, and knows what they are told alone
    "gunicorn.conf": {"realtime"},
    "fanfare_client.core": set(),
    "fanfare_client": {"fanfare_client.core"},  # on its own: it is installed without the server
    "benchmarks": {*CORE, *EDGES, "config", "app", "cluster", "commands", "tests"},
    "tests": {*CORE, *EDGES, "config", "app", "commands", "logs", "run", "tail"}
    | {"benchmarks", "cluster", "fanfare_client", "fanfare_client.core", "migrations"},
}

# What the pure modules of core may name beyond the standard library, and the parts of the
# standard library that would make them impure: clocks, randomness, files, sockets, threads.
CORE_LIBRARIES = {
    "core.fields": {"pydantic"},
    "core.ids": {"uuid_utils", "secrets"},
    "core.json": {"orjson"},
    "core.metrics": {"prometheus_client"},
    "core.passwords": {"argon2"},
    "core.times": {"time"},
    "core.validation": {"pydantic"},
    "fanfare_client.core.calls": {"urllib"},  # to quote an address, no more
}
IMPURE = {
    *("asyncio", "concurrent", "ctypes", "http", "io", "logging", "multiprocessing", "os"),
    *("pathlib", "random", "secrets", "selectors", "shutil", "signal", "socket", "sqlite3"),
    *("subprocess", "tempfile", "threading", "time", "urllib", "uuid"),
}

# A library on the left is named in the modules (and what lies under them) on the right alone.
ONLY_IN: dict[str, set[str]] = {
    "aiohttp": {"fanfare_client.doors.socket"},
    "alembic": {"migrations", "core.store", "app"},
    "engineio": {"realtime"},
    "eventlet": {f"realtime.green{part}" for part in ("", "_door", "_line", "_server")} | {"run"},
    "flask": {"api", "app", "migrations", "realtime.gateway"},
    "flask_cors": {"api", "app"},
    "flask_jwt_extended": {"api", "app"},
    "limits": {"api"},
    "flask_migrate": {"app", "commands", "core.store"},
    "flask_socketio": {"app", "realtime"},
    "flask_sqlalchemy": {"app", "core.store"},
    "greenlet": {"realtime.green"},
    "gunicorn": {"realtime.worker"},
    "httpx": {"fanfare_client"},
    "psycopg": {"core.store", "cluster.postgres"},
    "socketio": {"fanfare_client.doors.socket", "realtime", "tail.socket_door"},
    "sqlalchemy": {"core.services", "core.store", "migrations"},
    "werkzeug": {"api", "app", "realtime.gateway"},
}
FREE = {"tests", "benchmarks"}  # they look at the whole from outside


def part_of(module: str) -> str | None:
    """Return the part of the project that a module belongs to, or None if it is not ours."""
    fits = [part for part in ARROWS if is_in(module, {part})]
    return max(fits, key=len, default=None)


def is_in(module: str, places: Iterable[str]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def breaks_arrow(found: Import) -> bool:
    importer, imported = part_of(found.importer), part_of(found.imported)
    if importer is None or imported is None or importer == imported:
        return False
    return imported not in ARROWS[importer]


def breaks_purity(found: Import) -> bool:
    if part_of(found.importer) not in PURE or part_of(found.imported) is not None:
        return False
    if found.package in CORE_LIBRARIES.get(found.importer, set()):
        return False
    return found.package in IMPURE or found.package not in sys.stdlib_module_names


def breaks_library(found: Import) -> bool:
    if part_of(found.importer) in FREE:
        return False
    if found.package == "redis":
        return not found.importer.endswith("_redis")
    places = ONLY_IN.get(found.package)
    return places is not None and not is_in(found.importer, places)


def names_a_twin(found: Import) -> bool:
    """One of several implementations is named by the composition root, and by no other."""
    twin = found.imported.endswith(("_redis", "_memory")) and part_of(found.imported) is not None
    of_one_make = found.imported.endswith("_redis") and found.importer.endswith("_redis")
    return twin and not of_one_make and part_of(found.importer) not in {"app", *FREE}


RULES = (breaks_arrow, breaks_purity, breaks_library, names_a_twin)
KNOWN = frozenset({"core", "core.ids", "core.store", "realtime", "api"}) | {
    "realtime.bus_memory",
    "realtime.bus_redis",
}


class TestTheTree:
    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
    def test_no_import_breaks_the_rule(self, rule):
        offences = dict.fromkeys(str(found) for found in imports() if rule(found))

        assert not offences, "\n".join(offences)

    def test_every_module_has_its_place(self):
        """A module that no table knows would be free to import anything."""
        homeless = sorted(module for module in modules() if part_of(module) is None)

        assert not homeless

    def test_relative_imports_do_not_slip_past(self):
        relative = [str(found) for found in imports() if found.imported.startswith(".")]

        assert not relative, "\n".join(relative)


class TestTheRules:
    """The rules judge made-up imports rightly, so a green tree means something."""

    @pytest.mark.parametrize(
        ("module", "source", "rule"),
        [
            ("api.messages", "from realtime import hub", breaks_arrow),
            ("realtime.gateway", "import api.schemas", breaks_arrow),
            ("core.store.log", "from core.services import publish", breaks_arrow),
            ("core.events", "from core.store import log", breaks_arrow),
            ("core.services.publish", "from realtime.node import Node", breaks_arrow),
            ("realtime.node", "import app", breaks_arrow),
            ("api.auth", "from config import Settings", breaks_arrow),
            ("core.events", "import flask", breaks_purity),
            ("core.positions", "from time import time", breaks_purity),
            ("core.permissions", "import random", breaks_purity),
            ("core.events", "from pydantic import BaseModel", breaks_purity),
            ("fanfare_client.core.streams", "import asyncio", breaks_purity),
            ("fanfare_client.rest", "from core.ids import new_id", breaks_arrow),
            ("fanfare_client.core.calls", "from fanfare_client.rest import Rest", breaks_arrow),
            ("fanfare_client.link", "import socketio", breaks_library),
            ("api.channels", "from sqlalchemy import select", breaks_library),
            ("realtime.node", "import eventlet.queue", breaks_library),
            ("realtime.hub", "from flask import request", breaks_library),
            ("core.services.users", "from flask import g", breaks_library),
            ("realtime.bus", "import redis", breaks_library),
            ("realtime.node", "from realtime import bus_memory", names_a_twin),
            ("api.limits", "if True:\n    from realtime.bus_memory import MemoryBus", names_a_twin),
        ],
    )
    def test_an_offence_is_seen(self, module, source, rule):
        (found,) = imports_in(source, module=module, known=KNOWN)

        assert rule(found)

    @pytest.mark.parametrize(
        ("module", "source"),
        [
            ("api.messages", "from core.services import messages"),
            ("realtime.node", "from core.positions import Position"),
            ("realtime.node", "from realtime import green"),
            ("realtime.green", "import eventlet.wsgi"),
            ("realtime.bus_redis", "from redis import Redis"),
            ("realtime.gateway", "from flask import request"),
            ("core.ids", "import uuid_utils"),
            ("core.events", "from core import ids"),
            ("core.store.models", "from sqlalchemy.orm import Mapped"),
            ("app", "from realtime.bus_memory import MemoryBus"),
            ("realtime.presence_redis", "from realtime.bus_redis import RedisBus"),
            ("run", "from app import create_app"),
            ("tests.realtime.test_node", "from realtime.bus_memory import MemoryBus"),
            ("fanfare_client.link", "from fanfare_client.core.chooser import Chooser"),
        ],
    )
    def test_a_rightful_import_is_let_be(self, module, source):
        (found,) = imports_in(source, module=module, known=KNOWN)

        assert not [rule.__name__ for rule in RULES if rule(found)]
