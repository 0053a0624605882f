"""The analysed game as KIF: we and rsshogi read it back, with ShogiHome's comments."""

import re
from pathlib import Path

import pytest
from fake_learner import FakeAgent
from rsshogi.record import Record

from keisei.play.annotated_kif import annotated_kif
from keisei.play.game_report import GameReport, analyse
from keisei.play.players import Player
from keisei.records import GameRecord, read_game
from keisei.shogi import START_SFEN

MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
MOVES = ("7g7f", "3c3d", "8h2b+", "3a2b", "B*4e")


def report(game: GameRecord | str, first: int = 1, last: int | None = None) -> GameReport:
    player = Player(FakeAgent(), checkpoint=Path("runs/fake"), step=7)  # type: ignore[arg-type]
    return analyse(game, player, simulations=20, first=first, last=last)


def comments(text: str) -> list[str]:
    """Return the comment on the start position and on each move, as rsshogi reads them."""
    record = Record.from_kif_str(text)
    return [record.initial_comment or "", *(entry.comment or "" for entry in record.moves)]


def test_the_game_is_read_back_with_its_moves_names_and_end(tmp_path: Path) -> None:
    game = GameRecord(START_SFEN, MOVES, "black", "resign", "a.kif:1", "甲野", "乙山")
    file = tmp_path / "analysed.kifu"
    file.write_text(annotated_kif(report(game)), encoding="utf-8")
    found = read_game(file)
    assert (found.start, found.moves) == (START_SFEN, MOVES)
    assert (found.winner, found.reason) == ("black", "resign")
    assert (found.black, found.white) == ("甲野", "乙山")


def test_each_comment_has_the_lines_that_shogihome_reads() -> None:
    game = GameRecord(START_SFEN, MOVES, None, "unknown", "")
    found = comments(annotated_kif(report(game)))
    assert len(found) == len(MOVES) + 1
    for ply, comment in enumerate(found):
        assert re.search(r"(?m)^#評価値=-?[0-9]+$", comment)
        line = re.search(r"(?m)^#読み筋=(.*)$", comment)
        assert line is not None
        assert line[1][0] == "▲△"[ply % 2]
        assert re.search(r"(?m)^#ノード数=20$", comment)
        assert re.search(r"(?m)^#エンジン=Keisei fake@7$", comment)


def test_only_analysed_moves_have_comments() -> None:
    game = GameRecord(START_SFEN, MOVES, None, "unknown", "")
    found = comments(annotated_kif(report(game, first=2, last=3)))
    assert ["評価値" in comment for comment in found] == [False, True, True, True, False, False]


@pytest.mark.parametrize(("sfen", "mated"), [(MATE_IN_ONE, "先手勝ち"), ("", "後手勝ち")])
def test_a_mate_names_its_winner_and_a_missed_one_is_told(sfen: str, mated: str) -> None:
    start = sfen or "4k4/9/9/9/9/9/4p4/9/4K4 w g 1"
    move = "5i5h" if sfen else "5a5b"
    first, second = comments(annotated_kif(report(f"{start} moves {move}")))
    assert f"#詰み={mated}:1手" in first
    assert "評価値" not in first
    assert "【1手詰めを逃した】" in second


def test_scores_are_blacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """White, to move, has a rook more: the score is negative, whoever moves."""

    def assess(self: object, observation: object, mask: object) -> object:
        actions, priors, values = original(self, observation, mask)  # type: ignore[arg-type]
        return actions, priors, values + 0.5

    original = FakeAgent.assess
    monkeypatch.setattr(FakeAgent, "assess", assess)
    player = Player(FakeAgent())  # type: ignore[arg-type]
    found = comments(annotated_kif(analyse("startpos moves 7g7f", player, simulations=1)))
    scores = [int(re.findall(r"#評価値=(-?[0-9]+)", comment)[0]) for comment in found]
    assert scores == [659, -659]
