"""USI records: one game a line."""

from pathlib import Path
from typing import Any

import pytest

from keisei.records import GameRecord, RecordError, read_games
from keisei.shogi import START_SFEN

USI = (Path(__file__).parent / "examples" / "games.usi").read_text(encoding="utf-8")


def read(folder: Path, text: str) -> list[GameRecord | RecordError]:
    file = folder / "a.usi"
    file.write_bytes(text.encode())
    return list(read_games(file))


def one(folder: Path, text: str) -> Any:
    (found,) = read(folder, text)
    return found


def test_each_line_is_a_game_or_an_error(tmp_path: Path) -> None:
    found = read(tmp_path, USI)
    games = {int(g.source.split(":")[-1]): g for g in found if isinstance(g, GameRecord)}
    ends = {line: (len(g.moves), g.winner, g.reason) for line, g in games.items()}
    assert ends == {
        2: (2, "white", "resign"),
        3: (3, None, "unknown"),
        5: (1, "black", "resign"),
        6: (1, None, "unknown"),
        8: (1, "white", "win_by_declaration"),
        9: (2, "draw", "repetition_draw"),
        10: (1, None, "max_moves"),
        11: (2, None, "unknown"),
    }
    assert games[6].start == "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
    problems = [
        str(e).removeprefix(f"{tmp_path}/a.usi:") for e in found if isinstance(e, RecordError)
    ]
    assert [problem.split(": ")[0] for problem in problems] == ["7", "12", "13", "14"]
    assert "ply 4: 2a2b is not legal" in problems[0]
    assert "expected the word moves after startpos, not 7g7f" in problems[1]
    assert "no moves" in problems[2]
    assert "board has 4 ranks" in problems[3]


BARE = START_SFEN.removesuffix(" 1")


@pytest.mark.parametrize(
    ("line", "moves", "winner", "reason"),
    [
        ("startpos moves 7g7f 3c3d # resign", 2, None, "unknown"),
        ("   startpos moves 7g7f resign#", 1, "black", "resign"),
        (f"sfen {BARE} moves 7g7f time_up", 1, "black", "timeout"),
        (f"position\tsfen\t{BARE}\tmoves\t7g7f", 1, None, "unknown"),
        (f"{BARE} moves 7g7f 3c3d", 2, None, "unknown"),
        ("position\u3000startpos  moves\t7g7f 3c3d Resign", 2, "white", "resign"),
        ("7g7f 3c3d adjourned", 2, None, "unknown"),
        ("startpos moves 7g7f max-moves", 1, None, "max_moves"),
    ],
)
def test_a_line_may_be_written_in_several_ways(
    tmp_path: Path, line: str, moves: int, winner: str | None, reason: str
) -> None:
    game = one(tmp_path, f"\ufeff# first\n\n  # second\n\t\n{line}\n")
    assert (len(game.moves), game.winner, game.reason) == (moves, winner, reason)
    assert game.start == START_SFEN
    assert game.source == f"{tmp_path}/a.usi:5"


def test_an_unknown_word_between_moves_is_an_error(tmp_path: Path) -> None:
    for line in ("startpos moves 7g7f pass 3c3d", "startpos moves 7g7f 3c3e", "7g7f 3c3d?"):
        assert "ply 2: " in str(one(tmp_path, line))
    error = one(tmp_path, "startpos moves 3c3d")
    assert str(error).endswith(
        "; if the move is right, the start position is wrong: it was taken from the line"
    )


def test_a_game_of_more_plies_than_can_be_counted_is_refused(tmp_path: Path) -> None:
    text = f"startpos moves {'2h3h 8b7b 3h2h 7b8b ' * 17_000}"
    assert "more than 65,534 moves" in str(one(tmp_path, text))
