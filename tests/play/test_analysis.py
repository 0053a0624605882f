"""The analysis of a game: losses, verdicts, missed mates, ends of games."""

import random

import numpy as np
import pytest
from fake_learner import FakeAgent

from keisei.play.analysis import (
    MOST_NODES,
    Analysis,
    ForcedMate,
    MoveReport,
    PositionReport,
    check_range,
    find_short_mate,
)
from keisei.shogi import START_SFEN, Position

MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
DECLARES = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"


def analysed(start: str, moves: str = "", simulations: int = 30, **options: object) -> Analysis:
    analysis = Analysis(start, moves.split(), simulations=simulations, **options)  # type: ignore[arg-type]
    agent = FakeAgent()
    while (leaves := analysis.request()) is not None:
        analysis.answer(*agent.assess(leaves.observation, leaves.mask))
    return analysis


def game_with_a_missed_mate() -> tuple[list[str], int]:
    """Return a game from the usual start, and the number of its last but one move.

    This move gives up the only mate that there is in the game.
    """
    dice, position, moves = random.Random(1), Position(), list[str]()
    while position.mate() is None:
        moves.append(dice.choice(position.legal_moves()))
        position.push(moves[-1])
        if position.outcome() is not None:
            position, moves = Position(), []
    for move in position.legal_moves():
        after = position.copy()
        after.push(move)
        answers = after.legal_moves()
        if answers and after.mate(3) is None and not after.in_check:
            return [*moves, move, answers[0]], len(moves) + 1
    raise AssertionError("every move mates")


def test_a_missed_mate_in_one_of_a_game_is_told() -> None:
    moves, ply = game_with_a_missed_mate()
    reports = analysed(START_SFEN, " ".join(moves), simulations=8, first=ply - 1).moves()
    assert [report.missed_mate for report in reports] == [0, 1, 0]
    assert reports[1].before.mate == 1
    assert reports[1].before.value == 1
    position = Position()
    for move in moves[: ply - 1]:
        position.push(move)
    position.push(reports[1].before.line[0])
    outcome = position.outcome()
    assert outcome is not None
    assert outcome.reason == "checkmate"


def test_a_mating_move_loses_nothing_and_ends_the_game() -> None:
    (report,) = analysed(MATE_IN_ONE, "G*5b").moves()
    assert (report.loss, report.verdict, report.missed_mate) == (0, "", 0)
    assert (report.after.end, report.after.value, report.after.line) == ("checkmate", -1, ())


@pytest.mark.parametrize("move", ["G*1b", "G*2b"])
def test_each_of_two_mates_is_a_mate(move: str) -> None:
    (report,) = analysed("8k/9/7G1/9/9/9/9/9/4K4 b G 1", move).moves()
    assert (report.before.mate, report.after.end, report.missed_mate) == (1, "checkmate", 0)


@pytest.mark.parametrize(("mates_later", "missed"), [(True, 0), (False, 1)])
def test_a_slower_mate_is_not_a_missed_mate(mates_later: bool, missed: int) -> None:
    """Black mates in one by G*5b, and perhaps later after another check."""
    start, check = "4k4/9/4P4/9/9/9/9/9/4K4 b 2G 1", "5c5b+"
    position = Position(start)
    position.push(check)
    assert position.in_check

    def find_mate(found: Position) -> ForcedMate | None:
        later = mates_later and found.side == "black"
        return find_short_mate(found) or (ForcedMate(5, ("5i5h",)) if later else None)

    (report,) = analysed(start, check, simulations=4, find_mate=find_mate).moves()
    assert report.before.mate == 1
    assert report.missed_mate == missed


