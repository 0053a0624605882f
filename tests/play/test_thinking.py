"""A tree search for the move in one position."""

import pytest
from fake_learner import FakeAgent

from keisei.play.mailbox import ChosenMove
from keisei.play.thinking import forced_move, found_move, plant
from keisei.search import Search
from keisei.shogi import Position

MATED = "4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1"
ENTERED = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"
MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"


def searched(position: Position, simulations: int = 100) -> Search:
    search = plant(
        position, trained_max_ply=256, declaration="27", mates=0, simulations=simulations
    )
    while (leaves := search.request()) is not None:
        search.answer(*FakeAgent().assess(leaves.observation, leaves.mask))
    return search


def test_a_position_without_a_choice_needs_no_search() -> None:
    assert forced_move(Position(MATED), "27", 1) == ChosenMove()
    assert forced_move(Position(ENTERED), "27", 1) == ChosenMove(declares_win=True)
    assert forced_move(Position(), "27", 1) is None
    found = forced_move(Position(MATE_IN_ONE), "27", 1)
    assert found is not None
    assert (found.move, found.mate, found.line) == ("G*5b", 1, ("G*5b",))


def test_the_answer_tells_visits_line_and_policy() -> None:
    position = Position()
    found = found_move(searched(position), position, greedy=True, draw=0.0)
    assert found.move == found.line[0] == found.visits[0][0]
    assert sum(number for _, number in found.visits) <= 100
    assert len(found.top_moves) == 5
    follower = Position()
    for move in found.line:
        follower.push(move)


def test_a_mate_that_the_search_proves_is_told_with_its_length() -> None:
    position = Position(MATE_IN_ONE)
    found = found_move(searched(position, 400), position, greedy=False, draw=0.99)
    assert (found.move, found.mate, found.value) == ("G*5b", 1, 1.0)


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_a_sampled_move_was_visited(draw: float) -> None:
    position = Position()
    search = searched(position)
    found = found_move(search, position, greedy=False, draw=draw)
    actions, visits = search.visits(0)
    number = dict(zip(actions.tolist(), visits.tolist(), strict=True))
    assert number[position.action(str(found.move))] > 0
