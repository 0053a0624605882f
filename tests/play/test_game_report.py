"""The report on a game, as programs and ``--json`` see it."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_learner import FakeAgent

from keisei.play.game_report import analyse
from keisei.play.players import Player
from keisei.records import GameRecord, RecordError
from keisei.shogi import START_SFEN

KIF = """先手：甲野
後手：乙山
手合割：平手
   1 ７六歩(77)
   2 ３四歩(33)
   3 ２二角成(88)
   4 投了
"""
MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"


@pytest.fixture
def player() -> Player:
    return Player(FakeAgent(), checkpoint=Path("runs/fake"), step=7)  # type: ignore[arg-type]


def test_a_file_a_line_and_a_record_give_the_same_moves(tmp_path: Path, player: Player) -> None:
    file = tmp_path / "game.kif"
    file.write_text(KIF)
    line = "startpos moves 7g7f 3c3d 8h2b+"
    record = GameRecord(START_SFEN, tuple(line.split()[2:]), None, "unknown", "")
    reports = [analyse(game, player, simulations=5) for game in (file, line, record)]
    assert reports[0].moves == reports[1].moves == reports[2].moves
    assert (reports[0].game.black, reports[0].game.white) == ("甲野", "乙山")
    assert reports[0].player == "fake@7"


def test_the_object_has_the_fields_of_the_guide(player: Player) -> None:
    report = analyse("startpos moves 7g7f 3c3d", player, simulations=5).to_dict()
    text = Path(__file__).parents[2].joinpath("docs/guide/analysis.md").read_text("utf-8")
    whole, _, moves = text.partition("An object in `analysed`")

    def fields(table: str) -> set[str]:
        rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
        return {name.strip(" `") for row in rows for name in row.split(",")}

    assert fields(whole.partition("`--json` prints")[2]) == set(report)
    assert fields(moves) == set(report["analysed"][0])
    for name in report["position"]:
        assert f"`{name}`" in moves
    assert json.loads(json.dumps(report))["analysed"][1]["move"] == "3c3d"


def test_values_in_the_object_belong_to_the_side_that_moved(player: Player) -> None:
    (move,) = analyse(f"{MATE_IN_ONE} moves G*5b", player, simulations=5).to_dict()["analysed"]
    assert (move["value_before"], move["value_after"], move["mate_before"]) == (1, 1, 1)


def test_the_summary_counts_each_side(player: Player) -> None:
    report = analyse(f"{MATE_IN_ONE} moves 5i5h 5a6a 5c5b+", player, simulations=5)
    summary = report.summary()
    assert (summary["black"]["moves"], summary["white"]["moves"]) == (2, 1)
    assert summary["black"]["missed_mates"] == 1
    assert summary["black"]["mean_loss"] > 0
    assert "white" not in analyse(f"{MATE_IN_ONE} moves 5i5h", player, simulations=5).summary()


def test_a_position_without_moves_is_reported_alone(player: Player) -> None:
    report = analyse(MATE_IN_ONE, player, simulations=5)
    assert report.moves == ()
    assert (report.position.mate, report.position.line[0]) == (1, "G*5b")


def test_the_players_rule_of_declaration_counts(player: Player) -> None:
    entered = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"
    assert analyse(entered, player, simulations=2).position.line == ("win",)
    player.declaration = "none"
    assert analyse(entered, player, simulations=2).position.line != ("win",)


def test_the_time_limit_ends_the_search_early_and_progress_is_told(player: Player) -> None:
    shares: list[float] = []
    report = analyse("7g7f", player, simulations=100_000, seconds=1e-6, progress=shares.append)
    assert report.moves[0].before.simulations == 1
    assert shares == [1 / 100_000]
    shares.clear()
    analyse("7g7f", player, simulations=20, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize("source", ["startpos moves 7g7e", "nonsense", Path("missing.kif")])
def test_a_game_that_cannot_be_read_is_an_error(source: Any, player: Player) -> None:
    with pytest.raises(RecordError):
        analyse(source, player)
