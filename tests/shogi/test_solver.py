"""The mate solver: named positions, other solvers, limits and repetitions."""

import threading
from collections import Counter

import cshogi
import pytest
from slow_mates import SlowSolver, near_ends

from keisei.shogi import MateSearch, Position, Solution, solve_mate

# With an empty cache, the first test compiles the kernels.
pytestmark = pytest.mark.timeout(300)

REST = "/9/9/9/9/9/K8"
NAMED = {
    "a guarded gold in front of the king": ("4k4/9/4P4" + REST + " b G 1", 1),
    "a pawn drop may not mate": ("7lk/7p1/8G" + REST + " b P 1", 0),
    "a lance drop on the same square may": ("7lk/7p1/8G" + REST + " b PL 1", 1),
    "a pawn that moves may mate": ("7lk/7p1/8P/8L/9/9/9/9/K8 b - 1", 1),
    "a lone dragon checks for ever": ("4k4/9/9/9/9/9/9/3+R5/4K4 b - 1", 0),
    "the defender is pinned": ("3lk4/3pg4/5P3/9/9/9/9/9/K3R4 b G 1", 1),
    "a discovered check": ("8k/8l/6S2/9/4B4/9/9/9/K8 b - 1", 1),
    "a knight that does not promote": ("7lk/7nl/9/9/6N2/9/9/9/K8 b - 1", 1),
    "an interposed rook gives check": ("7lk/7p1/7G1/9/K8/9/9/9/7R1 b r 1", 3),
    "no check at all": ("lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1", 0),
}
"""Positions, and the lengths of their shortest mates; 0 without a mate."""

MATE_IN_THREE = "5k3/9/5G3/6+R2/9/9/9/9/4K4 b - 1"
"""3d3b begins a mate in three. The moves can be taken back, so that positions repeat."""
CYCLE = ["3d3b", "4a5a", "3b3d", "5a4a"]
HARD = "4k3b/+P+N3s2l/2g2p1pn/pS1p5/4Pn2p/2p1pP3/LP5GP/1L2gS1PL/1K2+n3B w RSrg5p 184"
"""A million positions do not solve it."""


def refute(sfen: str, solution: Solution) -> str:
    """Return what is wrong with the line of a mate; the line itself need not be forced."""
    position = Position(sfen)
    for ply, move in enumerate(solution.moves):
        position.push(move)
        if ply % 2 == 0 and not position.in_check:
            return f"{move} gives no check"
    outcome = position.outcome()
    if len(solution.moves) != solution.length or outcome is None:
        return f"{len(solution.moves)} moves, length {solution.length}, {outcome}"
    return "" if outcome.reason == "checkmate" else outcome.reason


@pytest.mark.parametrize(("sfen", "length"), NAMED.values(), ids=NAMED.keys())
def test_a_named_position_has_the_mate_of_its_name(sfen: str, length: int) -> None:
    solution = solve_mate(Position(sfen))
    assert (solution.verdict, solution.length) == ("mate" if length else "none", length)
    assert solution.shortest == bool(length)
    if length:
        assert refute(sfen, solution) == ""
    assert SlowSolver(sfen, 1_000_000).shortest(length or 3) == length


def compare(sfen: str, *, nodes: int, slow_moves: int) -> str:
    """Solve a position and compare it with cshogi and the slow solver; return a short result."""
    solution = solve_mate(Position(sfen), nodes=nodes)
    foreign = cshogi.DfPn(31, nodes, 512).search(cshogi.Board(sfen))
    slow = SlowSolver(sfen, slow_moves).shortest(7)
    if solution.verdict == "mate":
        assert refute(sfen, solution) == "", sfen
        if solution.shortest and slow is not None:
            assert slow == (solution.length if solution.length <= 7 else 0), sfen
    elif solution.verdict == "none":
        assert not foreign, sfen
        assert not slow, sfen
    missed = foreign and solution.verdict != "mate"
    first = "missed" if missed else solution.verdict
    return f"{first} {solution.length}" if solution.shortest else first


@pytest.mark.parametrize("player", ["random", "material", "shipped"])
def test_other_solvers_find_the_same_mates_near_the_ends_of_games(player: str) -> None:
    results = [compare(sfen, nodes=20_000, slow_moves=1_000) for sfen in near_ends(player, 100)]
    counts = Counter(results)
    assert counts["missed"] == 0
    assert counts["unknown"] <= 5
    assert counts["mate 1"] >= 3
    assert counts["none"] >= 30


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("player", ["random", "material", "shipped"])
def test_other_solvers_find_the_same_mates_in_two_thousand_positions(player: str) -> None:
    results = [
        compare(sfen, nodes=200_000, slow_moves=30_000) for sfen in near_ends(player, 2000, seed=11)
    ]
    counts = Counter(results)
    print(player, sorted(counts.items()))
    assert counts["missed"] == 0
    assert counts["unknown"] <= 20


def test_a_repeated_position_of_the_game_is_no_mate() -> None:
    """The third time round, 3d3b would repeat its position for the fourth time."""
    position = Position(MATE_IN_THREE)
    for lap in range(4):
        solution = solve_mate(position, most=3)
        assert solution.verdict == ("mate" if lap < 3 else "none")
        for move in CYCLE:
            position.push(move)


def test_no_longer_mate_than_wanted_is_found() -> None:
    position = Position(MATE_IN_THREE)
    assert solve_mate(position, most=2).verdict == "none"
    assert solve_mate(position, most=3).moves[0] == "3d3b"
    assert solve_mate(position, most=4).length == 3


def test_a_limit_leaves_the_position_unknown() -> None:
    for limit in ({"nodes": 1}, {"seconds": 0.0}):
        solution = solve_mate(Position(HARD), **limit)
        assert (solution.verdict, solution.moves) == ("unknown", ())
        assert solution.nodes <= 1001


def test_another_thread_stops_a_search() -> None:
    search = MateSearch(Position(HARD), nodes=10**9)
    timer = threading.Timer(0.1, search.stop)
    timer.start()
    solution = search.run()
    timer.join()
    assert solution.seconds < 5
    assert search.run().nodes <= 1001


def test_little_memory_costs_time_and_no_mistake() -> None:
    for sfen in near_ends("material", 20, seed=3):
        much, little = (solve_mate(Position(sfen), memory_mib=size) for size in (64, 1))
        if "unknown" not in (much.verdict, little.verdict):
            assert (much.verdict, much.length) == (little.verdict, little.length)


@pytest.mark.parametrize(
    "limits", [{"nodes": 0}, {"memory_mib": 0}, {"most": 0}, {"seconds": -1.0}]
)
def test_a_limit_that_makes_no_sense_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(limits))} is "):
        MateSearch(Position(), **limits)  # type: ignore[arg-type]
