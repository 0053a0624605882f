"""Rates all players of a run by one fit to the games of all evaluations of this run."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from keisei.evaluation.ratings import GameScore, Ratings, rate
from keisei.evaluation.spec import LOCAL
from keisei.resources import SHIPPED
from keisei.store import RunReader
from keisei.store.matches import MatchTable, RatingRow


def rate_all(games: Sequence[GameScore], agent: str | None = None) -> Ratings:
    """Rate the players of one or more games.

    The rating of one player is fixed at 0 Elo. This player is the first of these that played:
    ``random``, ``material``, the network that ships with Keisei, any player. From the last two,
    ``agent`` is left out: if the agent's rating were fixed, the fit could not measure the agent.
    """
    names = dict.fromkeys(name for game in games for name in (game.black, game.white))
    others = sorted(names, key=lambda name: not name.startswith(f"{SHIPPED}-"))
    wanted = [*(name for name in LOCAL if name in names), *(n for n in others if n != agent)]
    return rate(games, anchor=wanted[0] if wanted else next(iter(names)))


def refit(run: Path) -> Ratings | None:
    """Rate all players of a run and store the ratings. If there are no games, return None. Blocks.

    Raises DatabaseError.
    """
    outcomes = RunReader(run).outcomes()
    if not outcomes:
        return None
    ratings = rate_all([GameScore(*outcome) for outcome in outcomes])
    rows = [
        RatingRow(
            player=found.player,
            elo=found.elo,
            low=found.interval[0],
            high=found.interval[1],
            games=found.games,
        )
        for found in ratings.players
    ]
    with closing(MatchTable(run)) as table:
        table.save_ratings(rows)
    return ratings
