"""``keisei warmup --dry-run``."""

import json
from pathlib import Path

import pytest

from keisei.cli.main import main
from keisei.shogi import Position


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A folder of good and bad games in all formats and encodings, and another file."""
    folder = tmp_path / "collection"
    (folder / "deep").mkdir(parents=True)
    even = "手合割：平手\n先手：東海林\n手数----指手--\n   1 ７六歩(77)\n"
    (folder / "a.kif").write_text(f"{even}   2 投了\n{even}   2 ３五歩(33)\n", "cp932")
    (folder / "b.csa").write_text("N+東海林\nPI\n+\n+7776FU\n%TORYO\n", "euc_jp")
    (folder / "c.usi").write_text("startpos moves 7g7f 3c3d resign\nnonsense\n")
    (folder / "deep" / "d.ki2u").write_text("手合割：七枚落ち\n△３四歩\n", "utf-8")
    (folder / "deep" / "notes.txt").write_text("no records")
    return folder


def test_a_dry_run_lists_every_file_and_game(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["warmup", "--dry-run", str(collection), "--run", str(tmp_path / "warm")]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0].split() == ["format", "encoding", "games", "refused", "file"]
    assert lines[1].split() == ["KIF", "Shift_JIS", "1", "1", f"{collection}/a.kif"]
    assert lines[2] == "    line 1: 1 plies, black won, resign"
    assert lines[3].startswith("    line 6: refused: ply 2: 3c3e is not legal")
    assert lines[4].split()[:2] == ["CSA", "EUC-JP"]
    assert lines[6].split()[:4] == ["USI", "UTF-8", "1", "1"]
    assert lines[9].split()[:4] == ["KI2", "UTF-8", "0", "1"]
    assert "did you mean 左七枚落ち or 右七枚落ち?" in lines[10]
    assert lines[11].endswith("notes.txt: skipped: not a file of game records")
    assert lines[12:] == ["5 files, 1 of them not read; 3 games with 4 plies; refused games: 3"]
    assert not (tmp_path / "warm").exists()


def test_a_dry_run_prints_one_json_object(
    collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["warmup", "--dry-run", "--json", str(collection)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"] == {"files": 5, "games": 3, "plies": 4, "refused": 3, "not_read": 1}
    kif, csa, *_, notes = found["files"]
    assert (kif["format"], kif["encoding"]) == ("KIF", "Shift_JIS")
    assert kif["games"][0] == {
        "source": f"{collection}/a.kif:1",
        "start": Position().sfen(),
        "plies": 1,
        "winner": "black",
        "reason": "resign",
    }
    assert kif["games"][1]["refused"].startswith(f"{collection}/a.kif:6: ply 2: ")
    assert csa["encoding"] == "EUC-JP"
    assert (notes["format"], notes["games"]) == (None, [])
    assert notes["problem"] == "skipped: not a file of game records"


def test_a_dry_run_prints_results_starts_and_harmless_file_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
    file = tmp_path / "a\x1b[31m.usi"
    file.write_text(f"7g7f sennichite\n7g7f\n7g7f 3c3d resign\nsfen {start} moves 5i5h\n")
    assert main(["warmup", "--dry-run", str(tmp_path)]) == 0
    _, row, *games, _ = capsys.readouterr().out.splitlines()
    assert row.endswith(f"{tmp_path}/a\\x1b[31m.usi")
    assert [game.strip() for game in games] == [
        "line 1: 1 plies, draw, repetition_draw",
        "line 2: 1 plies, unknown result, unknown",
        "line 3: 2 plies, white won, resign",
        f"line 4: 1 plies, unknown result, unknown, from {start}",
    ]


def test_a_dry_run_of_a_missing_path_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["warmup", "--dry-run", str(tmp_path / "nowhere")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"keisei: {tmp_path}/nowhere: no such file or folder\n"
