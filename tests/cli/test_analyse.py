"""``keisei analyse``, with the network that ships with Keisei."""

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from keisei.cli.main import main
from keisei.records import read_game
from keisei.shogi import Position

EXAMPLES = Path(__file__).parents[1] / "records/examples"
MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The command sets torch's threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def game_with_a_missed_mate() -> tuple[list[str], int]:
    """Return a random game whose last move but one is the first that gives up a mate in one."""
    dice, position, moves = random.Random(5), Position(), list[str]()
    while position.mate() is None:
        moves.append(dice.choice(position.legal_moves()))
        position.push(moves[-1])
        if position.outcome() is not None:
            position, moves = Position(), []
    for move in position.legal_moves():
        after = position.copy()
        after.push(move)
        if after.outcome() is None and not after.in_check:
            return [*moves, move, after.legal_moves()[0]], len(moves) + 1
    raise AssertionError("every move gives check")


def test_a_missed_mate_is_in_the_table_the_object_and_the_kif(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moves, ply = game_with_a_missed_mate()
    record, kif = tmp_path / "game.usi", tmp_path / "out.kifu"
    record.write_text(f"startpos moves {' '.join(moves)} resign\n")
    words = ["analyse", str(record), "--simulations", "16", "--first", str(ply - 2)]
    assert main([*words, "--kif", str(kif)]) == 0
    (line,) = (row for row in capsys.readouterr().out.splitlines() if "missed mate " in row)
    assert line.split()[0] == str(ply)
    assert "mate in 1:" in line
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [move["missed_mate"] for move in report["analysed"]] == [0, 0, 1, 0]
    assert report["analysed"][2]["verdict"] in {"", "inaccuracy", "dubious", "mistake", "blunder"}
    assert report["player"].startswith("shipped-")
    found = read_game(kif)
    assert found.moves == tuple(moves)
    assert found.reason == "resign"
    assert "【1手詰めを逃した】" in kif.read_text("utf-8")


def test_a_position_without_quotes_shows_its_best_moves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["analyse", *MATE_IN_ONE.split(), "--simulations", "5"]) == 0
    assert "mate in 1: G*5b" in capsys.readouterr().out


def test_another_game_of_a_file_is_analysed(capsys: pytest.CaptureFixture[str]) -> None:
    file = EXAMPLES / "games.usi"
    words = ["analyse", str(file), "--simulations", "1", "--json", "--game", "2"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["moves"] == list(read_game(file, 2).moves)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), True), (io.StringIO(), False)])
def test_only_a_terminal_sees_a_progress_bar(
    stream: io.StringIO, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    assert main(["analyse", "startpos", "moves", "7g7f", "--simulations", "2"]) == 0
    assert ("analysing" in stream.getvalue()) is shown


BROKEN = """手合割：平手
   1 ７六歩(77)
   2 ３四歩(33)
   3 ２二角成(77)
"""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("missing.kif", "missing.kif: no such file or folder"),
        ("nonsense", "nonsense: no such file or folder"),
        ("empty.csa", "empty.csa: game 1 was asked for, but the file contains 0"),
        ("broken.kif", "broken.kif:1: ply 3: ２二角成(77) is not legal: 7g is empty"),
        ("good.usi --game 2", "good.usi: game 2 was asked for, but the file contains 1"),
        (".", ".: a folder; one record file is needed"),
        ("startpos moves 7g7f 7g7f", "ply 2: 7g7f is not legal"),
        ("good.usi --first 4", "--first: must be from 1 to 3 (got 4)"),
        ("good.usi --first 2 --last 1", "--last: must be from 2 to 3 (got 1)"),
        ("good.usi --simulations 0", "--simulations: must be from 1 to 500,000"),
        ("good.usi --seconds 0", "--seconds: must be more than 0 (got 0.0)"),
        ("good.usi --player missing", "missing: no such file or folder"),
        ("good.usi --kif out.txt", "--kif: the file's name must end in .kifu or .kif"),
        ("good.usi --kif no/out.kif", "--kif: no is not a folder"),
        ("good.kif --kif good.kif", "--kif: good.kif is the record itself"),
        ("startpos --kif out.kif", "--kif: a position without moves is not a game"),
    ],
)
def test_a_wrong_input_is_refused_in_one_line(
    words: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.usi").write_text("startpos moves 7g7f 3c3d 2g2f\n")
    Path("good.kif").write_text(BROKEN.rpartition("   3")[0])
    Path("broken.kif").write_text(BROKEN)
    Path("empty.csa").write_text("")
    assert main(["analyse", *words.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert says in captured.err
