"""The engine that GUIs talk to: each line and its answers."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keisei.shogi import Position
from keisei.shogi.position import Rule
from keisei.usi.protocol import BestMove, Identity, Info, UsiOk, parse
from keisei.usi.server import OPTIONS, Assessment, Session, centipawns

MATED = "4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1"
ENTERED = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"


class Fake:
    """Prefers moves in the alphabetical order of their names."""

    about = "a fake"
    declaration: Rule = "27"

    def __init__(self, value: float = 0.0) -> None:
        self.value = value
        self.seen: list[Position] = []

    def assess(self, position: Position) -> Assessment:
        self.seen.append(position)
        moves = position.legal_moves()
        half = [0.5 ** (place + 1) for place in range(len(moves))]
        return Assessment(tuple(zip(moves, half, strict=True)), self.value)


class Gui:
    """A GUI: a session, the arguments of each load, and the fake player."""

    def __init__(self, value: float = 0.0) -> None:
        self.player = Fake(value)
        self.loads: list[tuple[str, int]] = []
        self.session = Session("Keisei 1.0 (run)", self._load)

    def _load(self, device: str, threads: int) -> Fake:
        self.loads.append((device, threads))
        return self.player

    def say(self, *lines: str) -> list[str]:
        return [answer for line in lines for answer in self.session.hear(line)]

    def moves(self, *lines: str) -> list[str]:
        return [line for line in self.say(*lines) if line.startswith("bestmove")]

    def set(self, **options: object) -> None:
        for name, value in options.items():
            assert self.say(f"setoption name {name} value {value}") == []


@pytest.fixture
def gui() -> Gui:
    return Gui()


def ready(value: float = 0.0) -> Gui:
    gui = Gui(value)
    gui.say("usi", "isready", "usinewgame", "position startpos")
    return gui


def test_a_game_gets_a_move_for_each_go(gui: Gui) -> None:
    assert gui.say("usi")[:2] == ["id name Keisei 1.0 (run)", "id author Keisei contributors"]
    assert gui.loads == []
    assert gui.say("isready") == ["info string a fake", "readyok"]
    assert gui.say("usinewgame", "position startpos moves 7g7f 3c3d") == []
    assert gui.say("go btime 600000 wtime 590000 byoyomi 10000") == [
        "info string policy 1g1f 50.0%",
        "info depth 1 nodes 1 score cp 0 pv 1g1f",
        "bestmove 1g1f",
    ]
    assert gui.player.seen[-1].ply == 2
    assert gui.say("gameover win") == []
    assert not gui.session.over
    assert gui.say("quit") == []
    assert gui.session.over


def test_usi_lists_the_name_and_all_options(gui: Gui) -> None:
    name, author, *options, last = map(parse, gui.say("usi"))
    assert name == Identity("name", "Keisei 1.0 (run)")
    assert author == Identity("author", "Keisei contributors")
    assert tuple(options) == OPTIONS
    assert last == UsiOk()
    assert all(" " not in option.name for option in OPTIONS)  # ShogiHome would drop it


def test_weights_are_loaded_once_and_not_before_isready(gui: Gui) -> None:
    gui.say("usi", "setoption name Threads value 2")
    assert gui.loads == []
    assert gui.say("isready", "isready")[-2:] == ["readyok", "readyok"]
    assert gui.loads == [("auto", 2)]
    gui.say("setoption name Device value cpu", "isready")
    assert gui.loads == [("auto", 2), ("cpu", 2)]
    impatient = Gui()
    assert impatient.moves("go") == ["bestmove 1g1f"]
    assert impatient.loads == [("auto", 1)]


@pytest.mark.parametrize(
    "words",
    [
        "",
        "btime 0 wtime 0 byoyomi 0",
        "btime 1000 wtime 1000 binc 500 winc 500",
        "movetime 10",
        "nodes 1 depth 3",
        "btime -1 wtime junk  byoyomi",
    ],
)
def test_any_clock_is_answered_at_once(words: str) -> None:
    assert ready().moves(f"go {words}") == ["bestmove 1g1f"]


@pytest.mark.parametrize("words", ["infinite", "ponder btime 1000 wtime 1000", "ponder"])
def test_infinite_and_ponder_searches_wait_for_stop(words: str) -> None:
    gui = ready()
    shown = gui.say(f"go {words}")
    assert shown[-1] == "info depth 1 nodes 1 score cp 0 pv 1g1f"
    assert gui.say("isready", "position startpos moves 1g1f") == ["readyok"]
    assert gui.say("stop") == ["bestmove 1g1f"]
    assert gui.say("stop", "ponderhit", "stop") == []


def test_ponderhit_gives_the_move() -> None:
    gui = ready()
    gui.say("position startpos moves 7g7f 3c3d", "go ponder btime 1000 wtime 1000")
    assert gui.say("ponderhit btime 900 wtime 900") == ["bestmove 1g1f"]
    assert gui.say("ponderhit", "stop") == []


def test_every_go_gets_one_move_and_none_comes_after_the_game() -> None:
    gui = ready()
    assert gui.moves("go infinite", "go infinite", "go") == ["bestmove 1g1f"] * 3
    for end in ("gameover lose", "usinewgame"):
        assert gui.moves("go ponder", end, "stop") == []


@pytest.mark.parametrize(
    "words",
    ["nodes 100 infinite", "infinite movetime 500", "infinite byoyomi 1000", "depth 3 infinite"],
)
def test_a_limit_beside_infinite_ends_the_search(words: str, gui: Gui) -> None:
    assert gui.moves(f"go {words}") == ["bestmove 1g1f"]


@pytest.mark.parametrize(
    ("sfen", "move"),
    [
        ("4k4/9/4P4/9/9/9/9/9/4K4 b G 1", "G*5b"),
        ("4k4/9/4P4/9/9/9/9/9/4K4 b G2r2b3g4s4n4l17p 99", "G*5b"),
        ("4k4/9/9/9/9/9/4p4/9/4K4 w g 1", "G*5h"),
    ],
)
def test_a_mating_move_is_shown_as_mate_and_never_replaced_by_resignation(
    sfen: str, move: str
) -> None:
    class Mates(Fake):
        def assess(self, position: Position) -> Assessment:
            others = [(other, 0.0) for other in position.legal_moves() if other != move]
            return Assessment(((move, 1.0), *others), -0.99)

    gui = Gui()
    gui.player = Mates()
    gui.set(ResignWinRate=50, ResignMoves=1)
    *shown, best = gui.say(f"position sfen {sfen}", "go")
    assert best == f"bestmove {move}"
    assert f"info depth 1 nodes 1 score mate 1 pv {move}" in shown


@pytest.mark.parametrize("words", ["mate infinite", "mate 1000", "mate"])
def test_go_mate_is_answered_as_not_implemented(words: str) -> None:
    gui = ready()
    assert gui.say(f"go {words}", "stop") == ["checkmate notimplemented"]


def test_mate_and_declaration_are_decided_without_the_network() -> None:
    gui = ready()
    assert gui.moves(f"position sfen {MATED}", "go") == ["bestmove resign"]
    assert gui.moves(f"position sfen {ENTERED}", "go", "go infinite", "stop") == [
        "bestmove win",
        "bestmove win",
    ]
    assert gui.player.seen == []
    gui.set(Declaration="none")
    (move,) = gui.moves("go")
    assert move.split()[1] in Position(ENTERED).legal_moves()
    gui.set(Declaration="24")
    assert gui.moves("go") == ["bestmove win"]


def test_the_declaration_rule_is_that_of_the_run() -> None:
    gui = ready()
    gui.player.declaration = "none"
    (move,) = gui.moves(f"position sfen {ENTERED}", "go")
    assert move not in {"bestmove win", "bestmove resign"}


def test_the_moves_of_the_game_reach_the_network() -> None:
    gui = ready()
    gui.say("position startpos moves 2h3h 8b7b 3h2h 7b8b", "go")
    assert gui.player.seen[-1].occurrences == 2
    gui.say(f"position sfen {Position().sfen()} moves 2h3h", "go")
    assert (gui.player.seen[-1].ply, gui.player.seen[-1].side) == (1, "white")


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
    gui = ready()
    gui.say(f"position {position}")
    first, last = gui.say("go byoyomi 1")
    assert first.startswith("info string invalid position: ")
    assert said in first
    assert last == "bestmove resign"
    assert gui.moves("position startpos", "go") == ["bestmove 1g1f"]


def test_option_names_ignore_case_and_bad_values_are_refused_with_a_reason() -> None:
    gui = ready()
    for good in ("name mULTIpv value 4", "name Sampling value False", "name USI_MultiPV value 2"):
        assert gui.say(f"setoption {good}") == []
    for foreign in ("name USI_Hash value 32", "name USI_Ponder value true"):
        assert gui.say(f"setoption {foreign}") == []
    for bad, said in {
        "name Skill Level value 3": "no option Skill Level",
        "name Clear Hash": "no option Clear Hash",
        "name MultiPV value 0": "MultiPV: must be a whole number from 1 to 20 (got '0')",
        "name MultiPV value": "MultiPV: must be a whole number",
        "name Sampling value maybe": "Sampling: must be true or false (got 'maybe')",
        "name Device": "Device: must be one of auto, cpu, cuda (got '')",
        "": "write setoption name NAME value VALUE",
        "MultiPV 3": "write setoption name NAME value VALUE",
    }.items():
        (answer,) = gui.say(f"setoption {bad}")
        assert answer.startswith(f"info string {said}")
    assert len([line for line in gui.say("go") if " pv " in line]) == 2  # the last good one


MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1"


@pytest.mark.parametrize("sampling", ["false", "true"])
def test_a_mate_in_one_is_played_and_shown(gui: Gui, sampling: str) -> None:
    gui.set(Sampling=sampling)
    policy, info, best = gui.say("isready", f"position sfen {MATE_IN_ONE}", "go")[-3:]
    move = best.removeprefix("bestmove ")
    assert policy.startswith(f"info string policy {move} ")
    assert info == f"info depth 1 nodes 1 score mate 1 pv {move}"
    after = Position(MATE_IN_ONE)
    after.push(move)
    assert after.legal_moves() == []


def test_a_mate_in_three_is_shown_with_its_number_of_plies(gui: Gui) -> None:
    gui.set(Mates=3)
    start = "ln2g3l/2s1g2s1/5knS1/p5R1p/1ppp3n1/P3+p3P/2Rg3PL/4l4/g+b1K1s1N1 w BP8p 1"
    *_, info, best = gui.say("isready", f"position sfen {start}", "go")
    assert info == f"info depth 1 nodes 1 score mate 3 pv {best.removeprefix('bestmove ')}"


def test_without_mates_the_networks_move_is_played(gui: Gui) -> None:
    gui.set(Mates=0)
    *_, info, best = gui.say("isready", f"position sfen {MATE_IN_ONE}", "go")
    first = Position(MATE_IN_ONE).legal_moves()[0]
    assert (info, best) == (f"info depth 1 nodes 1 score cp 0 pv {first}", f"bestmove {first}")
    assert gui.say("setoption name Mates value 2") == [
        "info string Mates: must be one of 0, 1, 3 (got '2')"
    ]


def test_multipv_shows_the_best_moves() -> None:
    gui = ready(value=0.5)
    gui.set(MultiPV=3)
    assert gui.say("go") == [
        "info string policy 1g1f 50.0% 1i1h 25.0% 2g2f 12.5%",
        "info depth 1 nodes 1 multipv 1 score cp 659 pv 1g1f",
        "info depth 1 multipv 2 pv 1i1h",
        "info depth 1 multipv 3 pv 2g2f",
        "bestmove 1g1f",
    ]
    gui.set(MultiPV=20)
    shown = gui.say(f"position sfen {'4k4/9/9/9/9/9/9/9/4K4 b - 1'}", "go")
    assert len([line for line in shown if " pv " in line]) == 5  # it has no more


def drawn(*lines: str) -> list[str]:
    gui = ready()
    gui.say("setoption name Sampling value true", *lines)
    return gui.moves(*["go"] * 60)


def test_moves_are_drawn_by_their_probability_and_the_seed() -> None:
    moves = drawn("setoption name Seed value 7")
    assert moves == drawn("setoption name Seed value 7")
    assert moves != drawn("setoption name Seed value 8")
    assert drawn("setoption name Seed value 0") != drawn("setoption name Seed value 0")
    assert 15 <= moves.count("bestmove 1g1f") <= 45  # of 60, half expected
    assert len(set(moves)) > 3


def test_the_sampled_move_is_shown_first() -> None:
    gui = ready()
    gui.set(Sampling="true", Seed=7, MultiPV=2)
    for _ in range(20):
        _, first, second, move = gui.say("go")
        shown = parse(first)
        assert isinstance(shown, Info)
        assert move == f"bestmove {shown.pv[0]}"
        assert shown.cp == 0
        assert second != f"info depth 1 multipv 2 pv {shown.pv[0]}"


def test_it_resigns_after_enough_bad_moves_in_a_row() -> None:
    gui = ready(value=-0.9)  # win rate 5 %
    assert gui.moves("go", "go", "go", "go", "go") == ["bestmove 1g1f"] * 5  # off by default
    gui.set(ResignWinRate=6, ResignMoves=3)
    assert gui.moves("go", "go", "go") == [*["bestmove 1g1f"] * 2, "bestmove resign"]
    assert gui.moves("usinewgame", "go", "go")[-1] == "bestmove 1g1f"
    gui.player.value = 0.0
    assert gui.moves("go") == ["bestmove 1g1f"]
    gui.player.value = -0.9
    assert gui.moves("go", "go") == ["bestmove 1g1f"] * 2
    analysed = ["go infinite", "stop", "go ponder", "stop"] * 2
    assert gui.moves(*analysed) == ["bestmove 1g1f"] * 4
    assert gui.moves("go ponder", "ponderhit") == ["bestmove resign"]


def test_an_unknown_command_is_reported() -> None:
    gui = ready()
    assert gui.say("xyzzy on", "", "  ", "\t") == ["info string unknown command: xyzzy"]
    assert gui.say("\x1b[2J\u5f62") == ["info string unknown command:  [2J\\u5f62"]


WORDS = st.sampled_from(
    "usi isready setoption name value position startpos sfen moves 7g7f 3c3d 7g7f+ go ponder "
    "infinite mate btime 1000 stop ponderhit gameover usinewgame MultiPV Seed Sampling true 3 "
    f"{ENTERED} {MATED} -1 junk".split()
)
LINES = st.one_of(st.lists(WORDS, max_size=8).map(" ".join), st.text(max_size=30))


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=12))
def test_no_input_breaks_the_session(lines: Sequence[str]) -> None:
    gui = Gui()
    shown = gui.say(*lines)
    assert all(line.isascii() and line.isprintable() for line in shown)
    answers = [line for line in shown if isinstance(parse(line), BestMove)]
    asked = sum(line.split()[:1] == ["go"] for line in lines)
    assert len(answers) <= asked
    assert gui.moves("usinewgame", "position startpos", "go")


def test_a_value_becomes_centipawns_by_the_win_rate_formula() -> None:
    """The win rate at 600 centipawns is 1 / (1 + exp(-1)) = 0.7311."""
    assert centipawns(2 * 0.7310586 - 1) == 600
    assert [centipawns(value) for value in (0.0, 1.0, -1.0)] == [0, 5526, -5526]