@pytest.mark.parametrize(
    ("before", "after", "loss", "verdict"),
    [
        (0.5, -0.5, 0.0, ""),
        (0.5, -0.41, 0.045, ""),
        (0.5, -0.39, 0.055, "inaccuracy"),
        (0.5, -0.2, 0.15, "dubious"),
        (0.5, 0.0, 0.25, "mistake"),
        (0.5, 0.75, 0.625, "blunder"),
        (0.5, -0.9, 0.0, ""),
    ],
)
def test_the_verdict_follows_from_the_loss_of_win_rate(
    before: float, after: float, loss: float, verdict: str
) -> None:
    first = PositionReport(side="black", value=before, line=("7g7f",))
    then = PositionReport(side="white", value=after)
    report = MoveReport(ply=1, move="2g2f", before=first, after=then)
    assert report.loss == pytest.approx(loss)
    assert report.verdict == verdict
    assert MoveReport(ply=1, move="7g7f", before=first, after=then).loss == 0


def test_each_position_is_searched_as_often_as_asked() -> None:
    reports = analysed(START_SFEN, "7g7f 3c3d 2g2f", simulations=30).moves()
    assert [report.before.simulations for report in reports] == [30, 30, 30]
    assert all(len(report.before.candidates) == 5 for report in reports)
    for report in reports:
        assert report.before.line == report.before.candidates[0].line


def test_moves_that_the_search_did_not_visit_are_no_candidates() -> None:
    found = analysed(MATE_IN_ONE, simulations=2).position().candidates
    assert found
    assert all(candidate.visits for candidate in found)


def test_a_move_is_compared_with_the_next_position() -> None:
    reports = analysed(START_SFEN, "7g7f 3c3d 2g2f").moves()
    assert [report.ply for report in reports] == [1, 2, 3]
    assert reports[0].after == reports[1].before
    assert [report.before.side for report in reports] == ["black", "white", "black"]


def test_only_the_wanted_moves_are_searched() -> None:
    moves = "7g7f 3c3d 2g2f 8c8d 2f2e"
    analysis = analysed(START_SFEN, moves, first=2, last=3)
    assert [(report.ply, report.move) for report in analysis.moves()] == [(2, "3c3d"), (3, "2g2f")]
    assert analysis.position() == analysis.moves()[-1].after
    assert analysis.position().side == "white"


def test_a_side_that_can_declare_should_declare() -> None:
    (report,) = analysed(DECLARES, "5a5b").moves()
    assert (report.before.line, report.before.value, report.before.mate) == (("win",), 1, 0)
    assert report.before.end == ""


def test_a_game_may_go_on_after_a_fourfold_repetition() -> None:
    cycle = "2h3h 8b7b 3h2h 7b8b"
    reports = analysed(START_SFEN, " ".join([cycle] * 3 + ["7g7f"]), simulations=2).moves()
    assert (reports[-1].before.end, reports[-1].before.value) == ("repetition", 0)
    assert reports[-1].after.end == ""


def test_a_stopped_analysis_reports_what_it_has() -> None:
    analysis = Analysis(START_SFEN, ["7g7f"], simulations=1000)
    leaves = analysis.request()
    assert leaves is not None
    analysis.answer(*FakeAgent().assess(leaves.observation, leaves.mask))
    assert analysis.progress == 0.001
    analysis.stop()
    assert analysis.request() is None
    (report,) = analysis.moves()
    assert report.before.simulations == 1
    assert np.isfinite(report.loss)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((5, 0, None, 1), r"first: must be from 1 to 5 \(got 0\)"),
        ((5, 6, None, 1), r"first: must be from 1 to 5 \(got 6\)"),
        ((5, 3, 2, 1), r"last: must be from 3 to 5 \(got 2\)"),
        ((5, 1, 6, 1), r"last: must be from 1 to 5 \(got 6\)"),
        ((5, 1, None, 0), r"simulations: must be from 1 to 333,333 for so many moves \(got 0\)"),
        ((98, 1, None, MOST_NODES), "simulations: must be from 1 to 20,202 for so many moves"),
    ],
)
def test_a_range_that_cannot_be_analysed_is_named(
    arguments: tuple[int, int, int | None, int], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        check_range(*arguments)
