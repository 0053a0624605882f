"""The words that records have for the end of a game."""

import pytest

from keisei.records.ends import ILLEGAL_MOVE, UNKNOWN, End, read_end, read_summary


@pytest.mark.parametrize(
    ("by", "white_to_move", "winner"),
    [
        ("mover", False, "black"),
        ("mover", True, "white"),
        ("other", False, "white"),
        ("other", True, "black"),
        ("black", True, "black"),
        ("white", False, "white"),
        ("draw", False, "draw"),
        (None, True, None),
    ],
)
def test_the_winner_follows_from_the_side_to_move(
    by: str, white_to_move: bool, winner: str | None
) -> None:
    end = End("resign", by)  # type: ignore[arg-type]
    assert end.winner(white_to_move=white_to_move) == winner


@pytest.mark.parametrize(
    "word", ["%TIME_UP", "time-up", "Time Up", " timeup\n", "切れ負け", "時間切れ"]
)
def test_case_and_separators_do_not_change_an_end_word(word: str) -> None:
    assert read_end(word) == End("timeout", "other")


def test_the_sign_in_front_of_an_illegal_action_names_its_side() -> None:
    assert read_end("%+ILLEGAL_ACTION") == End(ILLEGAL_MOVE, "white")
    assert read_end("%-ILLEGAL_ACTION") == End(ILLEGAL_MOVE, "black")
    assert read_end("%ILLEGAL_MOVE") == End(ILLEGAL_MOVE, "other")


@pytest.mark.parametrize("word", ["最大手数", "max_moves", "中断", "chudan", "不詰"])
def test_a_game_that_was_stopped_has_no_winner(word: str) -> None:
    end = read_end(word)
    assert end is not UNKNOWN
    assert end.by is None


@pytest.mark.parametrize("word", ["", "%", "投", "resigned", "the game ends"])
def test_another_word_is_unknown(word: str) -> None:
    assert read_end(word) is UNKNOWN


@pytest.mark.parametrize(
    ("line", "reason", "by"),
    [
        ("まで87手で先手の勝ち", "resign", "black"),
        ("まで、８７手で後手の勝ち", "resign", "white"),
        ("まで87手で先手の負け", "resign", "white"),
        ("まで87手で上手の勝ち", "resign", "white"),
        ("まで87手で下手の反則負け", ILLEGAL_MOVE, "white"),
        ("まで87手で時間切れにより後手の勝ち", "timeout", "white"),
        ("まで87手で先手の入玉勝ち", "win_by_declaration", "black"),
        ("まで87手で詰", "mate", "other"),
        ("まで87手で千日手", "repetition_draw", "draw"),
    ],
)
def test_a_summary_names_reason_and_winner(line: str, reason: str, by: str) -> None:
    found = read_summary(line)
    assert (found.reason, found.by) == (reason, by)


@pytest.mark.parametrize("line", ["まで", "まで87手", "まで87手で次の一手"])
def test_a_summary_without_an_end_is_unknown(line: str) -> None:
    assert read_summary(line) is UNKNOWN
