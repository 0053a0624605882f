"""The engine's moves: what it plays without search, with a book, at the end of a game."""

import pytest
from fake_gui import Gui, compile_search, playing

from keisei.shogi import Position
from keisei.usi.mover import mating_line

ENTERED = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"
MATED = "4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1"
MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1"
MATE_IN_THREE = "ln2g3l/2s1g2s1/5knS1/p5R1p/1ppp3n1/P3+p3P/2Rg3PL/4l4/g+b1K1s1N1 w BP8p 1"

pytestmark = pytest.mark.timeout(300)  # the first test may have to compile everything


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_search()


def test_the_end_of_a_game_is_decided_without_the_network() -> None:
    with playing() as gui:
        gui.network.seen.clear()
        assert gui.move(f"position sfen {MATED}", "go") == "resign"
        assert gui.move(f"position sfen {ENTERED}", "go") == "win"
        assert gui.move("go infinite", "stop") == "win"
        assert gui.network.seen == []
        gui.set(EnteringKingRule="NoEnteringKing")
        assert gui.move("go nodes 5") in Position(ENTERED).legal_moves()
        gui.set(EnteringKingRule="CSARule24")
        assert gui.move("go") == "win"


def test_the_entering_king_rule_is_that_of_the_run() -> None:
    with playing() as gui:
        gui.network.declaration = "none"
        assert gui.move(f"position sfen {ENTERED}", "go nodes 5") not in {"win", "resign"}


@pytest.mark.parametrize(
    ("position", "said"),
    [
        ("startpos moves 7g7f 7g7f", "7g7f is not legal here: 7g is empty"),
        ("startpos moves 7g7f \x1b[31mred", "is not legal here"),
        ("sfen nonsense", "nonsense"),
        ("sfen", "an SFEN has 3 fields"),
        ("", ""),
    ],
)
def test_an_invalid_position_is_answered_with_the_error_and_resignation(
    position: str, said: str
) -> None:
    with playing() as gui:
        first, last = gui.ask(f"position {position}", "go byoyomi 1")
        assert first.startswith("info string invalid position: ")
        assert said in first
        assert last == "bestmove resign"
        gui.say("go mate 100")
        assert gui.until("checkmate")[-1] == "checkmate nomate"
        assert gui.move("position startpos", "go nodes 1") != "resign"


@pytest.mark.parametrize("search", ["true", "false"])
@pytest.mark.parametrize("sampling", ["true", "false"])
def test_a_mate_in_one_is_played_and_shown(search: str, sampling: str) -> None:
    with playing(value=-0.99) as gui:
        gui.set(Sampling=sampling, Search=search, ResignValue=0, ResignMoves=1)
        info, best = gui.ask(f"position sfen {MATE_IN_ONE}", "go byoyomi 1000")
        move = best.removeprefix("bestmove ")
        assert info.endswith(f" score mate 1 pv {move}")
        after = Position(MATE_IN_ONE)
        after.push(move)
        assert after.legal_moves() == []


def test_a_mate_in_three_is_shown_with_its_moves() -> None:
    line = mating_line(Position(MATE_IN_THREE), 3)
    position = Position(MATE_IN_THREE)
    for move in line:
        position.push(move)
    assert position.legal_moves() == []
    with playing() as gui:
        gui.set(Mates=3)
        info, best = gui.ask(f"position sfen {MATE_IN_THREE}", "go nodes 10")
        assert info.endswith(f" score mate 3 pv {' '.join(line)}")
        assert best == f"bestmove {line[0]} ponder {line[1]}"


def test_go_mate_gives_the_moves_or_says_that_it_does_not_know() -> None:
    with playing() as gui:
        gui.say(f"position sfen {MATE_IN_THREE}", "go mate 1000")
        line = gui.until("checkmate")[-1].split()[1:]
        position = Position(MATE_IN_THREE)
        for move in line:
            position.push(move)
        assert (len(line), position.legal_moves()) == (3, [])
        gui.say("position startpos", "go mate infinite")
        assert gui.until("checkmate")[-1] == "checkmate nomate"


def policy(gui: Gui, *lines: str) -> list[str]:
    gui.set(Search="false")
    return gui.ask(*lines)


