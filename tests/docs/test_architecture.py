"""docs/architecture.md is true where numbers and names can tell."""

import re
from collections.abc import Iterable

import pytest

import app
from core.services import accounts, callers, history, notifications, snapshots
from core.store import channels
from realtime import connection, node, track
from tests.docs.pages import read, rows
from tests.support.tree import ROOT

PAGE = "docs/architecture.md"
LIMITS = node.NodeLimits()
MIB = 1024 * 1024
SENTENCES = {
    PAGE: [
        f"The last {LIMITS.tail_events} events of each watched stream",
        f"{LIMITS.tail_bytes // MIB} MiB over all streams",
        f"for {LIMITS.linger_s:g} seconds after the last watcher left",
        f"all watched streams, {node._COMPARE_AT_ONCE} in one query",
        f"the node waits {node._PATIENCE_S * 1000:g} ms for the earlier one",
        f"hints that came early, at most {track._MOST_EARLY}",
        f"by force after {connection._GOODBYE_S:g} seconds",
        f"pages end at {history.MAX_PAGE_BYTES // 1024} KiB",
        f"(`api/cache.py`, {app._PAGE_CACHE_BYTES // MIB} MiB together)",
    ],
    "docs/protocol.md": [
        f"A page ends at {history.MAX_PAGE_BYTES // 1024} KiB",
        f"and stops at {channels.UNREAD_CAP}",
        f"at most {snapshots.SYNC_MEMBERS} members",
        f"at most {notifications.MAX_MARKED} in one call",
        f"within {accounts.TICKET_TTL_S} seconds",
    ],
}


def flat(text: str) -> str:
    return " ".join(text.split())


def sentences() -> Iterable[tuple[str, str]]:
    return [(page, text) for page, texts in SENTENCES.items() for text in texts]


class TestNumbers:
    @pytest.mark.parametrize(("page", "sentence"), sentences())
    def test_a_number_is_that_of_the_code(self, page, sentence):
        """A constant that moves takes its sentence along."""
        assert sentence in flat(read(page))

    def test_callers_are_forgotten_in_half_a_second(self):
        assert callers._KEEP_MS == 500
        assert "remembered for half a second at most" in flat(read(PAGE))

    def test_the_pages_that_a_node_gives_are_those_of_the_log(self):
        assert LIMITS.page_bytes == history.MAX_PAGE_BYTES


class TestFacts:
    @pytest.mark.parametrize("row", rows(read(PAGE), "fact", "what we do"), ids=lambda r: r[0][:40])
    def test_what_holds_a_fact_exists(self, row):
        """A file, or a name of the code."""
        for name in re.findall(r"`([\w./]+)`", row[2]):
            if "/" in name or name.endswith(".py"):
                beside = ROOT / "tests" / "realtime" / name
                assert (ROOT / name).exists() or beside.exists(), name
            else:
                assert self.is_defined(name.rpartition(".")[2]), name

    def is_defined(self, name: str) -> bool:
        pattern = re.compile(rf"^\s*(?:def|class) {name}\b", re.MULTILINE)
        paths = [*(ROOT / "realtime").glob("*.py"), *(ROOT / "core").rglob("*.py")]
        return any(pattern.search(path.read_text()) for path in paths)
