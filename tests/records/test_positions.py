"""Positions from files."""

from pathlib import Path

import pytest

from keisei.records import RecordError
from keisei.records.positions import read_position, read_positions
from keisei.shogi import START_SFEN

AFTER = "lnsgkgsnl/1r5b1/ppppppppp/9/9/2P6/PP1PPPPPP/1B5R1/LNSGKGSNL w - 2"
KIF = "手合割：{}\n手数----指手---------消費時間--\n   1 ７六歩(77)\n"


def read(file: Path, text: str) -> list[tuple[str, str]]:
    file.write_text(text)
    return [(place, position.sfen()) for place, position in read_positions(file)]


@pytest.mark.parametrize("name", ["a.txt", "a.sfen", "a.usi", "a"])
def test_each_line_gives_the_position_after_its_moves(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    text = f"{START_SFEN}\n\n# a comment\nposition startpos moves 7g7f\n"
    assert read(file, text) == [(f"{file}:1", START_SFEN), (f"{file}:4", AFTER)]


def test_a_game_gives_its_start_position(tmp_path: Path) -> None:
    kif, csa = tmp_path / "a.kif", tmp_path / "a.csa"
    assert read(kif, KIF.format("平手")) == [(f"{kif}:1", START_SFEN)]
    assert read(csa, "PI\n+\n+7776FU\n/\nPI\n-3334FU\n") == [
        (f"{csa}:1", START_SFEN),
        (f"{csa}:5", START_SFEN.replace(" b ", " w ")),
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.txt", "\n9/9 b - 1\n", "a.txt:2: board has 2 ranks"),
        ("a.txt", "# nothing\n", "a.txt: no position"),
        ("a.kif", KIF.format("三枚"), "a.kif:1: 手合割：三枚: unknown handicap"),
        ("a.csa", "PX\n", "a.csa:1: line 1: not a line of CSA: PX"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    name: str, text: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=says):
        read(tmp_path / name, text)
    with pytest.raises(RecordError, match="No such file"):
        read_positions(tmp_path / "missing")


def test_a_line_gives_a_position() -> None:
    assert read_position("startpos moves 7g7f").sfen() == AFTER