def test_without_search_the_most_probable_move_is_played_at_once() -> None:
    with playing(value=0.5) as gui:
        gui.network.seen.clear()
        gui.set(MultiPV=3)
        shown, first, second, third, best = policy(gui, "position startpos", "go btime 600000")
        names = shown.split()[3::2]
        assert shown.split()[4::2] == ["50.0%", "25.0%", "12.5%"]
        assert [line.split()[-1] for line in (first, second, third)] == names
        assert "nodes 1 " in first
        assert "multipv 1 score cp 659 " in first  # the network's value of the position
        assert "score" not in second + third
        assert best == f"bestmove {names[0]}"
        assert len(gui.network.seen) == 1


def drawn(*lines: str) -> list[str]:
    with playing() as gui:
        gui.set(Search="false", Sampling="true")
        gui.say(*lines)
        return [gui.move("go") for _ in range(60)]


def test_moves_are_drawn_by_their_probability_and_the_seed() -> None:
    moves = drawn("setoption name Seed value 7")
    assert moves == drawn("setoption name Seed value 7")
    assert moves != drawn("setoption name Seed value 8")
    assert drawn() != drawn()
    assert 15 <= max(map(moves.count, moves)) <= 45  # of 60, half expected
    assert len(set(moves)) > 3


def test_a_sampled_move_of_a_search_is_shown_first() -> None:
    with playing() as gui:
        gui.set(Sampling="true", Seed=7, MultiPV=2)
        moves = set()
        for _ in range(20):
            *_, first, second, best = gui.ask("go nodes 30")
            assert first.partition(" pv ")[2].split()[0] == best.split()[1]
            assert second.partition(" pv ")[2].split()[0] != best.split()[1]
            moves.add(best)
        assert len(moves) > 1


def test_it_resigns_after_enough_bad_moves_in_a_row() -> None:
    with playing(value=-0.9) as gui:
        gui.set(Search="false")
        assert "resign" not in [gui.move("go") for _ in range(5)]  # off by default
        gui.set(ResignValue=1500, ResignMoves=3)
        first, second, third = (gui.move("go") for _ in range(3))
        assert (first == "resign", second == "resign", third) == (False, False, "resign")
        gui.say("usinewgame")
        assert [gui.move("go"), gui.move("go")].count("resign") == 0
        gui.network.value = 0.0
        assert gui.move("go") != "resign"
        gui.network.value = -0.9
        assert [gui.move("go"), gui.move("go")].count("resign") == 0
        for words in ("infinite", "ponder"):
            assert gui.move(f"go {words}", "stop") != "resign"
        assert gui.move("go ponder", "ponderhit") == "resign"


def test_the_book_is_played_only_in_games_and_only_if_wanted() -> None:
    with playing(openings=["startpos moves 9g9f 9c9d"]) as gui:
        assert gui.move("position startpos", "go nodes 1") != "9g9f"
        gui.set(OwnBook="true")
        assert gui.ask("go nodes 1") == ["info string a move of the book", "bestmove 9g9f"]
        assert gui.move("position startpos moves 9g9f", "go nodes 1") == "9c9d"
        assert gui.move("position startpos", "go infinite", "stop") != "9g9f"
        assert gui.move("position startpos moves 7g7f", "go nodes 1") != "9g9f"
        gui.set(BookFile="/none")
        error, *_ = gui.ask("position startpos", "go nodes 1")
        assert error == "info string BookFile: /none: no such file"


def test_the_moves_of_the_game_count() -> None:
    """After the moves the start position stands there for the second time."""
    with playing() as gui:
        gui.set(Search="false")
        gui.network.seen.clear()
        gui.move("position startpos moves 2h3h 8b7b 3h2h", "go")
        gui.move("position startpos moves 2h3h 8b7b 3h2h 7b8b", "go")
        gui.move("position startpos", "go")
        column = [int(observation[0, 95]) for observation in gui.network.seen]
        assert column == [0, 1, 0]


def test_the_solver_beside_the_search_finds_a_mate_that_the_search_does_not_look_for() -> None:
    with playing() as gui:
        gui.set(Mates=0)
        *_, info, best = gui.ask(f"position sfen {MATE_IN_THREE}", "go nodes 1000000")
        line = info.partition(" score mate 3 pv ")[2].split()
        assert len(line) == 3
        assert best == f"bestmove {line[0]} ponder {line[1]}"
