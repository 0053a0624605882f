"""The search of one position: limits, the clock, and what the GUI sees."""

import time

import pytest
from fake_gui import Gui, compile_search, playing

from keisei.shogi import Position
from keisei.usi.protocol import Info, parse

ONE_MOVE = "4k4/9/9/9/7r1/9/9/9/8K b - 1"

TWO_MOVES = "4k4/9/9/9/9/9/4r4/9/3rK4 b - 1"

pytestmark = pytest.mark.timeout(300)  # the first test may have to compile everything


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_search()


def infos(lines: list[str]) -> list[Info]:
    found = [parse(line) for line in lines if line.startswith("info depth")]
    return [line for line in found if isinstance(line, Info)]


def last(gui: Gui, *lines: str) -> Info:
    return infos(gui.ask(*lines))[-1]


def test_nodes_limit_the_search_exactly() -> None:
    with playing() as gui:
        assert last(gui, "go nodes 50").nodes == 50
        gui.set(NodesLimit=30)
        assert last(gui, "usinewgame", "go nodes 50").nodes == 30
        assert last(gui, "usinewgame", "go").nodes == 30
        gui.set(NodesLimit=0)
        nodes = last(gui, "usinewgame", "go").nodes
        assert nodes is not None
        assert 800 <= nodes <= 840


def test_depth_limits_the_length_of_the_principal_variation() -> None:
    with playing() as gui:
        found = last(gui, "go depth 4")
        assert found.depth == 4
        assert len(found.pv) == 4


def test_the_variation_is_legal_and_the_reply_is_offered_for_ponder() -> None:
    with playing() as gui:
        *lines, best = gui.ask("position startpos moves 7g7f", "go nodes 100")
        position = Position()
        position.push("7g7f")
        pv = infos(lines)[-1].pv
        assert len(pv) > 1
        for move in pv:
            position.push(move)
        assert best == f"bestmove {pv[0]} ponder {pv[1]}"


def test_each_line_of_multipv_has_a_score() -> None:
    with playing() as gui:
        gui.set(MultiPV=3, PvInterval=100_000)
        lines = gui.ask("go nodes 200")[:-1]
        assert [line.split("multipv ")[1].split()[0] for line in lines] == ["1", "2", "3"]
        assert all(" score cp " in line for line in lines)
        for word in ("depth", "seldepth", "nodes", "nps", "time", "hashfull"):
            assert f" {word} " in lines[0]


def test_searchmoves_limits_the_moves_at_the_root() -> None:
    with playing() as gui:
        assert gui.move("position startpos", "go nodes 60 searchmoves 9g9f 1g1f") in {
            "9g9f",
            "1g1f",
        }
        assert gui.move("go searchmoves 3g3f nodes 60") == "3g3f"
        assert gui.move("go nodes 60") != "3g3f"  # the other moves are known again
        said, *_ = gui.ask("go searchmoves 5a5b nodes 5")
        assert said.startswith("info string searchmoves: none of the moves is legal")


def test_the_subtree_is_kept_after_both_moves() -> None:
    with playing() as gui:
        pv = last(gui, "position startpos", "go nodes 400").pv
        kept = gui.ask(f"position startpos moves {pv[0]} {pv[1]}", "go nodes 1")
        fresh = gui.ask("usinewgame", f"position startpos moves {pv[0]} {pv[1]}", "go nodes 1")
        depth, new = infos(kept)[-1].depth, infos(fresh)[-1].depth
        assert depth is not None
        assert new is not None
        assert depth > new


def test_a_single_legal_move_is_played_at_once() -> None:
    assert len(Position(ONE_MOVE).legal_moves()) == 1
    with playing() as gui:
        began = time.monotonic()
        gui.move(f"position sfen {ONE_MOVE}", "go btime 600000 wtime 600000")
        assert time.monotonic() - began < 3


def test_a_proven_result_ends_the_search() -> None:
    with playing() as gui:
        gui.set(MaxMovesToDraw=1)
        found = last(gui, f"position sfen {TWO_MOVES}", "go btime 600000 wtime 600000")
        assert (found.cp, found.nodes) == (0, 3)  # both moves end the game in a draw


@pytest.mark.parametrize(("black", "white", "score"), [(-300, 200, -300), (250, 0, 250)])
def test_a_draw_counts_what_the_option_says_for_the_engines_side(
    black: int, white: int, score: int
) -> None:
    with playing() as gui:
        gui.set(MaxMovesToDraw=1, DrawValueBlack=black, DrawValueWhite=white)
        assert last(gui, "position startpos", "go nodes 100").cp == score
        gui.set(MaxMovesToDraw=2)
        assert last(gui, "position startpos moves 7g7f", "go nodes 100").cp == white


def test_the_state_of_the_search_is_shown_at_a_steady_pace() -> None:
    with playing() as gui:
        gui.set(PvInterval=0)
        assert len(infos(gui.ask("go nodes 80"))) > 5
        gui.set(PvInterval=100_000)
        assert len(infos(gui.ask("usinewgame", "go nodes 80"))) == 1


def test_a_full_memory_ends_the_search_and_a_move_is_played() -> None:
    with playing() as gui:
        gui.set(USI_Hash=1, MultiPV=1)
        found = gui.ask("go nodes 100000")
        assert " hashfull 1000 " in found[-2]
