"""``keisei mate``."""

import json
from pathlib import Path

import pytest

from keisei.cli.main import main

MATE = "4k4/9/4P4/9/9/9/9/9/4K4 b 2G 1"
NONE = "4k4/9/9/9/9/9/9/9/4K4 b G 1"
LINES = f"# two positions\n{MATE}\nposition sfen {NONE} moves G*5h 5a5b\n"
KIF = """\
後手の持駒：なし
  ９ ８ ７ ６ ５ ４ ３ ２ １
+---------------------------+
| ・ ・ ・ ・v玉 ・ ・ ・ ・|一
| ・ ・ ・ ・ ・ ・ ・ ・ ・|二
| ・ ・ ・ ・ 歩 ・ ・ ・ ・|三
| ・ ・ ・ ・ ・ ・ ・ ・ ・|四
| ・ ・ ・ ・ ・ ・ ・ ・ ・|五
| ・ ・ ・ ・ ・ ・ ・ ・ ・|六
| ・ ・ ・ ・ ・ ・ ・ ・ ・|七
| ・ ・ ・ ・ ・ ・ ・ ・ ・|八
| ・ ・ ・ ・ 玉 ・ ・ ・ ・|九
+---------------------------+
先手の持駒：金二
手数----指手---------消費時間--
"""
CSA = "P1 *  *  *  * -OU *  *  *  * \nP+59OU53FU00KI00KI\n+\n"

# With an empty cache, the first test compiles the kernels.
pytestmark = pytest.mark.timeout(300)


def test_a_mate_is_printed_in_usi_and_in_japanese(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mate", *MATE.split()]) == 0
    first, usi, japanese, effort = capsys.readouterr().out.splitlines()
    assert (first, usi, japanese) == ("mate in 1", "G*5b", "▲５二金")
    assert effort.startswith("1 positions in 0.0")


def test_each_position_of_a_file_gets_a_line_and_the_last_line_counts_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "problems.txt"
    file.write_text(LINES)
    assert main(["mate", str(file)]) == 0
    first, second, total = capsys.readouterr().out.splitlines()
    assert first == f"{file}:2: mate in 1  G*5b"
    assert second == f"{file}:3: no mate by checks alone"
    assert total.startswith("2 positions: 1 with a mate, 1 without, 0 unknown; ")


@pytest.mark.parametrize(("name", "text"), [("a.kif", KIF), ("a.csa", CSA)])
def test_a_record_without_moves_gives_its_start_position(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text)
    assert main(["mate", str(tmp_path / name), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sfen"], found["moves"], found["shortest"]) == (MATE, ["G*5b"], True)


def test_the_exit_code_is_1_if_a_position_is_not_decided(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hard = "ln2g3l/2s1g2s1/5knS1/p5R1p/1ppp3n1/P3+p3P/2Rg3PL/4l4/g+b1K1s1N1 w BP8p 1"
    assert main(["mate", hard, "--nodes", "1"]) == 1
    assert capsys.readouterr().out.startswith("unknown: a limit was reached\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["9/9", "b", "-", "1"], "SFEN|FILE: no such file, and not a position: board has 2 ranks"),
        (["missing.kif"], "missing.kif: No such file or directory"),
        ([MATE, "--nodes", "0"], "--nodes: must be 1 or more (got 0)"),
        ([MATE, "--seconds", "0"], "--seconds: must be more than 0 (got 0.0)"),
        ([MATE, "--memory", "0"], "--memory: must be from 1 to 1,048,576 (got 0)"),
    ],
)
def test_a_bad_argument_is_reported(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mate", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_bad_line_of_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "problems.txt"
    file.write_text(f"{MATE}\nstartpos moves 7g7e\n")
    assert main(["mate", str(file)]) == 2
    assert f"{file}:2: 7g7e is not legal here" in capsys.readouterr().err
