"""``keisei ratings``."""

import json
from pathlib import Path

import pytest

from keisei.cli.main import main
from keisei.config import Settings
from keisei.store import Database, MatchGame, MatchTable, RunDirectory, RunReader


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with RunDirectory.create(Settings(), tmp_path / "run") as made:
        Database(made.database).close()
    return made.path


def play(run: Path, black: str, white: str, results: str) -> None:
    """Store the games of an evaluation; a result is b, w or d for black, white or draw."""
    names = {"b": "black", "w": "white", "d": "draw"}
    games = [
        MatchGame(
            number=number, pair=number // 2, opening="startpos", black=black, white=white,
            result=names[result],  # type: ignore[arg-type]
            reason="checkmate", plies=1, start="startpos", moves=f"m{number}",
        )
        for number, result in enumerate(results)
    ]  # fmt: skip
    table = MatchTable(run)
    table.begin(f"{black}-{white}", 20, {})
    table.add(f"{black}-{white}", games)
    table.close()


def test_the_table_lists_all_players_strongest_first(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(run, "run@20", "random", "b" * 12 + "w" * 4)
    play(run, "random", "run@20", "w" * 12 + "b" * 4)
    play(run, "material", "run@20", "b" * 6)
    assert main(["ratings", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Elo", "95", "%", "interval", "games", "score", "player"]
    assert [line.split()[-1] for line in lines[1:4]] == ["unknown)", "run@20", "random"]
    assert "material  (size unknown)" in lines[1]
    assert lines[3].split()[:2] == ["+0", "+0"]
    assert lines[4].startswith("random is 0. Moving first is worth ")

    assert main(["ratings", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["anchor"] == "random"
    players = {line["player"]: line for line in found["players"]}
    assert list(players) == ["material", "run@20", "random"]
    assert players["run@20"]["games"] == 38
    assert players["run@20"]["score"] == pytest.approx(24 / 38)
    assert 100 < players["run@20"]["elo"] < 300  # 3 of 4 against the anchor: some 190
    kept = {row["player"]: row["elo"] for row in RunReader(run).ratings()}
    assert kept == {name: line["elo"] for name, line in players.items()}


def test_without_the_random_player_the_first_player_is_the_anchor(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(run, "run@10", "run@20", "bwdd")
    assert main(["ratings", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["anchor"] == "run@10"


def test_a_run_without_ratings_is_reported_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code, said in (
        ([str(run)], 1, f"{run}: no evaluation has a game yet; run keisei evaluate first"),
        ([str(tmp_path / "nowhere")], 2, "nowhere"),
        ([], 2, "RUN"),
    ):
        assert main(["ratings", *words]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert said in captured.err
