"""Searches for the move in a single position, and describes what they found."""

from keisei.env import MOST_LEGAL
from keisei.match_rules import Mates
from keisei.play.mailbox import ChosenMove
from keisei.search import Line, Search, SearchOptions
from keisei.search.tree import WIN
from keisei.shogi import Position
from keisei.shogi.position import Rule
from keisei.shogi.proof import shortest_mate

LEAVES = 8
"""Positions of a tree that are given to the network together."""
MOST_SIMULATIONS = 20_000
"""Most simulations of a search that only time limits."""
SHOWN = 5
"""Number of moves whose visits are told."""
HORIZON = 512
"""Plies after the position at which a searched game ends without a winner."""


def forced_move(position: Position, declaration: Rule, mates: Mates) -> ChosenMove | None:
    """Return the answer to a position that needs no search, else None.

    No search is needed if no move is legal, or if the side to move declares a win or has a forced
    mate.
    """
    if position.declaration(declaration) == "win":
        return ChosenMove(declares_win=True)
    if not position.legal_moves():
        return ChosenMove()
    mate = shortest_mate(position, mates)
    return mate and ChosenMove(mate.move, value=1.0, mate=mate.moves, line=(mate.move,))


def plant(
    position: Position,
    *,
    trained_max_ply: int,
    declaration: Rule,
    mates: Mates,
    simulations: int,
) -> Search:
    """Return a search with one tree, whose root is the position."""
    search = Search(
        1,
        SearchOptions(simulations=simulations or MOST_SIMULATIONS, leaves=LEAVES, mates=mates),
        max_ply=position.ply + HORIZON,
        declaration=declaration,
    )
    search.plant_position(0, position, trained_max_ply=trained_max_ply)
    return search


def found_move(
    search: Search, position: Position, *, greedy: bool, draw: float, temperature: float = 1.0
) -> ChosenMove:
    """Return the move that a finished search chooses, and what the search found."""
    lines = search.lines(0, MOST_LEGAL)
    action, value = search.choose(0, greedy=greedy, temperature=temperature, draw=draw)
    (chosen,) = (line for line in lines if line.action == action)
    policy = policy_of(lines, search.options.temperature)
    return ChosenMove(
        position.usi(action),
        value=value,
        top_moves=tuple((position.usi(action), share) for action, share in policy[:SHOWN]),
        mate=chosen.plies if chosen.proven == WIN else None,
        visits=tuple(
            (position.usi(line.action), line.visits) for line in lines[:SHOWN] if line.visits
        ),
        line=moves_of(chosen, position),
    )


def policy_of(lines: list[Line], temperature: float) -> list[tuple[int, float]]:
    """Return the network's probability of each action, which the search knows at a temperature."""
    weights = [(line.action, line.prior**temperature) for line in lines]
    total = sum(weight for _, weight in weights) or 1.0
    return sorted(((a, weight / total) for a, weight in weights), key=lambda pair: -pair[1])


def moves_of(line: Line, position: Position) -> tuple[str, ...]:
    """Return the principal variation of a line in USI."""
    follower = position.copy()
    return tuple(follower.play(action) for action in line.moves)
