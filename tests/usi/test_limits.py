import pytest

from keisei.usi.limits import Limits


def parse(text: str) -> Limits:
    return Limits.parse(text.split())


def test_all_words_are_read() -> None:
    assert parse("btime 1 wtime 2 byoyomi 3 binc 4 winc 5 movetime 6 nodes 7 depth 8") == Limits(
        btime=1, wtime=2, byoyomi=3, binc=4, winc=5, movetime=6, nodes=7, depth=8
    )
    assert parse("ponder searchmoves 7g7f P*5e btime 9") == Limits(
        ponder=True, searchmoves=("7g7f", "P*5e"), btime=9
    )
    assert parse("mate 500") == Limits(solve=True, mate=500)
    assert parse("mate infinite") == Limits(solve=True)


def test_what_means_nothing_is_ignored() -> None:
    assert parse("btime -1 wtime junk byoyomi hurry now 5") == Limits(btime=0, byoyomi=5)
    assert parse(f"nodes {'9' * 40} \x00 ?") == Limits()


@pytest.mark.parametrize(
    ("words", "infinite"),
    [("infinite", True), ("infinite byoyomi", True), ("nodes 100 infinite", False), ("", False)],
)
def test_a_limit_beside_infinite_counts_instead(words: str, infinite: bool) -> None:
    assert parse(words).infinite is infinite


def test_a_go_without_limits_is_known() -> None:
    assert parse("").empty
    assert parse("ponder").empty
    for words in ("infinite", "nodes 1", "depth 1", "winc 0"):
        assert not parse(words).empty
