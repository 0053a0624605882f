"""``keisei perft``, ``keisei moves`` and ``keisei bench env``."""

import json
import os

import pytest

from keisei.cli.main import main
from keisei.shogi import Position

KINGS = "4k4/9/9/9/9/9/9/9/4K4 b - 1"


def test_perft_prints_the_count_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perft", "3"]) == 0
    assert capsys.readouterr().out == "25470\n"
    assert main(["perft", "0"]) == 0
    assert capsys.readouterr().out == "1\n"


def test_divide_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perft", "2", "--sfen", KINGS, "--divide"]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    counts = dict(line.split(": ") for line in lines)
    assert sorted(counts) == Position(KINGS).legal_moves()
    assert sum(map(int, counts.values())) == int(total) == 25


def test_moves(capsys: pytest.CaptureFixture[str]) -> None:
    expected = "".join(f"{move}\n" for move in Position(KINGS).legal_moves())
    for words in ([KINGS], KINGS.split()):
        assert main(["moves", *words]) == 0
        assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    "line",
    ["position startpos moves 7g7f", "startpos\tmoves 7g7f # a note", "7g7f"],
)
def test_moves_takes_any_line_of_usi(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    position = Position()
    position.push("7g7f")
    assert main(["moves", *line.split()]) == main(["moves", line]) == 0
    assert capsys.readouterr().out.split() == 2 * position.legal_moves()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["perft", "-1"], "DEPTH: must be 0 or more (got -1)"),
        (["perft", "0", "--divide"], "--divide: needs"),
        (["perft", "1", "--sfen", "9/9 b - 1"], "--sfen: board has 2 ranks"),
        (["moves", "4k4/9/9/9/9/9/9/9/10K b - 1"], "SFEN: rank 9"),
        (["moves", "startpos", "moves", "7g7e"], "SFEN: 7g7e is not legal here"),
        (["moves", "startpos", "7g7f"], "SFEN: moves was expected, not 7g7f"),
        (["moves", "# nothing"], "SFEN: neither a position nor a move"),
    ],
)
def test_bad_arguments(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_bench_env(capsys: pytest.CaptureFixture[str]) -> None:
    cores = os.sched_getaffinity(0)
    assert main(["bench", "env", "--steps", "8192", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    speeds = report["steps_per_second"]
    assert set(speeds) == {"256", "1024", "4096"}
    assert report["best"]["steps_per_second"] == max(speeds.values()) > 0
    assert report["repeats"] == 7
    assert all(len(batch["checksum"]) == 16 for batch in report["batches"].values())
    assert os.sched_getaffinity(0) == cores
