"""``keisei games export``."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keisei.cli.main import main
from keisei.config import Settings
from keisei.events import Game
from keisei.records import GameRecord, read_games, record_files
from keisei.store import Database, MatchGame, MatchTable, RunDirectory

MATED = "sfen 4k4/9/4P4/9/9/9/9/9/4K4 b G 1"


def match_game(number: int, moves: str = "7g7f 3c3d") -> MatchGame:
    return MatchGame(
        number=number,
        pair=number // 2,
        opening="startpos",
        black="run@100",
        white="random",
        result="white",
        reason="resignation",
        plies=len(moves.split()),
        start="startpos",
        moves=moves,
        values=(0.5,) * len(moves.split()),
    )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    with RunDirectory.create(Settings(), tmp_path / "run") as made:
        table = MatchTable(made.path)
        for key in ("e/1", "f2"):  # an id that cannot be a file's name
            table.begin(key, 100, {})
        table.add("e/1", [match_game(1), match_game(0, "2g2f 8c8d")])
        table.add("f2", [match_game(0)])
        table.add_played(replace(match_game(0, "5g5f 5c5d"), black="Anna"), "Anna")
        table.close()
        database = Database(made.database)
        fields = {"run": "run", "step": 1, "time": 2.0, "plies": 1, "reason": "checkmate"}
        database.append([
            Game(id=4, result="black", record=f"{MATED} moves G*5b", **fields),  # type: ignore[arg-type]
            Game(id=3, result="capped", record="startpos moves 7g7f", **fields),  # type: ignore[arg-type]
        ])  # fmt: skip
        database.close()
        yield made.path


def lines(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert main(["games", "export", *map(str, words)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_usi_prints_one_line_per_game(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ["startpos moves 2g2f 8c8d resign", "startpos moves 7g7f 3c3d resign"]
    last = "startpos moves 7g7f 3c3d resign"
    assert lines(capsys, run, "--format", "usi") == [*first, last]
    assert lines(capsys, run, "--format", "usi", "--evaluation", "e/1") == first
    assert lines(capsys, run, "--format", "usi", "--self-play") == [
        "startpos moves 7g7f max_moves",
        f"{MATED} moves G*5b",
    ]


@pytest.mark.parametrize("form", ["kif", "csa", "usi"])
def test_every_game_gets_a_file(
    run: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "games"
    ending = "kifu" if form == "kif" else form
    for _ in range(2):  # the second time overwrites them
        assert main(["games", "export", str(run), "--format", form, "--out", str(out)]) == 0
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("", f"3 games in {out}\n")
    names = [f"e_1-0000.{ending}", f"e_1-0001.{ending}", f"f2-0000.{ending}"]
    assert [file.name for file in record_files([out])] == names
    (game,) = read_games(out / names[0])
    assert isinstance(game, GameRecord)
    assert (game.moves, game.winner, game.reason) == (("2g2f", "8c8d"), "white", "resign")
    if form != "usi":
        text = (out / names[0]).read_text()
        for said in ("run@100", "random", "evaluation e/1, game 0", "*value +0.5"):
            assert said in text


def test_games_of_self_play_are_written_as_kif(run: Path, tmp_path: Path) -> None:
    words = ["games", "export", str(run), "--format", "kif", "--self-play", "--out", str(tmp_path)]
    assert main(words) == 0
    (mated,) = read_games(tmp_path / "self-play-00000004.kifu")
    assert isinstance(mated, GameRecord)
    assert (mated.winner, mated.reason) == ("black", "mate")
    (cut,) = read_games(tmp_path / "self-play-00000003.kifu")
    assert isinstance(cut, GameRecord)
    assert cut.winner is None


def test_a_run_without_games_reports_0_games(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunDirectory.create(Settings(), tmp_path / "new") as made:
        assert main(["games", "export", str(made.path), "--format", "usi"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "0 games\n")
    assert not made.database.exists()  # reading writes nothing


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere", "--format", "usi"], 2, "nowhere: no such file or folder"),
        (["RUN", "--format", "usi", "--evaluation", "x"], 2, "has no evaluation 'x'"),
        (["RUN", "--format", "kif"], 2, "--out: a folder is missing; the format kif"),
        (["RUN", "--format", "pgn"], 2, "--format"),
        (["RUN"], 2, "--format"),
        (["RUN", "--format", "usi", "--self-play", "--evaluation", "x"], 2, "not allowed with"),
        (["RUN", "--format", "csa", "--out", "RUN/run.toml"], 3, "run.toml: File exists"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(
    run: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["games", "export", *(word.replace("RUN", str(run)) for word in words)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err


def test_a_game_with_an_illegal_move_is_reported(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = MatchTable(run)
    table.add("f2", [match_game(7, "7g7f 7g7f")])
    table.close()
    assert main(["games", "export", str(run), "--format", "kif", "--out", str(tmp_path)]) == 1
    assert "evaluation f2, game 7: illegal move" in capsys.readouterr().err


def test_json_prints_one_object_per_game(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    games = [json.loads(line) for line in lines(capsys, run, "--json")]
    assert next(game["moves"] for game in games) == ["2g2f", "8c8d"]
    assert games[0]["result"] == "white"
    assert games[0]["event"] == "evaluation e/1, game 0"


def test_games_of_people_are_written_apart_from_evaluations(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(capsys, run, "--format", "usi", "--played") == ["startpos moves 5g5f 5c5d resign"]
    assert len(lines(capsys, run, "--format", "usi")) == 3
    words = ["games", "export", str(run), "--format", "kif", "--out", str(tmp_path), "--played"]
    assert main(words) == 0
    text = (tmp_path / "play-0001.kifu").read_text()
    assert "Anna" in text
    assert "play, game 1" in text
