"""Links between pages lead somewhere, and no decision is left out."""

import re

import pytest

from tests.docs.pages import anchors, blocks, links, markdown_pages, read
from tests.support.tree import ROOT, name_of

PAGES = [name_of(path) for path in markdown_pages()]
DECISIONS = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("0*.md"))


class TestLinks:
    @pytest.mark.parametrize("page", PAGES)
    def test_every_link_leads_to_a_file_and_a_heading(self, page):
        """Links to other sites are not tried: the tests need no network."""
        broken = []
        for link in links(read(page)):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (ROOT / page).parent / path if path else ROOT / page
            if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
                broken.append(link)

        assert not broken

    @pytest.mark.parametrize("page", PAGES)
    def test_every_fence_is_closed(self, page):
        """An open one would swallow the rest of the page, and its examples with it."""
        fences = [line for line in read(page).splitlines() if line.startswith("```")]

        assert len(fences) == 2 * len(blocks(page))

    @pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
    def test_every_file_that_is_named_exists(self, page):
        """Paths in backticks, from the root."""
        told = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|md|yml))`", read(page))

        assert not [name for name in told if not (ROOT / name).exists()]


class TestDecisions:
    def test_each_is_in_the_list_with_its_title(self):
        index = read("docs/decisions/README.md")
        for name in DECISIONS:
            title = read(f"docs/decisions/{name}").splitlines()[0].partition(": ")[2]
            assert f"({name}) | {title} |" in index

    def test_they_are_numbered_without_a_gap(self):
        assert [name[:4] for name in DECISIONS] == [f"{n + 1:04}" for n in range(len(DECISIONS))]

    @pytest.mark.parametrize("name", DECISIONS)
    def test_each_says_why_and_what_would_change_it(self, name):
        text = read(f"docs/decisions/{name}")

        assert text.startswith(f"# {name[:4]}: ")
        for heading in ("Context", "Decision", "Consequences", "What would make us change it"):
            assert f"\n## {heading}\n" in text
        assert len(text.splitlines()) <= 70

    def test_each_file_of_the_tree_is_in_the_picture_of_folders(self):
        """docs/architecture.md names every module at the top, and every folder."""
        text = read("docs/architecture.md")
        modules = [path.stem for path in ROOT.glob("*.py")]
        parts = [path.stem for path in (ROOT / "realtime").glob("[a-z]*.py")]

        assert not [name for name in modules if f"{name}.py" not in text]
        assert not [name for name in parts if f"{name}.py" not in text]
