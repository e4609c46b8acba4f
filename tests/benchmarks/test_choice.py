"""What `python -m benchmarks` measures, by what it is told."""

import pytest

from benchmarks.__main__ import MEASURES, chosen, parser
from benchmarks.peers.session import MEASURES as BESIDE_PEERS

OWN, BESIDE = list(MEASURES), list(BESIDE_PEERS)


class TestTheChoice:
    @pytest.mark.parametrize(
        ("words", "own", "beside"),
        [
            ([], OWN, BESIDE),
            (["--quick"], OWN, BESIDE),
            (["--peers"], [], BESIDE),
            (["--only", "create"], ["create"], []),
            (["--only", "fanout", "--only", "acks"], [], ["fanout", "acks"]),
            (["--only", "fanout", "--only", "create"], ["create"], ["fanout"]),
            (["--database", "sqlite"], OWN, []),
            (["--profile", "--only", "create"], ["create"], []),
        ],
    )
    def test_words_choose(self, words: list[str], own: list[str], beside: list[str]) -> None:
        assert chosen(parser().parse_args(words)) == (own, beside)

    def test_no_name_means_two_things(self) -> None:
        """`--only` takes both kinds."""
        assert not set(OWN) & set(BESIDE)
